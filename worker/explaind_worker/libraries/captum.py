"""captum's perturbation methods, by captum's own classes, with units as the features of a row of ones.

A feature that captum replaces by its baseline 0 is a unit that is absent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from explaind.contract.errors import InvalidRequest
from explaind_worker.engine.scoring.masker import BoolArray
from explaind_worker.engine.scoring.value_function import FloatArray
from explaind_worker.libraries.record_replay import Forward, replayed

Play = Callable[[BoolArray], FloatArray]
ROWS = 4096  # coalitions per call of the forward function


@dataclass(frozen=True)
class Found:
    """`values` [unit, column], and how many coalitions captum asked for."""

    values: FloatArray
    evaluations: int


def shapley_sampling(play: Play, units: int, *, n_samples: int, seed: int) -> Found:
    """captum's ShapleyValueSampling: every column at once."""

    def ask(forward: Forward) -> torch.Tensor:
        from captum.attr import ShapleyValueSampling  # noqa: PLC0415 - takes seconds

        method = ShapleyValueSampling(forward)
        return method.attribute(torch.ones(1, units), n_samples=n_samples, perturbations_per_eval=min(ROWS, units))

    return _by_column(ask, play, units, seed=seed)


def occlusion(play: Play, units: int, *, window: int, stride: int) -> Found:
    """captum's Occlusion along the units; the last window is shorter where the stride does not end at the last unit."""

    def ask(forward: Forward) -> torch.Tensor:
        from captum.attr import Occlusion  # noqa: PLC0415 - takes seconds

        # captum cuts a window that reaches past the end, which it can do only one window at a time.
        return Occlusion(forward).attribute(torch.ones(1, units), sliding_window_shapes=(window,), strides=stride)

    return _by_column(ask, play, units, seed=0)


def kernel_shap(play: Play, units: int, *, n_samples: int, seed: int) -> Found:
    """captum's KernelShap on the score; the columns by the same regression."""

    def ask(forward: Forward) -> tuple[torch.Tensor, "_Fitted"]:
        from captum._utils.models.linear_model import SkLearnLinearRegression  # noqa: PLC0415 - takes seconds
        from captum.attr import KernelShap  # noqa: PLC0415

        method, fitted = KernelShap(forward), _Fitted(SkLearnLinearRegression())
        method.interpretable_model = fitted  # pyright: ignore[reportAttributeAccessIssue]
        found = method.attribute(torch.ones(1, units), n_samples=n_samples, perturbations_per_eval=n_samples)
        return found, fitted

    return _of_the_total(ask, play, seed=seed)


def lime(
    play: Play, units: int, *, n_samples: int, kernel_width: float, distance: str, alpha: float, seed: int
) -> Found:
    """captum's Lime on the score; the columns by least squares on the units that it keeps.

    A lasso of each column would not add up to the lasso of the score. What its penalty takes from a unit is taken
    from the unit's columns in equal parts.
    """

    def ask(forward: Forward) -> tuple[torch.Tensor, "_Fitted"]:
        from captum._utils.models.linear_model import SkLearnLasso, SkLearnLinearRegression  # noqa: PLC0415
        from captum.attr import Lime  # noqa: PLC0415 - takes seconds
        from captum.attr._core.lime import get_exp_kernel_similarity_function  # noqa: PLC0415

        model = SkLearnLasso(alpha=alpha, max_iter=100_000) if alpha else SkLearnLinearRegression()
        fitted = _Fitted(model)
        near = get_exp_kernel_similarity_function(distance, kernel_width=kernel_width)
        method = Lime(forward, interpretable_model=fitted, similarity_func=near)  # pyright: ignore[reportArgumentType]
        found = method.attribute(torch.ones(1, units), n_samples=n_samples, perturbations_per_eval=n_samples)
        return found, fitted

    return _of_the_total(ask, play, seed=seed)


def _by_column(ask: Callable[[Forward], torch.Tensor], play: Play, units: int, *, seed: int) -> Found:
    columns = 1

    def known(coalitions: BoolArray) -> FloatArray:
        nonlocal columns
        scores = play(coalitions)
        columns = scores.shape[1]
        return scores

    found, evaluations = replayed(ask, known, seed=seed)
    return Found(found.double().numpy().reshape(columns, units).T, evaluations)


def _of_the_total(ask: Callable[[Forward], "tuple[torch.Tensor, _Fitted]"], play: Play, *, seed: int) -> Found:
    """One fit of the columns' sum, then split over the columns."""
    by_column = np.empty((0, 0))

    def total(coalitions: BoolArray) -> FloatArray:
        nonlocal by_column
        by_column = play(coalitions)
        return by_column.sum(axis=1)

    (found, fitted), evaluations = replayed(ask, total, seed=seed)
    values = found.double().numpy().reshape(-1)
    return Found(_split(values, fitted.rows, fitted.weights, by_column), evaluations)


def _split(values: FloatArray, rows: FloatArray, weights: FloatArray, scores: FloatArray) -> FloatArray:
    """Values [unit, column] that add up to `values` [unit]: weighted least squares where a unit's value is not 0."""
    kept = values != 0
    share = weights / weights.sum() if weights.sum() > 0 else np.full(len(weights), 1 / len(weights))
    root = np.sqrt(share)[:, None]
    centred, answers = rows[:, kept] - share @ rows[:, kept], scores - share @ scores
    by_column = np.zeros((len(values), scores.shape[1]))
    by_column[kept] = np.linalg.lstsq(root * centred, root * answers, rcond=None)[0]
    rest = (values - by_column.sum(axis=1)) / scores.shape[1]
    return by_column + np.where(kept, rest, 0.0)[:, None]


class _Fitted:
    """A linear model of captum's that remembers what it was fitted to: rows [coalition, unit], weights [coalition]."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.rows: NDArray[np.float64] = np.empty((0, 0))
        self.weights: NDArray[np.float64] = np.empty(0)

    def fit(self, train_data: Any, **options: Any) -> Any:
        """Fits captum's model."""
        rows, _, weights = train_data.dataset.tensors
        self.rows, self.weights = rows.double().numpy(), weights.double().numpy()
        if not self.weights.sum() > 0:
            raise InvalidRequest.at(
                "/kernel_width",
                "With this kernel no coalition is near enough to the prompt to weigh anything.",
                hint="Widen it; distances are up to 1 for cosine and about the root of the units for euclidean.",
            )
        return self._model.fit(train_data, **options)

    def representation(self) -> torch.Tensor:
        """The coefficients."""
        return self._model.representation()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The model's own answer."""
        return self._model(x)
