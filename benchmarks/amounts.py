"""How much of a method is asked for: the request that asks for so much, and what so much costs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.shapes import Prompt

Fields = dict[str, Any]


@dataclass(frozen=True)
class Amount:
    """`fields` makes the request's fields for so much work, `cost` tells its cost in evaluations of one length."""

    fields: Callable[[Prompt, int], Fields]
    cost: Callable[[Prompt, int], float] = lambda _prompt, work: work

    def also(self, **fields: Any) -> "Amount":
        """The same with fields besides."""
        return Amount(lambda prompt, work: {**self.fields(prompt, work), **fields}, self.cost)


def tokens(prompt: Prompt, **fields: Any) -> Fields:
    """Every token a unit, save those of the prefix."""
    return {"units": prompt.segments(prompt.units), **fields}


def budget(algorithm: str) -> Amount:
    """So many coalitions of explain/shap."""
    return Amount(lambda prompt, work: tokens(prompt, algorithm=algorithm, budget=work))


def first_targets(**fields: Any) -> Amount:
    """So many of the target's tokens, logits and the unknown token, as inseq has them; each token costs more."""
    return Amount(partial(_first_targets, fields), _target_by_target)


def _first_targets(fields: Fields, prompt: Prompt, work: int) -> Fields:
    return tokens(prompt, target={"token_ids": list(prompt.target_ids[:work])}, score="logit", **fields)


def _target_by_target(prompt: Prompt, work: int) -> float:
    # Before each token the prompt and the target so far are explained: that many evaluations of that many tokens.
    return sum((prompt.units + done + 1) * (prompt.units + done) for done in range(work))


GROUPS = Amount(lambda prompt, work: {"units": prompt.segments(work)}, lambda _prompt, work: work + 1)
SAMPLES = Amount(lambda prompt, work: tokens(prompt, n_samples=work, seed=0))
PERMUTATIONS = Amount(SAMPLES.fields, lambda prompt, work: work * prompt.units + 1)
WINDOW = Amount(lambda prompt, work: tokens(prompt, window=work))
STEPS = Amount(lambda prompt, work: tokens(prompt, n_steps=work))
PLAYERS = Amount(
    lambda prompt, work: {"units": prompt.segments(work), "algorithm": "exact"}, lambda _prompt, work: 2**work
)
