"""Accuracy of estimators compared with their peers at equal numbers of evaluations."""

from collections.abc import Callable

import numpy as np
import shap
import torch
from captum.attr import KernelShap, ShapleyValueSampling
from numpy.typing import NDArray

from benchmarks.rows import Row
from explaind.contract.methods.explain.shap import ShapParams
from explaind_jobs.catalogue import DEMO
from explaind_worker.attribution.coalition_game import CoalitionGame
from explaind_worker.estimators.exact import ExactShapley
from explaind_worker.estimators.kernel import KernelShapley
from explaind_worker.estimators.permutation import PermutationShapley
from explaind_worker.models.demo.cases import generate_cases
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.session.session import Session

Array = NDArray[np.float64]
SEEDS = 40
BUDGETS = (64, 128, 256, 512, 1024)
UNITS = 12
BITS = 1 << np.arange(UNITS)


def accuracy() -> list[Row]:
    """RMS error against the exact values at 64 to 1,024 evaluations, on real prompts of the demo model."""
    tables = [_scores(task) for task in ("sentiment", "indirect_object", "deduction")]
    rows = []
    for budget in BUDGETS:
        figures = {name: round(_rms(find, tables, budget), 5) for name, find in FINDERS.items()}
        figures["largest_value"] = round(max(float(np.abs(_exact(t)).max()) for t in tables), 3)
        rows.append(Row(f"accuracy_at_{budget}", "demo", figures=figures))
    return rows


def _scores(task: str) -> Array:
    """The score of each of the 4,096 coalitions of the first 12 words of a held-out prompt, with the rest present."""
    case = generate_cases(task, 1, seed=5, split="heldout")[0]
    pool = ModelPool()
    session = Session(DEMO, pool, lambda *_: None)
    words = CoalitionGame(ShapParams(model="demo", prompt=case.prompt, target=case.answer), session).units
    segments = [(unit.start, unit.end) for unit in words[:UNITS]]
    asked = ShapParams.model_validate(
        {"model": "demo", "prompt": case.prompt, "target": case.answer, "units": {"segments": segments}}
    )
    return CoalitionGame(asked, session).play(ExactShapley(UNITS).coalitions).sum(axis=1)


def _exact(table: Array) -> Array:
    return ExactShapley(UNITS).estimate(table[:, None]).values[:, 0]


def _rms(find: Callable[[Array, int, int], Array], tables: list[Array], budget: int) -> float:
    squares = [np.mean((find(table, budget, seed) - _exact(table)) ** 2) for table in tables for seed in range(SEEDS)]
    return float(np.sqrt(np.mean(squares)))


def _kernel(table: Array, budget: int, seed: int) -> Array:
    estimator = KernelShapley(UNITS, budget, seed)
    return estimator.estimate(table[estimator.coalitions @ BITS][:, None]).values[:, 0]


def _permutation(table: Array, budget: int, seed: int) -> Array:
    estimator = PermutationShapley(UNITS, budget, seed)
    return estimator.estimate(table[estimator.coalitions @ BITS][:, None]).values[:, 0]


def _shap_kernel(table: Array, budget: int, seed: int) -> Array:
    np.random.seed(seed)  # shap draws from the global state
    explainer = shap.KernelExplainer(lambda z: table[(z > 0.5) @ BITS], np.zeros((1, UNITS)))
    return explainer.shap_values(np.ones((1, UNITS)), nsamples=budget, silent=True, l1_reg=False)[0]


def _captum_kernel(table: Array, budget: int, seed: int) -> Array:
    torch.manual_seed(seed)
    method = KernelShap(lambda z: torch.from_numpy(table[(z.numpy() > 0.5) @ BITS]))
    return method.attribute(torch.ones(1, UNITS), n_samples=budget, perturbations_per_eval=4096)[0].double().numpy()


def _captum_sampling(table: Array, budget: int, seed: int) -> Array:
    torch.manual_seed(seed)
    method = ShapleyValueSampling(lambda z: torch.from_numpy(table[(z.numpy() > 0.5) @ BITS]))
    samples = max(1, budget // UNITS)
    return method.attribute(torch.ones(1, UNITS), n_samples=samples, perturbations_per_eval=4096)[0].double().numpy()


FINDERS = {
    "kernel": _kernel,
    "permutation": _permutation,
    "shap KernelExplainer": _shap_kernel,
    "captum KernelShap": _captum_kernel,
    "captum ShapleyValueSampling": _captum_sampling,
}
