"""How a run of measurements is made."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """`whole` has the peers do all their work; one case is repeated so often, or until it has gone on for `spend_s`."""

    whole: bool = False
    repeats: int = 3
    spend_s: float = 24.0
