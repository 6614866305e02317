"""Curves as inline SVG: a few lines over the share of units, in the report's style."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from explaind.contract.blocks.attribution_result import Curve
from explaind.views.drawing.html import Markup, tag
from explaind.views.drawing.numerals import number

_WIDTH, _HEIGHT = 370, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 12, 12, 34


@dataclass(frozen=True)
class Line:
    """One line: its name, its points, and the class that gives it its colour ("for", "against", "random")."""

    label: str
    curve: Curve
    style: str


def curves_svg(lines: Sequence[Line], *, title: str) -> Markup:
    """The lines over a common pair of axes: share of the units against the score."""
    finite = [y for line in lines for y in line.curve.y if math.isfinite(y)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    span = (high - low) or 1.0

    def place(x: float, y: float) -> str:
        right = _LEFT + x * (_WIDTH - _LEFT - _RIGHT)
        down = _TOP + (high - y) / span * (_HEIGHT - _TOP - _BOTTOM)
        return f"{right:.1f},{down:.1f}"

    drawn = [
        tag(
            "polyline",
            tag("title", f"{line.label}: area {number(line.curve.area)}"),
            points=" ".join(place(x, y) for x, y in zip(line.curve.x, line.curve.y, strict=True) if math.isfinite(y)),
            class_=line.style,
        )
        for line in lines
    ]
    floor = _HEIGHT - _BOTTOM
    axes = [
        tag("line", x1=_LEFT, x2=_LEFT, y1=_TOP, y2=floor, class_="axis"),
        tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=floor, y2=floor, class_="axis"),
        _label(number(high), _LEFT - 8, _TOP + 5, "end"),
        _label(number(low), _LEFT - 8, floor, "end") if high > low else None,
        _label("0 %", _LEFT, floor + 16, "middle"),
        _label("of the units", (_LEFT + _WIDTH - _RIGHT) / 2, floor + 16, "middle"),
        _label("100 %", _WIDTH - _RIGHT, floor + 16, "end"),
    ]
    return tag(
        "svg",
        tag("title", title),
        axes,
        drawn,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        class_="curves",
        aria_label=title,
    )


def _label(text: str, x: float, y: float, anchor: str) -> Markup:
    return tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)
