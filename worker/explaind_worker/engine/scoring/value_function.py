"""The value function: coalitions in, scores of continuation tokens out.

Deduplication of rows and their grouping into forwards are internal to this module and the evaluators.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.batching.matmul_precision import Way
from explaind_worker.engine.scoring.classifier_evaluator import ClassRows
from explaind_worker.engine.scoring.dense_evaluator import DenseRows
from explaind_worker.engine.scoring.masker import BoolArray, Masker, TokenArray
from explaind_worker.engine.scoring.rows import AskedRow, Evaluate, FloatArray, Key, grouped
from explaind_worker.engine.scoring.tree_evaluator import TreeRows
from explaind_worker.engine.scoring.tree_support import why_dense
from explaind_worker.models.loading.loaded import AnyModel, LoadedClassifier

ReportProgress = Callable[[str, int, int | None, str], None]

SLAB_TOKENS = 4 << 20  # tokens of rows in memory at once


@dataclass(frozen=True)
class TokenScores:
    """`logprobs` and `logits` [coalition, token], the tokens of all continuations concatenated."""

    logprobs: FloatArray
    logits: FloatArray


class ValueFunction:
    """Scores of the tokens of `continuations` after a prompt with some units absent.

    Calling it with coalitions [coalition, unit] gives `TokenScores`. Rows without cached scores are evaluated as one
    prefix tree (or, if the model's attention does not allow that, in dense batches). Scores are cached for the life of
    the object. A forward that runs out of memory is halved. Matrix products use the way `products`
    (`matmul_precision.fast_products` says which); `model` may be a copy in bfloat16.

    For a classifier a continuation is one class, (index,); nothing of it is fed to the model.
    """

    def __init__(
        self,
        model: AnyModel,
        players: Masker,
        continuations: Sequence[Sequence[int]],
        *,
        meter: CostMeter,
        report_progress: ReportProgress,
        limits: BatchLimits | None = None,
        products: Way | None = None,
    ) -> None:
        self._players = players
        self._groups = grouped(continuations)
        self._width = sum(len(c) for c in continuations)
        # One plain forward gives the scores of all classes, but of one continuation only.
        self._cost = [0] if isinstance(model, LoadedClassifier) else [len(c) - 1 for c in continuations]
        self._meter = meter
        self._report_progress = report_progress
        self._evaluate = _evaluator(model, limits or BatchLimits.for_device(model.device), meter, products)
        self._known: dict[Key, FloatArray] = {}  # [kind, token, continuation]

    def __call__(self, coalitions: BoolArray) -> TokenScores:
        """Scores for each coalition [coalition, unit], in order."""
        total = len(coalitions)
        scores = np.empty((2, total, self._width))
        known = self._known.keys() | ()
        # Sorted, so that each slab contains coalitions with common prefixes.
        order = np.lexsort(coalitions.T[::-1]) if coalitions.shape[1] else np.arange(total)
        slab = max(1, SLAB_TOKENS // self._players.longest)
        for start in range(0, total, slab):
            members = order[start : start + slab]
            scores[:, members] = self._scores(list(self._players.rows(coalitions[members])), known, start, total)
        self._meter.scored(scores[0], scores[1])
        return TokenScores(logits=scores[0], logprobs=scores[1])

    def _scores(self, prompts: list[TokenArray], known: set[Key], start: int, total: int) -> FloatArray:
        """Scores [kind, coalition, token] of the prompts of one slab, which begins at index `start`."""
        keys = [blake2b(prompt.tobytes(), digest_size=16).digest() for prompt in prompts]
        missing: dict[Key, AskedRow] = {}
        for key, prompt in zip(keys, prompts, strict=True):
            for number, group in enumerate(self._groups):
                if (number, key) not in self._known:
                    row = np.concatenate([prompt, group.fed])
                    missing.setdefault((number, key), AskedRow((number, key), row, group))
            if (0, key) not in known:  # rows of earlier calls are not evaluated again
                self._meter.tokens_asked += sum(len(prompt) + cost for cost in self._cost)
        self._report_progress("evaluating", start if missing else start + len(prompts), total, "coalitions")
        places = _places(missing.values())
        for done, (row, answer) in enumerate(self._evaluate(list(missing.values())), start=1):
            places[row.key][...] = answer
            self._known[row.key] = places[row.key]
            self._report_progress("evaluating", start + len(prompts) * done // len(missing), total, "coalitions")
        scores = np.empty((2, len(prompts), self._width))
        for number, group in enumerate(self._groups):
            answers = np.stack([self._known[number, key] for key in keys])  # [coalition, kind, token, continuation]
            for continuation, columns in enumerate(group.columns):
                scores[:, :, columns] = answers[..., continuation].transpose(1, 0, 2)
        return scores


def _places(rows: Collection[AskedRow]) -> dict[Key, FloatArray]:
    """Preallocated arrays for each row's scores [kind, token, continuation], one block per group.

    Allocated before the first forward: small long-lived arrays between the large temporary blocks of each forward would
    fragment the heap, and memory would grow with the number of rows.
    """
    keys: dict[int, list[Key]] = {}
    shapes: dict[int, tuple[int, ...]] = {}
    for row in rows:
        keys.setdefault(row.key[0], []).append(row.key)
        shapes[row.key[0]] = (2, *row.group.read.shape)
    blocks = {number: np.empty((len(of_group), *shapes[number])) for number, of_group in keys.items()}
    return {
        key: block for number, of_group in keys.items() for key, block in zip(of_group, blocks[number], strict=True)
    }


def _evaluator(model: AnyModel, limits: BatchLimits, meter: CostMeter, products: Way | None) -> Evaluate:
    """The row evaluator for this model."""
    if isinstance(model, LoadedClassifier):
        return ClassRows(model, limits, meter, products)
    meter.dense_because = why_dense(model.copy_of or model)  # a copy's rounding would look like wrong scores
    return (TreeRows if meter.dense_because is None else DenseRows)(model, limits, meter, products)
