"""Owen values by shap's PartitionExplainer, over coalitions instead of masked strings."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from explaind_worker.engine.scoring.masker import BoolArray
from explaind_worker.engine.scoring.value_function import FloatArray
from explaind_worker.libraries.global_rng import GlobalRng
from explaind_worker.models.patient_lock import nothing

# Coalitions that the explainer chooses before it sees the next scores: large enough for the engine, small enough to
# adapt to the scores. Fixed, so that the engine's batch size does not change the result.
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
    """Owen values [unit, column], the number of coalitions, and whether the whole hierarchy was evaluated.

    `clustering` [merge, (left, right, distance, size)] is as in scipy's linkage. The explainer opens the groups whose
    score changes most first; the value of a group that the budget left closed is shared equally by its units. Its
    coalitions depend on the scores, so record and replay is impossible, and the process's random state is released
    while the model computes. `while_waiting` is called repeatedly while another job holds it.
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
        # Groups open in twos, so an even budget is used exactly.
        found = explainer(np.ones((1, units)), max_evals=budget - budget % 2, batch_size=BATCH, silent=True)
    values = np.asarray(found.values)[0]  # pyright: ignore[reportAttributeAccessIssue] - one explanation for one row
    return values.reshape(units, -1), asked, asked == whole(clustering)


def whole(clustering: FloatArray) -> int:
    """Number of coalitions for the whole hierarchy: each group is opened in every context of its ancestors."""
    units = len(clustering) + 1
    opened, waiting = 0, [(2 * units - 2, 1)]
    while waiting:
        group, contexts = waiting.pop()
        if group >= units:
            opened += contexts
            waiting += [(int(child), 2 * contexts) for child in clustering[group - units, :2]]
    return 2 + 2 * opened
