"""Settings of a benchmark run."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Settings:
    """`whole` makes peers do all their work; a case is repeated `repeats` times, or until `spend_s` is spent.

    Both sides of a comparison hold their model on `device` in `dtype`. `tiny` runs the area gpu on models of two narrow
    layers.
    """

    whole: bool = False
    repeats: int = 3
    spend_s: float = 24.0
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    tiny: bool = False
