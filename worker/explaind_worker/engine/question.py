"""What is asked of a prompt: which continuations are scored, and how their token scores make one number."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from explaind.contract.subject import Score
from explaind_worker.engine.value import FloatArray, TokenScores

TokenIds = tuple[int, ...]


@dataclass(frozen=True)
class Question:
    """The score of a target, of a target minus a foil, or of one label among several.

    `continuations` are what a value function has to score, in this order: target, then foil; or the labels.
    """

    score: Score
    target: TokenIds
    foil: TokenIds | None = None
    labels: tuple[TokenIds, ...] | None = None

    @property
    def continuations(self) -> tuple[TokenIds, ...]:
        """What has to be scored."""
        if self.labels is not None:
            return self.labels
        return (self.target,) if self.foil is None else (self.target, self.foil)

    def columns(self, scores: TokenScores) -> FloatArray:
        """What is explained, [coalition, column]: the columns add up to the score.

        One column per target token, then one per foil token with its sign turned; for labels a single column.
        """
        if self.labels is not None:
            return self._label(scores)
        values = {"logprob": scores.logprobs, "logit": scores.logits}.get(self.score)
        if values is None:
            values = np.exp(scores.logprobs)
        signs = np.where(np.arange(values.shape[1]) < len(self.target), 1.0, -1.0)
        return values * signs

    def _label(self, scores: TokenScores) -> FloatArray:
        labels = self.labels or ()
        ends = np.cumsum([len(label) for label in labels])
        whole = np.stack(
            [scores.logprobs[:, end - len(label) : end].sum(axis=1) for label, end in zip(labels, ends, strict=True)],
            axis=1,
        )  # [coalition, label]
        chosen = labels.index(self.target)
        if self.score == "logit":  # log-odds of the label against all the others
            others = np.delete(whole, chosen, axis=1)
            return (whole[:, chosen] - np.logaddexp.reduce(others, axis=1))[:, None]
        logprobs = (whole[:, chosen] - np.logaddexp.reduce(whole, axis=1))[:, None]
        return np.exp(logprobs) if self.score == "prob" else logprobs

    def split(self, tokens: Sequence[float]) -> list[list[float]]:
        """Numbers per token of all continuations, cut into one list per continuation."""
        ends = np.cumsum([len(c) for c in self.continuations])
        return [list(tokens[end - len(c) : end]) for c, end in zip(self.continuations, ends, strict=True)]
