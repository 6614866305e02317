"""Owen values by shap's own PartitionExplainer, over coalitions instead of masked strings."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from explaind_worker.engine.scoring.masker import BoolArray
from explaind_worker.engine.scoring.value_function import FloatArray
from explaind_worker.libraries.global_rng import GlobalRng
from explaind_worker.models.patient_lock import nothing

# Coalitions that the explainer chooses before it sees the next scores: large enough for the engine, small enough to
# go on where the score moves. A number of its own, so that the engine's batches do not change the answer.
BATCH = 256


class _Coalitions:
    """A masker whose masked input is the coalition itself, in the hierarchy `clustering` [merge, 4]."""

    def __init__(self, clustering: FloatArray) -> None:
        self.clustering = clustering
        self.shape = (1, len(clustering) + 1)

    def __call__(self, mask: BoolArray, _row: NDArray[np.float64]) -> NDArray[np.float64]:
        return mask[None].astype(float)


def partition(
    play: Callable[[BoolArray], FloatArray],
    clustering: FloatArray,
    *,
    budget: int,
    seed: int,
    while_waiting: Callable[[], None] = nothing,
) -> tuple[FloatArray, int, bool]:
    """Owen values [unit, column], the coalitions asked for, and whether the whole hierarchy was seen.

    `clustering` [merge, (left, right, distance, size)] is as in scipy's linkage. The explainer opens the groups whose
    score changes most first; what lies in a group that the budget left closed is shared equally by its units. Its
    questions depend on the answers, so nothing is recorded beforehand, and the process's random numbers are given
    back while the model computes. `while_waiting` is called again and again while another job has them.
    """
    from shap import PartitionExplainer  # noqa: PLC0415 - takes seconds

    draws, asked, units = GlobalRng(seed, while_waiting), 0, len(clustering) + 1

    def score(rows: NDArray[np.float64]) -> FloatArray:
        nonlocal asked
        asked += len(rows)
        with draws.given_back():
            return play(rows > 0.5)

    with draws.held():
        explainer = PartitionExplainer(score, _Coalitions(clustering))
        # Groups open in twos, so that an even number is kept to exactly.
        found = explainer(np.ones((1, units)), max_evals=budget - budget % 2, batch_size=BATCH, silent=True)
    values = np.asarray(found.values)[0]  # pyright: ignore[reportAttributeAccessIssue] - one explanation for one row
    return values.reshape(units, -1), asked, asked == whole(clustering)


def whole(clustering: FloatArray) -> int:
    """Coalitions that the whole hierarchy takes: each group is opened in every context of its ancestors."""
    units = len(clustering) + 1
    opened, waiting = 0, [(2 * units - 2, 1)]
    while waiting:
        group, contexts = waiting.pop()
        if group >= units:
            opened += contexts
            waiting += [(int(child), 2 * contexts) for child in clustering[group - units, :2]]
    return 2 + 2 * opened
