"""The seam for notebooks: the SDK registers here how results are drawn, the contract itself draws nothing."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Display:
    """Holds the renderer: a result to its HTML; None until one is registered."""

    renderer: Callable[[object], str] | None = None


DISPLAY = Display()
