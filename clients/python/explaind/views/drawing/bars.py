"""Horizontal bars as rows of an HTML table: text keeps its size on a narrow screen, only the bars get shorter.

The styles are inline, so that bars look alike in a report and in a notebook, on light and on dark pages.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from explaind.views.drawing.html import Markup, tag
from explaind.views.drawing.text import number, one_line, signed

_LABEL_CHARS = 24
_TABLE = "border-collapse:collapse;border:0;width:100%;max-width:760px;margin:0;font-size:13px;background:none"
_ROW = "background:none"
_BARE = "border:0;padding:3px 0;background:none;white-space:nowrap"
_LABEL = f"{_BARE};text-align:left;font-weight:400;color:inherit;font-size:13px;padding-right:10px"
_ELLIPSIS = "display:inline-block;max-width:min(14em,38vw);overflow:hidden;text-overflow:ellipsis;vertical-align:bottom"
_TRACK = f"{_BARE};width:100%;min-width:70px"
_VALUE = f"{_BARE};text-align:right;padding-left:10px;font-size:12px;font-variant-numeric:tabular-nums"
_LANE = "position:relative;height:16px"
_ZERO = "position:absolute;top:-5px;bottom:-5px;border-left:1px solid rgba(128,128,128,.7)"
_COLOURS = {"for": "var(--for,#e66c14)", "against": "var(--against,#2c7bd6)"}
_PRINTED = "print-color-adjust:exact;-webkit-print-color-adjust:exact"


@dataclass(frozen=True)
class Bar:
    """One bar: the unit and its place in the prompt or ranking, its value, and how sure that is.

    `ends` are those of an interval around the value; without them it reaches `error` to both sides.
    `written` stands for the value where that is no signed number.
    """

    label: str
    place: int | None
    value: float
    error: float | None = None
    written: str | None = None
    ends: tuple[float, float] | None = None

    @property
    def reach(self) -> tuple[float, float] | None:
        """From where to where the whisker goes; None where there is none."""
        if self.ends is None and self.error:
            return self.value - self.error, self.value + self.error
        return self.ends


def bars_html(bars: Sequence[Bar], *, title: str) -> Markup:
    """Horizontal bars from a common zero, with their standard errors or intervals as whiskers."""
    reach = [end for bar in bars if math.isfinite(bar.value) for end in (bar.value, *(bar.reach or ()))]
    low, high = min(0.0, *reach, 0.0), max(0.0, *reach, 0.0)
    span = (high - low) or 1.0

    def across(value: float) -> float:
        return 100 * (value - low) / span

    rows = [_row(bar, across) for bar in bars]
    return tag("table", tag("tbody", rows), class_="bars", style=_TABLE, aria_label=title)


def _row(bar: Bar, across: Callable[[float], float]) -> Markup:
    zero = across(0.0)
    end = across(bar.value) if math.isfinite(bar.value) else zero
    side = "for" if bar.value >= 0 else "against"
    written = signed(bar.value) if bar.written is None else bar.written
    said = f"{one_line(bar.label)}: {written}" + _unsure(bar)
    place = None if bar.place is None else tag("small", f" {bar.place}", style="opacity:.65;font-size:11px")
    length = f"left:{min(zero, end):.2f}%;width:{abs(end - zero):.2f}%"
    fill = f"position:absolute;top:0;bottom:0;{length};border-radius:2px;background:{_COLOURS[side]};{_PRINTED}"
    lane = tag(
        "div",
        tag("div", class_=side, style=fill),
        _whisker(*map(across, bar.reach)) if bar.reach else None,
        tag("div", style=f"{_ZERO};left:{zero:.2f}%"),
        style=_LANE,
    )
    label = tag("span", one_line(bar.label, _LABEL_CHARS), style=_ELLIPSIS, dir="auto")
    return tag(
        "tr",
        tag("th", label, place, scope="row", style=_LABEL),
        tag("td", lane, style=_TRACK),
        tag("td", written, class_="value", style=_VALUE),
        title=said,
        style=_ROW,
    )


def _unsure(bar: Bar) -> str:
    if bar.ends is not None:
        return f", {signed(bar.ends[0])} to {signed(bar.ends[1])}"
    return "" if bar.error is None else f" ± {number(bar.error)}"


def _whisker(start: float, end: float) -> Markup:
    """A line with caps over the bar, in the colour of the text."""
    edges = "border:solid currentColor;border-width:0 1.3px;opacity:.75"
    line = "background:linear-gradient(currentColor,currentColor) center/100% 1.3px no-repeat"
    style = f"position:absolute;top:4px;height:8px;left:{start:.2f}%;width:{end - start:.2f}%;{edges};{line}"
    return tag("div", class_="whisker", style=f"{style};box-sizing:border-box")
