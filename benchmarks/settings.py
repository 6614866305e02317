"""How a run of measurements is made."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Settings:
    """`whole` has the peers do all their work; one case is repeated so often, or until it has gone on for `spend_s`.

    Both sides of a comparison hold their model on `device` in `dtype`. `tiny` tries the area gpu out on models of two
    narrow layers.
    """

    whole: bool = False
    repeats: int = 3
    spend_s: float = 24.0
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    tiny: bool = False
