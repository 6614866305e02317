"""Independent references: one plain forward per question, in float64 after the logits, no engine."""

from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np
import torch

from explaind_worker.models.loading.loaded import LoadedClassifier, LoadedModel


def token_logprobs(model: LoadedModel, prompt: Sequence[int], continuation: Sequence[int]) -> list[float]:
    """Log-probability of each continuation token, from one forward over everything."""
    ids = torch.tensor([[*prompt, *continuation]])
    with torch.no_grad():
        logprobs = model.network(ids).logits[0].double().log_softmax(-1)
    return [float(logprobs[len(prompt) + i - 1, token]) for i, token in enumerate(continuation)]


def token_logits(model: LoadedModel, prompt: Sequence[int], continuation: Sequence[int]) -> list[float]:
    """Raw logit of each continuation token, from one forward over everything."""
    with torch.no_grad():
        logits = model.network(torch.tensor([[*prompt, *continuation]])).logits[0].double()
    return [float(logits[len(prompt) + i - 1, token]) for i, token in enumerate(continuation)]


def row_logits(model: LoadedClassifier, row: Sequence[int]) -> np.ndarray:
    """Logits [class] of a classifier for one row alone, from the model's own forward."""
    with torch.no_grad():
        return model.network(torch.tensor([list(row)])).logits[0].double().numpy()


def shapley_by_permutations(units: int, value: Callable[[frozenset[int]], float]) -> np.ndarray:
    """Shapley values as the mean gain over all n! orders of the units."""
    known: dict[frozenset[int], float] = {}

    def score(present: frozenset[int]) -> float:
        if present not in known:
            known[present] = value(present)
        return known[present]

    gains = np.zeros(units)
    orders = list(permutations(range(units)))
    for order in orders:
        for place, unit in enumerate(order):
            before = frozenset(order[:place])
            gains[unit] += score(before | {unit}) - score(before)
    return gains / len(orders)
