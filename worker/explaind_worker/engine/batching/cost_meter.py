"""Cost meter of a job: forwards, tokens, bytes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explaind_worker.models.pool.timing_model import Work


@dataclass
class CostMeter:
    """Forward passes, tokens that went through the blocks, and tokens that one forward per question would have cost.

    `tokens_back` are those of the tokens that a gradient went back through, `reads` the places whose logits were read.
    `backoffs` are the batches that were halved because the device ran out of memory, `expected_bytes` the most that
    a forward of a dry run would have taken up. `dense_because` says why rows were not read as a
    tree of prefixes, where that is the case. `logit_size` is the largest magnitude of a logit that a score depended
    on, by which rounding can be judged.
    """

    forwards: int = 0
    tokens_evaluated: int = 0
    tokens_asked: int = 0
    tokens_back: int = 0
    reads: int = 0
    backoffs: int = 0
    dense_because: str | None = None
    expected_bytes: int = 0
    logit_size: float = 0.0

    def forward(self, tokens: int, *, reads: int = 0, back: bool = False) -> None:
        """Counts one forward of `tokens` tokens, padding included; `back` if it has a backward pass."""
        self.forwards += 1
        self.tokens_evaluated += tokens
        self.tokens_back += tokens if back else 0
        self.reads += reads

    def scored(self, logits: NDArray[np.float64], logprobs: NDArray[np.float64]) -> None:
        """Tokens were scored: their logits, and less their log-probabilities those that these are measured by."""
        sizes = np.abs(np.stack([logits, logits - logprobs]))
        self.logit_size = max(self.logit_size, float(sizes[np.isfinite(sizes)].max(initial=0.0)))

    def expect(self, bytes: int) -> None:
        """Records the bytes, beside the weights, that a forward would take."""
        self.expected_bytes = max(self.expected_bytes, bytes)

    @property
    def tokens_saved(self) -> int:
        """Tokens saved by sharing."""
        return max(0, self.tokens_asked - self.tokens_evaluated)

    @property
    def work(self) -> Work:
        """The work done, as input to the timing model."""
        return Work(self.forwards, self.tokens_evaluated, self.tokens_back, self.reads)
