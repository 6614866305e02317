"""Generic HTML view of a result from its fields: the blocks of `drawing.fields` as strips, grids, charts, tables."""

import math
from collections.abc import Sequence

from explaind.views.drawing.cards import facts, notebook_frame, section
from explaind.views.drawing.fields import (
    Block,
    FactList,
    HeatGrid,
    ObjectTable,
    Series,
    Source,
    Strip,
    blocks_of,
)
from explaind.views.drawing.grids import grid_svg
from explaind.views.drawing.html import Markup, tag
from explaind.views.drawing.line_chart import Axis, Line, line_chart
from explaind.views.drawing.palette import diverging_css, largest, share_of
from explaind.views.drawing.tables import table
from explaind.views.drawing.text import number, one_line, plural, shown, signed

_STRIP = "line-height:2;white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:plaintext"
_PIECE = "border-radius:3px;padding:.2em .15em;margin-right:.1em;print-color-adjust:exact"


def fields_sections(result: object) -> list[Markup]:
    """The cards of a report about a result of any class."""
    return [section(_title(block), _body(block), note=_note(block), class_=_flow(block)) for block in blocks_of(result)]


def fields_notebook(result: object) -> Markup:
    """Notebook view of a result of any class."""
    blocks = [[tag("div", tag("b", _title(block))), _plain_body(block)] for block in blocks_of(result)]
    return notebook_frame("fields", tag("div", tag("b", type(result).__name__)), blocks)


def strip(labels: Sequence[str], values: Sequence[float | None]) -> Markup:
    """Texts in sequence, each on the colour of its number."""
    scale = largest(value for value in values if value is not None)
    pieces = [
        tag(
            "span",
            shown(label),
            title=f"{one_line(label)}: {'none' if value is None else signed(value)}",
            style=f"background:{diverging_css(share_of(value or 0.0, scale))};{_PIECE}",
        )
        for label, value in zip(labels, values, strict=True)
    ]
    return tag("div", pieces, dir="auto", style=_STRIP)


def _title(block: Block) -> str:
    title = shown(block.title)
    return title[:1].upper() + title[1:]


def _note(block: Block) -> str:
    if isinstance(block, Strip):
        return f"colours end at ±{number(largest(value for value in block.values if value is not None))}"
    if isinstance(block, ObjectTable) and block.left_out:
        return f"and {plural(block.left_out, 'more row')}"
    return block.note if isinstance(block, HeatGrid) else ""


def _flow(block: Block) -> str | None:
    return "flow" if isinstance(block, ObjectTable | FactList | Source) else None


def _body(block: Block) -> Markup:
    match block:
        case Strip():
            return strip(block.labels, block.values)
        case HeatGrid():
            return grid_svg(block.grid, title=_title(block))
        case Series():
            line = Line(block.title, [value if math.isfinite(value) else math.nan for value in block.values])
            return line_chart([line], title=_title(block), x=Axis(whole=True), size=(640, 210))
        case ObjectTable():
            rows = [tag("tr", [tag("td", cell, dir="auto") for cell in row]) for row in block.rows]
            return table(list(block.columns), rows)
        case FactList():
            return facts({name: tag("span", shown(text), dir="auto") for name, text in block.facts.items()})
        case Source():
            return tag("code", shown(block.text))


def _plain_body(block: Block) -> Markup:
    """The body without the report's styles: facts one below another."""
    if not isinstance(block, FactList):
        return _body(block)
    lines = [tag("div", f"{name}: ", tag("span", shown(text), dir="auto")) for name, text in block.facts.items()]
    return tag("div", lines)
