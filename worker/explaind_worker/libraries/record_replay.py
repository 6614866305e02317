"""Record and replay: a library that requests scores a few at a time gets them all from one batch.

It works for estimators whose coalitions do not depend on scores.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch

from explaind_worker.engine.scoring.masker import BoolArray
from explaind_worker.engine.scoring.value_function import FloatArray
from explaind_worker.libraries.global_rng import GlobalRng
from explaind_worker.models.patient_lock import nothing

Forward = Callable[[torch.Tensor], torch.Tensor]
ResultT = TypeVar("ResultT")
_ASKED_OTHERWISE = "The library asked for other coalitions the second time than the first."


def replayed(
    ask: Callable[[Forward], ResultT],
    play: Callable[[BoolArray], FloatArray],
    *,
    seed: int,
    while_waiting: Callable[[], None] = nothing,
) -> tuple[ResultT, int]:
    """The result of `ask` with all scores from one call of `play`, and the number of coalitions it requested.

    `ask` is run twice with the same random numbers. Its forward function maps rows [coalition, unit] of zeros and ones
    to scores [coalition, column] (or whatever shape [coalition, …] `play` gives); the first time all are zero.
    `while_waiting` is called repeatedly while another job holds the process's random state.

    Raises:
        RuntimeError: the coalitions depend on the scores.
    """
    asked: list[BoolArray] = []

    def record(rows: torch.Tensor) -> torch.Tensor:
        asked.append(_coalitions(rows))
        return torch.zeros(len(rows), dtype=torch.float64)

    with GlobalRng(seed, while_waiting).held():
        ask(record)
    coalitions = np.concatenate(asked)
    scores = torch.from_numpy(play(coalitions))
    place = 0

    def replay(rows: torch.Tensor) -> torch.Tensor:
        nonlocal place
        start, place = place, place + len(rows)
        if not np.array_equal(coalitions[start:place], _coalitions(rows)):
            raise RuntimeError(_ASKED_OTHERWISE)
        return scores[start:place]

    with GlobalRng(seed, while_waiting).held():
        result = ask(replay)
    if place != len(coalitions):
        raise RuntimeError(_ASKED_OTHERWISE)
    return result, len(coalitions)


def _coalitions(rows: torch.Tensor) -> BoolArray:
    return (rows > 0.5).numpy()
