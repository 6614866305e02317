"""A number as it grows from layer to layer, as inline SVG with its own styles."""

import math
from collections.abc import Sequence

from explaind.views.drawing.characters import one_line
from explaind.views.drawing.html import Markup, tag
from explaind.views.drawing.numerals import number, signed

_WIDTH, _HEIGHT = 640, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 14, 14, 30
_TEXT = "font:11px system-ui,sans-serif;fill:currentColor;opacity:.75"
_LINE = "fill:none;stroke:rgb(230,108,20);stroke-width:2;stroke-linejoin:round"
_AXIS = "stroke:rgba(128,128,128,.45);stroke-width:1"


def layer_curve_svg(names: Sequence[str], values: Sequence[float], *, title: str) -> Markup:
    """The values from left to right over their names; every point says its value when it is pointed at."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    span = (high - low) or 1.0
    steps = max(1, len(values) - 1)

    def across(index: int) -> float:
        return _LEFT + index / steps * (_WIDTH - _LEFT - _RIGHT)

    def down(value: float) -> float:
        return _TOP + (high - value) / span * (_HEIGHT - _TOP - _BOTTOM)

    points = [(across(i), down(value), i) for i, value in enumerate(values) if math.isfinite(value)]
    dots = [
        tag(
            "circle",
            tag("title", f"{one_line(names[i])}: {signed(values[i])}"),
            cx=f"{x:.1f}",
            cy=f"{y:.1f}",
            r=3.5,
            style="fill:rgb(230,108,20)",
        )
        for x, y, i in points
    ]
    every = max(1, math.ceil(len(names) / 12))
    floor = _HEIGHT - _BOTTOM
    zero = down(0.0)
    return tag(
        "svg",
        tag("title", title),
        tag("line", x1=_LEFT, x2=_LEFT, y1=_TOP, y2=floor, style=_AXIS),
        tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=f"{zero:.1f}", y2=f"{zero:.1f}", style=_AXIS),
        [
            tag("text", number(value), x=_LEFT - 8, y=f"{down(value) + 4:.1f}", text_anchor="end", style=_TEXT)
            for value in sorted({low, 0.0, high})
            if value == 0 or abs(down(value) - zero) > 14
        ],
        [
            tag("text", one_line(name, 10), x=f"{across(i):.1f}", y=floor + 18, text_anchor="middle", style=_TEXT)
            for i, name in enumerate(names)
            if i % every == 0
        ],
        tag("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points), style=_LINE),
        dots,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        style=f"width:{_WIDTH}px;max-width:100%;height:auto;display:block",
        role="img",
        aria_label=title,
    )
