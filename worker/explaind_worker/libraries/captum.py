"""Adapter to captum's perturbation methods, with units as the features of a row of ones.

A feature that captum replaces by its baseline 0 is an absent unit. captum draws its coalitions one by one, some
thousand per second, twice (`replayed`): `drawn`, which may raise, is called with their number every few hundred.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from explaind.contract.errors import InvalidRequest
from explaind_worker.engine.scoring.masker import BoolArray
from explaind_worker.engine.scoring.value_function import FloatArray
from explaind_worker.libraries.record_replay import Forward, replayed

Play = Callable[[BoolArray], FloatArray]
Drawn = Callable[[int], None]
ROWS = 4096  # coalitions per call of the forward function
LASSO_SWEEPS = 10_000
DRAWN_AT_ONCE = 256  # coalitions that captum draws between two calls of `drawn`


def _unheard(_drawn: int) -> None:
    """Default of `drawn`: does nothing."""


@dataclass(frozen=True)
class Found:
    """`values` [unit, column], and the number of coalitions that captum requested."""

    values: FloatArray
    evaluations: int


def shapley_sampling(play: Play, units: int, *, n_samples: int, seed: int, drawn: Drawn = _unheard) -> Found:
    """captum's ShapleyValueSampling, for every column at once."""

    def ask(forward: Forward) -> torch.Tensor:
        from captum.attr import ShapleyValueSampling  # noqa: PLC0415 - takes seconds

        method = ShapleyValueSampling(forward)
        return method.attribute(torch.ones(1, units), n_samples=n_samples, perturbations_per_eval=min(ROWS, units))

    return _by_column(ask, play, units, seed=seed, drawn=drawn)


def occlusion(play: Play, units: int, *, window: int, stride: int, drawn: Drawn = _unheard) -> Found:
    """captum's Occlusion along the units; the last window is shorter if the stride does not end at the last unit."""

    def ask(forward: Forward) -> torch.Tensor:
        from captum.attr import Occlusion  # noqa: PLC0415 - takes seconds

        # captum truncates a window that reaches past the end, which it supports only for one window at a time.
        return Occlusion(forward).attribute(torch.ones(1, units), sliding_window_shapes=(window,), strides=stride)

    return _by_column(ask, play, units, seed=0, drawn=drawn)


def kernel_shap(play: Play, units: int, *, n_samples: int, seed: int, drawn: Drawn = _unheard) -> Found:
    """captum's KernelShap on the score; the columns by the same regression."""

    def ask(forward: Forward) -> tuple[torch.Tensor, "_Fitted"]:
        from captum._utils.models.linear_model import SkLearnLinearRegression  # noqa: PLC0415 - takes seconds
        from captum.attr import KernelShap  # noqa: PLC0415

        method, fitted = KernelShap(forward), _Fitted(SkLearnLinearRegression())
        method.interpretable_model = fitted  # pyright: ignore[reportAttributeAccessIssue]
        method.similarity_func = _counted(method.similarity_func, drawn)
        found = method.attribute(torch.ones(1, units), n_samples=n_samples, perturbations_per_eval=n_samples)
        return found, fitted

    return _of_the_total(ask, play, seed=seed, drawn=drawn)


def lime(
    play: Play,
    units: int,
    *,
    n_samples: int,
    kernel_width: float,
    distance: str,
    alpha: float,
    seed: int,
    drawn: Drawn = _unheard,
) -> Found:
    """captum's Lime on the score; the columns by least squares on the units that it keeps.

    Lassos of the columns would not add up to the lasso of the score. The shrinkage of a unit's value is divided equally
    among its columns.
    """

    def ask(forward: Forward) -> tuple[torch.Tensor, "_Fitted"]:
        from captum._utils.models.linear_model import SkLearnLasso, SkLearnLinearRegression  # noqa: PLC0415
        from captum.attr import Lime  # noqa: PLC0415 - takes seconds
        from captum.attr._core.lime import get_exp_kernel_similarity_function  # noqa: PLC0415

        # With the units' Gram matrix, the cost of a lasso sweep does not depend on the number of coalitions.
        sweeps = {"max_iter": LASSO_SWEEPS, "precompute": n_samples > units}
        model = SkLearnLasso(alpha=alpha, **sweeps) if alpha else SkLearnLinearRegression()
        fitted = _Fitted(model)
        near = _counted(get_exp_kernel_similarity_function(distance, kernel_width=kernel_width), drawn)
        method = Lime(forward, interpretable_model=fitted, similarity_func=near)  # pyright: ignore[reportArgumentType]
        found = method.attribute(torch.ones(1, units), n_samples=n_samples, perturbations_per_eval=n_samples)
        return found, fitted

    return _of_the_total(ask, play, seed=seed, drawn=drawn)


