"""Amounts of work: request fields for a given amount, and its cost."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.shapes import Prompt

Fields = dict[str, Any]


@dataclass(frozen=True)
class Amount:
    """`fields` returns the request fields for an amount of work, `cost` its cost in evaluations of one length."""

    fields: Callable[[Prompt, int], Fields]
    cost: Callable[[Prompt, int], float] = lambda _prompt, work: work

    def also(self, **fields: Any) -> "Amount":
        """The same amount with additional fields."""
        return Amount(lambda prompt, work: {**self.fields(prompt, work), **fields}, self.cost)


def tokens(prompt: Prompt, **fields: Any) -> Fields:
    """Every token as a unit, except the prefix."""
    return {"units": prompt.segments(prompt.units), **fields}


def budget(algorithm: str) -> Amount:
    """Amount of work in coalitions of explain/shap."""
    return Amount(lambda prompt, work: tokens(prompt, algorithm=algorithm, budget=work))


def first_targets(**fields: Any) -> Amount:
    """Amount in target tokens, with logits and the unknown token, as in inseq; each token costs more than the last."""
    return Amount(partial(_first_targets, fields), _target_by_target)


def _first_targets(fields: Fields, prompt: Prompt, work: int) -> Fields:
    return tokens(prompt, target={"token_ids": list(prompt.target_ids[:work])}, score="logit", **fields)


def _target_by_target(prompt: Prompt, work: int) -> float:
    # Each target token is explained given the prompt and target before it: that many evaluations of that many tokens.
    return sum((prompt.units + done + 1) * (prompt.units + done) for done in range(work))


GROUPS = Amount(lambda prompt, work: {"units": prompt.segments(work)}, lambda _prompt, work: work + 1)
SAMPLES = Amount(lambda prompt, work: tokens(prompt, n_samples=work, seed=0))
PERMUTATIONS = Amount(SAMPLES.fields, lambda prompt, work: work * prompt.units + 1)
WINDOW = Amount(lambda prompt, work: tokens(prompt, window=work))
STEPS = Amount(lambda prompt, work: tokens(prompt, n_steps=work))
PLAYERS = Amount(
    lambda prompt, work: {"units": prompt.segments(work), "algorithm": "exact"}, lambda _prompt, work: 2**work
)
