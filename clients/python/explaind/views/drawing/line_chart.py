"""Line charts as inline SVG: a few lines over common axes with round ticks, on light and on dark pages."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from explaind.views.drawing.html import Markup, tag
from explaind.views.drawing.palette import POSITIVE, css
from explaind.views.drawing.text import one_line, plain_number

QUIET_COLOUR = "rgba(128,128,128,.9)"

_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 14, 12, 26
_NAME_LINE = 16
_MOST_DOTS = 40  # points of a line that are drawn as dots
_LARGEST = 1e100  # points beyond it are left out, like those that are not finite
_AXIS = "stroke:rgba(128,128,128,.6);stroke-width:1"
_RULE = "stroke:rgba(128,128,128,.2);stroke-width:1"
_FONT, _LEAST_FONT = 12, 11  # pixels of a text, and as small as the page may scale it
_TEXT = "font:12px system-ui,sans-serif;font-variant-numeric:tabular-nums;fill:currentColor;opacity:.75"


@dataclass(frozen=True)
class Line:
    """Points of one line in a CSS colour; those that are not finite are left out.

    `x` of None stands for 0, 1, 2 …; `note` is shown with the label as a tooltip.
    """

    label: str
    y: Sequence[float]
    x: Sequence[float] | None = None
    colour: str = css(POSITIVE)
    dashed: bool = False
    note: str = ""

    @property
    def points(self) -> list[tuple[float, float]]:
        """The finite points."""
        pairs = zip(range(len(self.y)) if self.x is None else self.x, self.y, strict=True)
        return [(float(x), float(y)) for x, y in pairs if abs(x) < _LARGEST and abs(y) < _LARGEST]


@dataclass(frozen=True)
class Axis:
    """One axis: its title, range and ticks; None values follow from the points.

    `low` and `high` are the minimum range shown. `names` are the ticks of an axis of indices 0, 1, 2 …; `ticks` gives
    them by value instead. `whole` allows ticks at whole numbers only.
    """

    name: str = ""
    low: float | None = None
    high: float | None = None
    names: Sequence[str] | None = None
    ticks: Mapping[float, str] | None = None
    whole: bool = False
    written: Callable[[float], str] = plain_number


@dataclass(frozen=True)
class _Scale:
    """A resolved axis: its range and ticks."""

    low: float
    high: float
    ticks: Mapping[float, str]

    def share(self, value: float) -> float:
        """Position of a value, from 0 at the low end to 1 at the high one."""
        return (value - self.low) / (self.high - self.low)


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    x: Axis | None = None,
    y: Axis | None = None,
    size: tuple[int, int] = (320, 200),
) -> Markup:
    """A figure: the lines over their axes, the title, and the lines' names where there is more than one.

    `size` is [width, height] in pixels: the least at which its texts can be read, so a narrower page scrolls it.
    """
    names = [
        tag("span", tag("b", f"{'┄' if line.dashed else '―'} ", style=f"color:{line.colour}"), f"{_name(line)}  ")
        for line in lines
    ]
    keys = tag("div", names, style="white-space:pre-wrap") if len(lines) > 1 else None
    svg = _svg(lines, title, x or Axis(whole=True), y or Axis(), size)
    frame = tag("div", svg, class_="scroll", style="overflow-x:auto")
    caption = tag("figcaption", tag("div", title), keys)
    return tag("figure", frame, caption, style=f"margin:0;min-width:0;flex:1 1 {min(size[0], 320)}px")


def round_ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """Ticks enclosing low to high: at most about `most` multiples of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    step = max(step, 1.0) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def _svg(lines: Sequence[Line], title: str, x: Axis, y: Axis, size: tuple[int, int]) -> Markup:
    width, height = size
    least = width * _LEAST_FONT / _FONT
    floor, right = height - _BOTTOM - (_NAME_LINE if x.name else 0), width - _RIGHT
    points = [point for line in lines for point in line.points]
    across = _scale(x, [point[0] for point in points], max(2, (right - _LEFT) // 55), enclose=False)
    up = _scale(y, [point[1] for point in points], max(2, (floor - _TOP) // 34), enclose=True)

    def place(at: float, value: float) -> tuple[float, float]:
        return _LEFT + across.share(at) * (right - _LEFT), floor - up.share(value) * (floor - _TOP)

    return tag(
        "svg",
        tag("title", title),
        [_tick_of_y(text, place(across.low, value)[1], right) for value, text in up.ticks.items()],
        [_tick_of_x(text, place(value, up.low)[0], floor, right) for value, text in across.ticks.items()],
        tag("line", x1=_LEFT, x2=_LEFT, y1=_TOP, y2=floor, style=_AXIS),
        tag("line", x1=_LEFT, x2=right, y1=floor, y2=floor, style=_AXIS),
        _text(x.name, (_LEFT + right) / 2, height - 5, "middle") if x.name else None,
        _text(y.name, 10, (_TOP + floor) / 2, "middle", turned=True) if y.name else None,
        [_drawn(line, place, across.ticks, y.written) for line in lines],
        viewBox=f"0 0 {width} {height}",
        role="img",
        class_="lines",
        style=f"width:100%;min-width:{least:.0f}px;max-width:{1.2 * width:.0f}px;height:auto;display:block",
        aria_label=title,
    )


def _scale(axis: Axis, values: Sequence[float], most: int, *, enclose: bool) -> _Scale:
    """The range of the values and of the axis's own bounds; `enclose` widens it to whole ticks."""
    known = [*values, *(end for end in (axis.low, axis.high) if end is not None)] or [0.0]
    low, high = min(known), max(known)
    if high - low <= 1e-12 * max(abs(low), abs(high)):  # a single value gets a range around it
        around = (abs(low) if abs(low) > 1e-100 else 1.0) / 2
        low, high = (low, low + 1.0) if axis.whole or axis.names else (low - around, low + around)
    if axis.ticks is not None:
        return _Scale(low, high, {at: text for at, text in axis.ticks.items() if low <= at <= high})
    if axis.names is not None:
        every = max(1, math.ceil(len(axis.names) / most))
        named = {float(at): axis.names[at] for at in range(0, len(axis.names), every)}
        return _Scale(low, high, {at: one_line(text, 10) for at, text in named.items() if low <= at <= high})
    ticks = round_ticks(low, high, most, whole=axis.whole)
    if enclose:
        low, high = ticks[0], ticks[-1]
    margin = 1e-9 * (high - low)
    return _Scale(low, high, {at: axis.written(at) for at in ticks if low - margin <= at <= high + margin})


def _drawn(
    line: Line,
    place: Callable[[float, float], tuple[float, float]],
    names: Mapping[float, str],
    written: Callable[[float], str],
) -> Markup:
    """The line, and a dot with its value as a tooltip at each of its points if these are few."""
    note = f": {line.note}" if line.note else ""
    placed = [place(*point) for point in line.points]
    dashes = ";stroke-dasharray:5 4" if line.dashed else ""
    polyline = tag(
        "polyline",
        tag("title", f"{_name(line)}{note}"),
        points=" ".join(f"{x:.1f},{y:.1f}" for x, y in placed),
        style=f"fill:none;stroke:{line.colour};stroke-width:{1.5 if line.dashed else 2};stroke-linejoin:round{dashes}",
    )
    if len(placed) > _MOST_DOTS or line.dashed:
        return polyline
    dots = [
        tag(
            "circle",
            tag("title", f"{_name(line)}, {names.get(at, plain_number(at))}: {written(value)}"),
            cx=f"{x:.1f}",
            cy=f"{y:.1f}",
            r=2.5 if len(placed) > 1 else 3.5,
            style=f"fill:{line.colour}",
        )
        for (x, y), (at, value) in zip(placed, line.points, strict=True)
    ]
    return tag("g", polyline, dots)


def _tick_of_y(text: str, y: float, right: float) -> Markup:
    rule = tag("line", x1=_LEFT, x2=right, y1=f"{y:.1f}", y2=f"{y:.1f}", style=_RULE)
    return tag("g", rule, _text(text, _LEFT - 8, y + 4, "end"))


def _tick_of_x(text: str, x: float, floor: float, right: float) -> Markup:
    mark = tag("line", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=floor, y2=floor + 4, style=_AXIS)
    # Long text at the right end would be truncated.
    anchor = "end" if x > right - 12 and len(text) > 3 else "middle"
    return tag("g", mark, _text(text, x + (8 if anchor == "end" else 0), floor + 17, anchor))


def _text(text: str, x: float, y: float, anchor: str, *, turned: bool = False) -> Markup:
    turn = f"rotate(-90 {x:.1f} {y:.1f})" if turned else None
    return tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, transform=turn, style=_TEXT)


def _name(line: Line) -> str:
    return one_line(line.label, 40)
