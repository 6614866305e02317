"""Row evaluator of sequence classifiers, in dense batches: bidirectional attention allows no prefix sharing."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from explaind_worker.engine.batching.batches import batched
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.dry_run import forward, placeholder
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.batching.matmul_precision import Way, products_in
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.engine.batching.oom_backoff import Backoff
from explaind_worker.engine.scoring.rows import AskedRow, FloatArray
from explaind_worker.models.loading.loaded import LoadedClassifier
from explaind_worker.models.structure.classifier_head import class_logits, filler_of, padded


class ClassRows:
    """Rows of similar length share a batch, padded on the right, or only rows of equal length if padding changes the
    model's outputs. Rows with different rotary factors never share one. A regression's log-probabilities are NaN.
    """

    def __init__(
        self, model: LoadedClassifier, limits: BatchLimits, meter: CostMeter, products: Way | None = None
    ) -> None:
        self._model = model
        self._products: Way | None = products
        self._limits = limits
        self._meter = meter
        self._footprint = Footprint.of_classifier(model)
        self._backoff = Backoff(meter)
        self._filler = filler_of(model.network)

    def __call__(self, rows: Sequence[AskedRow]) -> Iterator[tuple[AskedRow, FloatArray]]:
        """Each row with its scores [kind, 1, requested class]."""
        for batch in self._batches(rows):
            for part, answers in self._backoff.halving(batch, self._forward):
                yield from zip(part, answers, strict=True)

    def _batches(self, rows: Sequence[AskedRow]) -> Iterator[list[AskedRow]]:
        """Rows in order of length, as many to a batch as the limits and the model allow; at least one."""

        def joins(batch: list[AskedRow], row: AskedRow) -> bool:
            shortest, longest = len(batch[0].tokens), len(row.tokens)
            alike = shortest == longest or (self._model.pads and self._model.lengths.alike((shortest, longest)))
            return alike and self._fits(len(batch) + 1, longest)

        return batched(sorted(rows, key=lambda row: (len(row.tokens), row.tokens.tobytes())), joins)

    def _fits(self, rows: int, tokens: int) -> bool:
        limits = self._limits
        if rows * tokens > limits.tokens or rows * len(self._model.classes) > limits.logits:
            return False
        return limits.bytes is None or self._footprint.forward_bytes(rows, tokens, cached=True) <= limits.bytes

    def _forward(self, batch: Sequence[AskedRow]) -> FloatArray:
        """Scores [row, kind, 1, class] of one batch."""
        longest = max(len(row.tokens) for row in batch)
        return forward(
            self._model,
            lambda: self._read(batch),
            placeholder=lambda: np.stack([placeholder(row.key[1], (2, *row.group.read.shape)) for row in batch]),
            meter=self._meter,
            tokens=len(batch) * longest,
            reads=len(batch),
            bytes=self._footprint.forward_bytes(len(batch), longest, reads=1),
        )

    def _read(self, batch: Sequence[AskedRow]) -> FloatArray:
        """Scores of one batch, as `_forward`. The model's lock must be held."""
        model = self._model
        ids, mask = padded([row.tokens for row in batch], self._filler)
        ids, mask = ids.to(model.device), None if mask is None else mask.to(model.device)
        with products_in(self._products):
            logits = class_logits(model.network, input_ids=ids, attention_mask=mask).double()
        scores = torch.stack([logits, model.classes.logprobs(logits)], dim=1).cpu().numpy()  # [row, kind, class]
        asked = [row.group.read[0].numpy() for row in batch]
        return np.stack([score[:, None, classes] for score, classes in zip(scores, asked, strict=True)])
