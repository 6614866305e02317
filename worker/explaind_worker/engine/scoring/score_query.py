"""Score query: the continuations that are scored, and how their token scores combine into one number."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explaind.contract.blocks.subject import Score
from explaind_worker.engine.scoring.value_function import FloatArray, TokenScores

TokenIds = tuple[int, ...]
TokenSpan = tuple[int, int]


@dataclass(frozen=True)
class ScoreSpec:
    """The score of a target, of a target minus a foil, or of one label among several.

    Target and foil may be restricted to a span of tokens [first, one past the last]: tokens before it are given, those
    after it are never fed. Labels may be restricted to their first tokens.
    """

    score: Score
    target: TokenIds
    foil: TokenIds | None = None
    labels: tuple[TokenIds, ...] | None = None
    target_span: TokenSpan | None = None
    foil_span: TokenSpan | None = None
    first_token: bool = False

    @property
    def answers(self) -> tuple[TokenIds, ...]:
        """The whole continuations, in this order: target, then foil; or the labels."""
        if self.labels is not None:
            return self.labels
        return (self.target,) if self.foil is None else (self.target, self.foil)

    @property
    def spans(self) -> tuple[TokenSpan, ...]:
        """For each continuation the tokens that are explained."""
        asked = (self.target_span, self.foil_span) if self.labels is None else [None] * len(self.labels)
        ends = [1 if self.first_token else len(answer) for answer in self.answers]
        return tuple(span or (0, end) for span, end in zip(asked, ends, strict=False))

    @property
    def continuations(self) -> tuple[TokenIds, ...]:
        """The continuations to score: each up to the last token that is explained."""
        return tuple(answer[:end] for answer, (_, end) in zip(self.answers, self.spans, strict=True))

    @property
    def explained(self) -> NDArray[np.bool_]:
        """Mask of the explained tokens over the concatenated continuations."""
        return np.concatenate([np.arange(end) >= start for start, end in self.spans])

    @property
    def width(self) -> int:
        """Number of columns."""
        return 1 if self.labels is not None else int(self.explained.sum())

    def columns(self, scores: TokenScores) -> FloatArray:
        """Score columns [coalition, column], which add up to the score.

        One column per explained token of the target, then one per explained token of the foil with opposite sign; for
        labels a single column.
        """
        if self.labels is not None:
            return self._label(scores)
        values = {"logprob": scores.logprobs, "logit": scores.logits}.get(self.score)
        if values is None:
            values = np.exp(scores.logprobs)
        signs = np.where(np.arange(values.shape[1]) < len(self.continuations[0]), 1.0, -1.0)
        return (values * signs)[:, self.explained]

    def _label(self, scores: TokenScores) -> FloatArray:
        labels = self.continuations
        ends = np.cumsum([len(label) for label in labels])
        whole = np.stack(
            [scores.logprobs[:, end - len(label) : end].sum(axis=1) for label, end in zip(labels, ends, strict=True)],
            axis=1,
        )  # [coalition, label]
        chosen = self.answers.index(self.target)
        if self.score == "logit":  # log-odds of the label against all others
            others = np.delete(whole, chosen, axis=1)
            return (whole[:, chosen] - np.logaddexp.reduce(others, axis=1))[:, None]
        logprobs = (whole[:, chosen] - np.logaddexp.reduce(whole, axis=1))[:, None]
        return np.exp(logprobs) if self.score == "prob" else logprobs

    def split(self, tokens: Sequence[float]) -> list[list[float]]:
        """Numbers per token of all continuations, split into one list per continuation."""
        ends = np.cumsum([len(c) for c in self.continuations])
        return [list(tokens[end - len(c) : end]) for c, end in zip(self.continuations, ends, strict=True)]


def tokens_of_characters(texts: Sequence[str], start: int, end: int) -> TokenSpan:
    """The tokens [first, one past the last] that overlap characters [start, end] of their concatenated texts.

    A token without text is the first part of a character that a later token completes, and is counted with that one.
    """
    ends = np.cumsum([len(text) for text in texts])
    first = int(np.searchsorted(ends, start, side="right"))
    while first > 0 and not texts[first - 1]:
        first -= 1
    return first, int(np.searchsorted(ends, end, side="left")) + 1
