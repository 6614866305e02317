"""The value function of a sequence classifier: coalitions in, scores of classes out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b

import numpy as np
import torch

from explaind_worker.engine.backoff import Backoff
from explaind_worker.engine.limits import BatchLimits
from explaind_worker.engine.memory import Footprint
from explaind_worker.engine.meter import Meter
from explaind_worker.engine.players import BoolArray, Players, TokenArray
from explaind_worker.engine.value import SLAB, Checkpoint, FloatArray, TokenScores
from explaind_worker.models.classes import class_logits, padded
from explaind_worker.models.loading import LoadedClassifier

_KeyedRow = tuple[bytes, TokenArray]


class ClassValueFunction:
    """Scores of classes for a prompt of which some units are absent.

    It is called as a `ValueFunction`: a continuation is one class, (index,), and nothing of it is fed to the model.
    Equal token rows are evaluated once in the life of the object, for all classes; rows of similar length share a
    batch, padded on the right, or rows of equal length only where the model's answers do not bear padding. A batch
    that runs out of memory is halved.
    """

    def __init__(
        self,
        model: LoadedClassifier,
        players: Players,
        continuations: Sequence[Sequence[int]],
        *,
        meter: Meter,
        checkpoint: Checkpoint,
        limits: BatchLimits | None = None,
    ) -> None:
        self._model = model
        self._players = players
        self._asked = [index for (index,) in continuations]
        self._meter = meter
        self._checkpoint = checkpoint
        self._limits = limits or BatchLimits.for_device(model.device)
        self._footprint = Footprint.of_classifier(model)
        self._backoff = Backoff(meter)
        self._filler = model.network.config.get_text_config().pad_token_id or 0
        self._known: dict[bytes, FloatArray] = {}  # [kind, class]

    def __call__(self, coalitions: BoolArray) -> TokenScores:
        """Scores [coalition, class asked for] of coalitions [coalition, unit], in order.

        The log-probabilities of a regression, which has none, are NaN.
        """
        total = len(coalitions)
        scores = np.empty((total, 2, len(self._asked)))
        for start in range(0, total, SLAB):
            rows = list(self._players.rows(coalitions[start : start + SLAB]))
            self._meter.tokens_asked += sum(len(row) for row in rows)

            def report(share: float, start: int = start, count: int = len(rows)) -> None:
                self._checkpoint("evaluating", start + int(count * share), total, "coalitions")

            scores[start : start + len(rows)] = self._answers(rows, report)[..., self._asked]
        return TokenScores(logits=scores[:, 0], logprobs=scores[:, 1])

    def _answers(self, rows: list[TokenArray], report: Callable[[float], None]) -> FloatArray:
        """Scores [row, kind, class] of the rows, those evaluated that are not known."""
        keys = [blake2b(row.tobytes(), digest_size=16).digest() for row in rows]
        missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in self._known}
        done = 0
        report(0.0)
        for batch in self._batches(missing.items()):
            for part, answers in self._backoff.halving(batch, self._forward):
                for (key, _), answer in zip(part, answers, strict=True):
                    self._known[key] = answer
                done += len(part)
                report(done / len(missing))
        return np.stack([self._known[key] for key in keys])

    def _batches(self, rows: Iterable[_KeyedRow]) -> Iterator[list[_KeyedRow]]:
        """Rows in order of length, as many to a batch as the limits allow and the model bears; at least one."""
        batch: list[_KeyedRow] = []
        for item in sorted(rows, key=lambda item: (len(item[1]), item[1].tobytes())):
            longest = len(item[1])
            apart = batch and not self._model.pads and len(batch[0][1]) != longest
            if batch and (apart or not self._fits(len(batch) + 1, longest)):
                yield batch
                batch = []
            batch.append(item)
        if batch:
            yield batch

    def _fits(self, rows: int, tokens: int) -> bool:
        limits = self._limits
        if rows * tokens > limits.tokens or rows * len(self._model.classes) > limits.logits:
            return False
        return limits.bytes is None or self._footprint.forward_bytes(rows, tokens, cached=True) <= limits.bytes

    def _forward(self, batch: Sequence[_KeyedRow]) -> FloatArray:
        """Scores [row, kind, class] of one batch."""
        model = self._model
        ids, mask = padded([row for _, row in batch], self._filler)
        ids, mask = ids.to(model.device), None if mask is None else mask.to(model.device)
        with model.lock, torch.inference_mode():
            logits = class_logits(model.network, input_ids=ids, attention_mask=mask).double()
        self._meter.forward(ids.numel())
        return torch.stack([logits, model.classes.logprobs(logits)], dim=1).cpu().numpy()
