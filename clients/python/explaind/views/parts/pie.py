"""Shares of a whole as a pie, with a list beside it that names every part, its count and its percentage.

The styles are inline, so that a pie looks alike in a report and in a notebook, on light and on dark pages.
"""

import math
from collections.abc import Sequence

from explaind.views.drawing.html import Markup, tag
from explaind.views.drawing.palette import INK, KINDS, css
from explaind.views.drawing.text import one_line, percent

_RADIUS, _SIDE = 60, 128
_FRAME = "display:inline-flex;flex-wrap:wrap;gap:8px 18px;align-items:center;margin:4px 24px 4px 0"
_LIST = "list-style:none;margin:0;padding:0;font-size:13px"
_SWATCH = "display:inline-block;width:12px;height:12px;border-radius:2px;margin-right:7px;vertical-align:-1px"
_PRINTED = "print-color-adjust:exact;-webkit-print-color-adjust:exact"
_FEWEST = 0.08  # of the whole, for a count to fit the slice


def pie(parts: Sequence[tuple[str, int]], *, title: str) -> Markup:
    """Named counts as slices, the first from the top on, clockwise; a part keeps its colour by its place.

    Counts of 0 are listed and have no slice. Nothing is drawn where all are 0.
    """
    total = sum(count for _, count in parts)
    if total == 0:
        return Markup()
    said = "; ".join(f"{one_line(name)}: {count} ({percent(count / total)})" for name, count in parts)
    slices, begun = [], 0
    for place, (name, count) in enumerate(parts):
        if count:
            slices.append(_slice(f"{one_line(name)}: {count}", begun / total, count / total, count, _colour(place)))
        begun += count
    picture = tag(
        "svg",
        tag("title", f"{title}: {said}"),
        slices,
        viewBox=f"{-_SIDE / 2:.0f} {-_SIDE / 2:.0f} {_SIDE} {_SIDE}",
        width=_SIDE,
        height=_SIDE,
        role="img",
        class_="pie",
        aria_label=f"{title}: {said}",
        style="flex:none",
    )
    rows = [
        tag(
            "li",
            tag("span", style=f"{_SWATCH};background:{_colour(place)};{_PRINTED}"),
            f"{one_line(name, 40)} {count} ({percent(count / total)})",
        )
        for place, (name, count) in enumerate(parts)
    ]
    return tag(
        "div",
        picture,
        tag("div", tag("div", title, style="font-size:13px;opacity:.75"), tag("ul", rows, style=_LIST)),
        style=_FRAME,
    )


def _slice(said: str, begin: float, share: float, count: int, colour: str) -> Markup:
    """One slice from `begin`, a share of the whole turn, with its count where it fits."""
    style = f"fill:{colour};stroke:Canvas;stroke-width:1.5;{_PRINTED}"
    if share == 1:
        shape = tag("circle", tag("title", said), cx=0, cy=0, r=_RADIUS, style=style)
    else:
        (x1, y1), (x2, y2) = _at(begin, _RADIUS), _at(begin + share, _RADIUS)
        path = f"M0 0L{x1:.2f} {y1:.2f}A{_RADIUS} {_RADIUS} 0 {int(share > 0.5)} 1 {x2:.2f} {y2:.2f}Z"
        shape = tag("path", tag("title", said), d=path, style=style)
    x, y = _at(begin + share / 2, 0.0 if share == 1 else 0.66 * _RADIUS)
    number = tag(
        "text",
        str(count),
        x=f"{x:.1f}",
        y=f"{y + 4:.1f}",
        text_anchor="middle",
        style=f"font-size:12px;fill:{css(INK)}",
    )
    return tag("g", shape, number if share >= _FEWEST else None)


def _at(turn: float, radius: float) -> tuple[float, float]:
    """Where a share of the whole turn, from the top on and clockwise, lies at that distance from the middle."""
    angle = 2 * math.pi * turn
    return radius * math.sin(angle), -radius * math.cos(angle)


def _colour(place: int) -> str:
    return css(KINDS[place % len(KINDS)])
