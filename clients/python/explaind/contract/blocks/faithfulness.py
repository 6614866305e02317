"""Faithfulness options of a request: units are removed in order of their values, and the score measured again."""

from typing import Annotated

from pydantic import AfterValidator, Discriminator, Field, Tag

from explaind.contract.base import RequestModel
from explaind.contract.blocks.subject import Seed
from explaind.contract.blocks.units import Baseline

SHARES_PERCENT = (1, 5, 10, 20, 50)
"""The shares of units at which comprehensiveness and sufficiency are read (DeYoung et al. 2020, ERASER)."""


class FaithfulnessOptions(RequestModel):
    """Options for the comparison of an attribution's order of units with random orders."""

    random_orders: int = Field(default=10, ge=2, le=1000, description="Number of random orders to compare with.")
    steps: int = Field(
        default=20,
        ge=2,
        le=1000,
        description="Resolution of the curves: up to this many units are removed one at a time, more in strides.",
    )
    seed: Seed = Field(default=0, description="Seed of the random orders.")
    baseline: Baseline | None = Field(
        default=None,
        description="Replacement for a removed unit; null: the method's own baseline.",
    )

    def most_evaluations(self, units: int) -> int:
        """Maximum number of coalitions evaluated for that many units."""
        return (len(removal_counts(units, self.steps)) - 2) * (self.random_orders + 2) + 2


def removal_counts(units: int, steps: int) -> list[int]:
    """The numbers of removed units at which the score is measured, ascending from 0 to all.

    They include the counts of the shares, and with every count its mirror image, so that one set of coalitions serves a
    deletion and, in reverse, an insertion.
    """
    half = {index * units // steps for index in range(steps // 2 + 1)} | set(share_counts(units))
    if units <= steps:
        half |= set(range(units + 1))
    return sorted(half | {units - count for count in half})


def share_counts(units: int) -> list[int]:
    """The shares as numbers of units: rounded up, so at least one."""
    return [-(-units * percent // 100) for percent in SHARES_PERCENT]


def _branch(value: object) -> str:
    return "~FaithfulnessOptions" if isinstance(value, dict | FaithfulnessOptions) else "~Plain"


def _as_options(value: bool | FaithfulnessOptions) -> bool | FaithfulnessOptions:
    return FaithfulnessOptions() if value is True else value


# `true` is short for {}; the validated value is False or the options.
FaithfulnessChoice = Annotated[
    Annotated[bool, Tag("~Plain")] | Annotated[FaithfulnessOptions, Tag("~FaithfulnessOptions")],
    Discriminator(_branch),
    AfterValidator(_as_options),
]
