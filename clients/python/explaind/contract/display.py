"""The seam for people: the SDK registers here how results are drawn and summed up, the contract itself does neither."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Display:
    """Holds what makes HTML of a result, and one line of text; None until they are registered."""

    renderer: Callable[[object], str] | None = None
    summary: Callable[[object], str] | None = None


DISPLAY = Display()