def _counted(call: Callable[..., Any], drawn: Drawn) -> Callable[..., Any]:
    """`call`, which captum makes once per coalition, with a call of `drawn` every few hundred."""
    calls = count(1)

    def counted(*args: Any, **options: Any) -> Any:
        if (number := next(calls)) % DRAWN_AT_ONCE == 0:
            drawn(number)
        return call(*args, **options)

    return counted


def _by_column(ask: Callable[[Forward], torch.Tensor], play: Play, units: int, *, seed: int, drawn: Drawn) -> Found:
    columns = 1

    def ask_counting(forward: Forward) -> torch.Tensor:
        rows_asked = 0

        def counting(rows: torch.Tensor) -> torch.Tensor:
            nonlocal rows_asked
            before, rows_asked = rows_asked, rows_asked + len(rows)
            if before // DRAWN_AT_ONCE < rows_asked // DRAWN_AT_ONCE:
                drawn(rows_asked)
            return forward(rows)

        return ask(counting)

    def known(coalitions: BoolArray) -> FloatArray:
        nonlocal columns
        scores = play(coalitions)
        columns = scores.shape[1]
        return scores

    found, evaluations = replayed(ask_counting, known, seed=seed, while_waiting=lambda: drawn(0))
    return Found(found.double().numpy().reshape(columns, units).T, evaluations)


def _of_the_total(
    ask: Callable[[Forward], "tuple[torch.Tensor, _Fitted]"], play: Play, *, seed: int, drawn: Drawn
) -> Found:
    """One fit of the columns' sum, then divided over the columns."""
    by_column = np.empty((0, 0))

    def total(coalitions: BoolArray) -> FloatArray:
        nonlocal by_column
        by_column = play(coalitions)
        return by_column.sum(axis=1)

    (found, fitted), evaluations = replayed(ask, total, seed=seed, while_waiting=lambda: drawn(0))
    values = found.double().numpy().reshape(-1)
    return Found(_split(values, fitted.rows, fitted.weights, by_column), evaluations)


def _split(values: FloatArray, rows: FloatArray, weights: FloatArray, scores: FloatArray) -> FloatArray:
    """Values [unit, column] that add up to `values` [unit]: weighted least squares over units whose value is not 0."""
    kept = values != 0
    share = weights / weights.sum() if weights.sum() > 0 else np.full(len(weights), 1 / len(weights))
    root = np.sqrt(share)[:, None]
    centred, answers = rows[:, kept] - share @ rows[:, kept], scores - share @ scores
    by_column = np.zeros((len(values), scores.shape[1]))
    by_column[kept] = np.linalg.lstsq(root * centred, root * answers, rcond=None)[0]
    rest = (values - by_column.sum(axis=1)) / scores.shape[1]
    return by_column + np.where(kept, rest, 0.0)[:, None]


class _Fitted:
    """A linear model of captum that records its training data: rows [coalition, unit], weights [coalition]."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.rows: NDArray[np.float64] = np.empty((0, 0))
        self.weights: NDArray[np.float64] = np.empty(0)
        self._all_zero = False

    def fit(self, train_data: Any, **options: Any) -> Any:
        """Fits captum's model."""
        rows, scores, weights = train_data.dataset.tensors
        self.rows, self.weights = rows.double().numpy(), weights.double().numpy()
        if not self.weights.sum() > 0:
            raise InvalidRequest.at(
                "/kernel_width",
                "With this kernel no coalition is near enough to the prompt to weigh anything.",
                hint="Widen it; distances are up to 1 for cosine and about the root of the units for euclidean.",
            )
        self._all_zero = not scores.any()
        if self._all_zero:  # so are the coefficients, while captum only draws its coalitions
            return {}
        # As one batch: captum's loader would assemble it row by row.
        return self._model.fit([train_data.dataset.tensors], **options)

    def representation(self) -> torch.Tensor:
        """The coefficients."""
        if self._all_zero:
            return torch.zeros(self.rows.shape[1])
        return self._model.representation()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The model's own prediction."""
        return self._model(x)
