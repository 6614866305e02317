"""Rows of tokens to evaluate, and the extraction of their scores from logits."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from explaind_worker.engine.scoring.masker import TokenArray

FloatArray = NDArray[np.float64]
Key = tuple[int, bytes]


@dataclass(frozen=True)
class Group:
    """Continuations that differ in their last token at most, and therefore share one row."""

    fed: TokenArray  # [token]: tokens of the continuation that are fed
    read: torch.Tensor  # [token, continuation]: the token scored at each position
    columns: tuple[NDArray[np.int64], ...]  # for each continuation its columns in the scores


@dataclass(frozen=True)
class AskedRow:
    """A row to evaluate: prompt and continuation as `tokens`. Its scores are cached under `key`."""

    key: Key
    tokens: TokenArray
    group: Group

    @property
    def reads(self) -> int:
        """Number of its last positions whose logits are read."""
        return len(self.group.read)


# Scores are [kind, token, continuation]; kind 0 is the logit, 1 the log-probability.
Evaluate = Callable[[Sequence[AskedRow]], Iterator[tuple[AskedRow, FloatArray]]]


def grouped(continuations: Sequence[Sequence[int]]) -> list[Group]:
    """Continuations grouped by the tokens fed: all but the last."""
    members: dict[tuple[int, ...], list[int]] = {}
    for index, continuation in enumerate(continuations):
        members.setdefault(tuple(continuation[:-1]), []).append(index)
    ends = np.cumsum([len(c) for c in continuations])
    groups = []
    for fed, indices in members.items():
        read = torch.tensor([list(continuations[i]) for i in indices], dtype=torch.int64).T
        columns = tuple(np.arange(ends[i] - len(continuations[i]), ends[i]) for i in indices)
        groups.append(Group(np.array(fed, dtype=np.int64), read.contiguous(), columns))
    return groups


def scores_of(logits: torch.Tensor, chosen: torch.Tensor, *, rows: int) -> FloatArray:
    """Logits and log-probabilities [row, kind, token, continuation] of the `chosen` tokens [place, continuation].

    `logits` are [place, vocabulary]: the positions of `rows` rows, equally many each, one row after another.
    """
    found = logits.gather(-1, chosen)
    # Fused: several times faster on a CPU than a sum of exponentials; uses the memory of one slice.
    if logits.stride(-1) == 1:
        logprobs = logits.log_softmax(-1).gather(-1, chosen)
    else:
        logprobs = logits.t().log_softmax(0).t().gather(-1, chosen)
    answers = torch.stack([found, logprobs]).unflatten(1, (rows, -1))  # [kind, row, token, continuation]
    return answers.transpose(0, 1).double().cpu().numpy()
