"""Row evaluator in dense batches, for models whose attention cannot be computed over a prefix tree."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from explaind_worker.engine.batching.batches import batched
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.dry_run import forward, placeholder
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.batching.matmul_precision import Way, products_in
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.engine.batching.oom_backoff import Backoff
from explaind_worker.engine.scoring.rows import AskedRow, FloatArray, scores_of
from explaind_worker.models.loading.loaded import LoadedModel
from explaind_worker.models.structure.logits_at import only_positions


class DenseRows:
    """Rows of similar length share a batch; logits are computed only at the positions read."""

    def __init__(self, model: LoadedModel, limits: BatchLimits, meter: CostMeter, products: Way | None = None) -> None:
        self._model = model
        self._products: Way | None = products
        self._limits = limits
        self._meter = meter
        self._footprint = Footprint.of(model)
        self._backoff = Backoff(meter)

    def __call__(self, rows: Sequence[AskedRow]) -> Iterator[tuple[AskedRow, FloatArray]]:
        """Each row with its scores, in order of completion."""
        for batch in self._batches(rows):
            for part, answers in self._backoff.halving(batch, self._forward):
                yield from zip(part, answers, strict=True)

    def _batches(self, rows: Sequence[AskedRow]) -> Iterator[list[AskedRow]]:
        """Rows with equally many reads in order of length, as many to a batch as the limits allow; at least one."""
        lengths = self._model.lengths

        def joins(batch: list[AskedRow], row: AskedRow) -> bool:
            alike = row.group is batch[0].group and lengths.alike((len(batch[0].tokens), len(row.tokens)))
            return alike and self._fits(len(batch) + 1, row)

        return batched(sorted(rows, key=lambda row: (row.key[0], len(row.tokens), row.tokens.tobytes())), joins)

    def _fits(self, rows: int, longest: AskedRow) -> bool:
        limits, tokens, reads = self._limits, len(longest.tokens), longest.reads
        if rows * tokens > limits.tokens or rows * reads * self._model.anatomy.vocabulary > limits.logits:
            return False
        return limits.bytes is None or self._footprint.forward_bytes(rows, tokens, reads=reads) <= limits.bytes

    def _forward(self, batch: Sequence[AskedRow]) -> FloatArray:
        """Scores [row, kind, token, continuation] of one batch."""
        lengths, reads = np.array([len(row.tokens) for row in batch]), batch[0].reads
        longest = int(lengths.max())
        return forward(
            self._model,
            lambda: self._read(batch, lengths),
            placeholder=lambda: np.stack([placeholder(row.key[1], (2, *row.group.read.shape)) for row in batch]),
            meter=self._meter,
            tokens=len(batch) * longest,
            reads=len(batch) * reads,
            bytes=self._footprint.forward_bytes(len(batch), longest, reads=reads),
        )

    def _read(self, batch: Sequence[AskedRow], lengths: NDArray[np.int64]) -> FloatArray:
        """Scores of one batch, as `_forward`. The model's lock must be held."""
        reads = batch[0].reads
        # Padding is on the right, which causal attention ignores.
        ids = np.zeros((len(batch), lengths.max()), dtype=np.int64)
        for place, row in zip(ids, batch, strict=True):
            place[: len(row.tokens)] = row.tokens
        device = self._model.device
        read_at = torch.from_numpy(lengths[:, None] - reads + np.arange(reads)).to(device)
        unembedding = self._model.anatomy.unembedding
        with products_in(self._products), only_positions(unembedding, read_at):
            logits = self._model.network(input_ids=torch.from_numpy(ids).to(device), use_cache=False).logits.float()
        chosen = batch[0].group.read.to(device).expand(len(batch), -1, -1)
        return scores_of(logits.flatten(0, 1), chosen.flatten(0, 1), rows=len(batch))
