"""Rows of tokens that are to be read, and how their answers are told from logits."""

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
    """Continuations that differ in their last token at most: one row of tokens answers all of them."""

    fed: TokenArray  # [token]: what the model reads of the continuation
    read: torch.Tensor  # [token, continuation]: which token is scored where
    columns: tuple[NDArray[np.int64], ...]  # for each continuation its columns in the answer


@dataclass(frozen=True)
class AskedRow:
    """A row that the model is to read: prompt and continuation as `tokens`. Its answer is kept as `key`."""

    key: Key
    tokens: TokenArray
    group: Group

    @property
    def reads(self) -> int:
        """At how many of its last places logits are read."""
        return len(self.group.read)


# Answers are [kind, token, continuation]; the first kind is the logit, the second the log-probability.
Evaluate = Callable[[Sequence[AskedRow]], Iterator[tuple[AskedRow, FloatArray]]]


def grouped(continuations: Sequence[Sequence[int]]) -> list[Group]:
    """Continuations by what the model reads of them: all tokens but the last."""
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

    `logits` are [place, vocabulary], the places of so many rows, each with as many, one after the other.
    """
    found = logits.gather(-1, chosen)
    # Fused, and several times as fast on a CPU as the sum of exponentials alone; its memory is that of one slice.
    if logits.stride(-1) == 1:
        logprobs = logits.log_softmax(-1).gather(-1, chosen)
    else:
        logprobs = logits.t().log_softmax(0).t().gather(-1, chosen)
    answers = torch.stack([found, logprobs]).unflatten(1, (rows, -1))  # [kind, row, token, continuation]
    return answers.transpose(0, 1).double().cpu().numpy()
