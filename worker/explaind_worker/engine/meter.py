"""Counts what a job costs."""

from dataclasses import dataclass


@dataclass
class Meter:
    """Forward passes, tokens that went through the blocks, and tokens that one forward per question would have cost.

    `backoffs` are the batches that were halved because the device ran out of memory. `dense_because` says why rows
    were not read as a tree of prefixes, where that is the case.
    """

    forwards: int = 0
    tokens_evaluated: int = 0
    tokens_asked: int = 0
    backoffs: int = 0
    dense_because: str | None = None

    def forward(self, tokens: int) -> None:
        """One forward of so many tokens, padding included."""
        self.forwards += 1
        self.tokens_evaluated += tokens

    @property
    def tokens_saved(self) -> int:
        """Tokens that did not have to be evaluated."""
        return max(0, self.tokens_asked - self.tokens_evaluated)
