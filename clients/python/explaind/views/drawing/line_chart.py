"""A few lines over the same layers or steps as inline SVG, with their names below; on light and on dark pages."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from explaind.views.drawing.html import Markup, tag
from explaind.views.drawing.numerals import number

_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 12, 12, 34
_AXIS = "stroke:#888;stroke-width:.7"


@dataclass(frozen=True)
class Line:
    """Values at 0, 1, 2 …, in a CSS colour; what is not finite is left out."""

    label: str
    y: Sequence[float]
    colour: str


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    ends: tuple[str, str],
    low: float | None = None,
    written: Callable[[float], str] = number,
    size: tuple[int, int] = (370, 210),
) -> Markup:
    """The lines from `low` (None: the lowest value) to the highest value, `ends` what first and last are called."""
    width, height = size
    finite = [y for line in lines for y in line.y if math.isfinite(y)]
    bottom, top = min(finite, default=0.0) if low is None else low, max(finite, default=0.0)
    span = (top - bottom) or 1.0
    floor, right = height - _BOTTOM, width - _RIGHT

    def place(at: int, count: int, y: float) -> str:
        return (
            f"{_LEFT + at / max(1, count - 1) * (right - _LEFT):.1f},{floor - (y - bottom) / span * (floor - _TOP):.1f}"
        )

    drawn = [
        tag(
            "polyline",
            tag("title", line.label),
            points=" ".join(place(at, len(line.y), y) for at, y in enumerate(line.y) if math.isfinite(y)),
            style=f"fill:none;stroke-width:2;stroke:{line.colour}",
        )
        for line in lines
    ]
    texts = [
        (written(top), _LEFT - 8, _TOP + 5, "end"),
        (written(bottom), _LEFT - 8, floor, "end"),
        (ends[0], _LEFT, floor + 16, "start"),
        (ends[1], right, floor + 16, "end"),
    ]
    svg = tag(
        "svg",
        tag("title", title),
        tag("line", x1=_LEFT, x2=_LEFT, y1=_TOP, y2=floor, style=_AXIS),
        tag("line", x1=_LEFT, x2=right, y1=floor, y2=floor, style=_AXIS),
        [
            tag("text", text, x=f"{x}", y=f"{y}", text_anchor=anchor, style="font-size:11px;fill:#888")
            for text, x, y, anchor in texts
        ],
        drawn,
        viewBox=f"0 0 {width} {height}",
        role="img",
        style=f"width:100%;min-width:260px;max-width:{1.2 * width:.0f}px;height:auto;display:block",
        aria_label=title,
    )
    keys = [
        tag("span", tag("b", "― ", style=f"color:{line.colour}"), f"{line.label}  ", style="white-space:pre")
        for line in lines
    ]
    return tag("figure", svg, tag("figcaption", tag("div", title), keys), style="margin:0;flex:1 1 280px")
