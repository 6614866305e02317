"""The colours of every picture: diverging for values (blue below 0, orange above), sequential for surprise.

Blue and orange stay apart for every common kind of colour blindness. A colour is laid over the background
with an opacity that grows with the magnitude, so that text keeps its own colour on light and on dark pages.
"""

import math
from collections.abc import Iterable

RGB = tuple[int, int, int]

POSITIVE: RGB = (230, 108, 20)
NEGATIVE: RGB = (44, 123, 214)
SURPRISE: RGB = (160, 82, 190)
PAPER: RGB = (250, 248, 245)
INK: RGB = (10, 10, 12)

# Below this share of the largest magnitude a value gets no colour: it could not be told from none.
FAINT = 0.02
STRONGEST = 0.78


def largest(values: Iterable[float]) -> float:
    """The largest finite magnitude: where a symmetric colour scale ends. 0 when there is none."""
    return max((abs(value) for value in values if math.isfinite(value)), default=0.0)


def share_of(value: float, scale: float) -> float:
    """`value` on a symmetric scale, from −1 to 1."""
    if scale <= 0 or not math.isfinite(value):
        return 0.0
    return max(-1.0, min(1.0, value / scale))


def css(colour: RGB) -> str:
    """A solid colour for CSS."""
    return "rgb({},{},{})".format(*colour)


def diverging_css(share: float) -> str:
    """The overlay of a share from −1 to 1 as a CSS colour."""
    return _overlay(POSITIVE if share > 0 else NEGATIVE, abs(share))


def surprise_css(share: float) -> str:
    """The overlay of a surprise from 0 to 1 as a CSS colour."""
    return _overlay(SURPRISE, share)


def surprise_of(logprob: float) -> float:
    """How surprising a token is, from 0 (certain) to 1 (10 nats, one in 22,000, and beyond)."""
    return min(1.0, max(0.0, -logprob) / 10) if math.isfinite(logprob) else 1.0


def on_paper(hue: RGB, strength: float) -> tuple[RGB, RGB]:
    """Solid background and readable foreground, for terminals: the hue on paper, strength from 0 to 1."""
    weight = 0.15 + 0.85 * min(1.0, strength)
    red, green, blue = (round(paper + (colour - paper) * weight) for paper, colour in zip(PAPER, hue, strict=True))
    background = (red, green, blue)
    return background, INK if _luminance(background) > 0.18 else PAPER


def diverging_on_paper(share: float) -> tuple[RGB, RGB]:
    """`on_paper` for a share from −1 to 1."""
    return on_paper(POSITIVE if share > 0 else NEGATIVE, abs(share))


def _overlay(hue: RGB, strength: float) -> str:
    if strength < FAINT:
        return "transparent"
    # A floor makes faint values visible; the rest is proportional.
    opacity = 0.06 + (STRONGEST - 0.06) * min(1.0, strength)
    return f"rgba({hue[0]},{hue[1]},{hue[2]},{opacity:.3f})"


def _luminance(colour: RGB) -> float:
    linear = [(part / 255) ** 2.2 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
