"""The colours of every picture: diverging for values (blue below 0, orange above), sequential for surprise.

Blue and orange are distinguishable with every common kind of colour blindness. A colour is laid over the background
with an opacity that grows with the magnitude, so that text keeps its own colour on light and on dark pages.
"""

import math
from collections.abc import Iterable, Sequence

from explaind.views.drawing.html import Markup, tag

RGB = tuple[int, int, int]

POSITIVE: RGB = (230, 108, 20)
NEGATIVE: RGB = (44, 123, 214)
SURPRISE: RGB = (160, 82, 190)
PAPER: RGB = (250, 248, 245)
INK: RGB = (10, 10, 12)
# Kinds without an order (Okabe & Ito 2008): apart for every common kind of colour blindness, on light and on dark.
KINDS: tuple[RGB, ...] = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167), (213, 94, 0), (0, 114, 178))

# Values below this share of the largest magnitude get no colour: it would be invisible.
FAINT = 0.02
STRONGEST = 0.78

_FADED = "opacity:.75"  # of the texts alone: the bar's colours are those of the cells
_FLAT = 6  # percent of the bar at each end that are of the end's very colour


def largest(values: Iterable[float]) -> float:
    """The largest finite magnitude, the end of a symmetric colour scale; 0 if there is none."""
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
    return overlay_css(POSITIVE if share > 0 else NEGATIVE, abs(share))


def surprise_css(share: float) -> str:
    """The overlay of a surprise from 0 to 1 as a CSS colour."""
    return overlay_css(SURPRISE, share)


def surprise_of(logprob: float) -> float:
    """Surprise of a token, from 0 (certain) to 1 (10 nats, one in 22,000, and beyond)."""
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


def scale_html(colours: Sequence[str], low: str, high: str) -> Markup:
    """A bar from the colour of the lowest to that of the highest value, between their texts."""
    inner = [f"{_FLAT + (100 - 2 * _FLAT) * at / (len(colours) - 1):.1f}%" for at in range(len(colours))]
    stops = [f"{colours[0]} 0", *(f"{colour} {at}" for colour, at in zip(colours, inner, strict=True))]
    bar = (
        "display:inline-block;width:9em;height:.8em;border-radius:3px;vertical-align:middle;margin:0 .5em;"
        f"outline:1px solid rgba(128,128,128,.4);background:linear-gradient(to right,{','.join(stops)},"
        f"{colours[-1]} 100%);print-color-adjust:exact;-webkit-print-color-adjust:exact"
    )
    texts = [tag("span", text, style=_FADED) for text in (low, high)]
    return tag("div", texts[0], tag("span", style=bar, class_="scale"), texts[1], style="font-size:.9em;margin:.3em 0")


def overlay_css(hue: RGB, strength: float) -> str:
    """A colour laid over the background, the stronger the more: strength from 0 to 1."""
    opacity = opacity_of(strength)
    return f"rgba({hue[0]},{hue[1]},{hue[2]},{opacity:.3f})" if opacity else "transparent"


def opacity_of(strength: float) -> float:
    """How much of its colour a strength from 0 to 1 shows; 0 for what could not be told from none."""
    # A floor makes faint values visible; the rest is proportional.
    return 0.0 if strength < FAINT else 0.06 + (STRONGEST - 0.06) * min(1.0, strength)


def _luminance(colour: RGB) -> float:
    linear = [(part / 255) ** 2.2 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
