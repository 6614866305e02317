"""Interactions of an attribution's units: a unit × unit grid, and the strongest pairs with what a value means."""

from collections.abc import Sequence
from dataclasses import dataclass

from explaind.contract.blocks.attribution_result import Attribution, Interactions
from explaind.views.drawing.cards import section
from explaind.views.drawing.grids import Grid, grid_svg
from explaind.views.drawing.html import Markup, tag
from explaind.views.drawing.tables import table
from explaind.views.drawing.text import number, one_line, plural, signed

MOST_PAIRS = 10
MEANING = (
    "Positive: together the two change the score by more than each alone adds, they need each other. "
    "Negative: by less, one makes the other redundant."
)
_QUIET = "opacity:.75;font-size:.9em;margin:.3em 0"


@dataclass(frozen=True)
class Pair:
    """Two units and their interaction index, with its standard error where that is known."""

    first: str
    second: str
    value: float
    error: float | None

    @property
    def written(self) -> str:
        """The value, and how sure it is."""
        return signed(self.value) + ("" if self.error is None else f" ± {number(self.error)}")


def strongest_pairs(result: Attribution, found: Interactions, count: int = MOST_PAIRS) -> list[Pair]:
    """The pairs of units of the largest magnitude, the largest first."""
    errors = found.standard_errors
    names = unit_names(result)
    pairs = [
        Pair(names[i], names[j], found.values[i][j], errors[i][j] if errors else None)
        for i in range(len(names))
        for j in range(i + 1, len(names))
    ]
    return sorted(pairs, key=lambda pair: -abs(pair.value))[:count]


def unit_names(result: Attribution) -> list[str]:
    """The units by their names; one whose text occurs several times has its place behind it."""
    texts = [one_line(unit.name or unit.text, 24) for unit in result.units]
    return [f"{text} ({at + 1})" if texts.count(text) > 1 else text for at, text in enumerate(texts)]


def interactions_grid(result: Attribution, found: Interactions) -> Grid:
    """Unit × unit; the diagonal is empty, since a unit does not interact with itself."""
    names = unit_names(result)
    values = [
        [None if row == column else value for column, value in enumerate(line)] for row, line in enumerate(found.values)
    ]
    return Grid(values, names, names, row_kind="unit", column_kind="unit")


def interactions_section(result: Attribution) -> Markup | None:
    """A card of a report; None where no interactions were asked for."""
    found = result.interactions
    if found is None or len(result.units) < 2:
        return None
    kind = f"between {result.unit_kind}s, " if result.unit_kind in {"token", "word", "sentence"} else ""
    return section(
        "Which units work together",
        grid_svg(interactions_grid(result, found), title="Interactions of all pairs of units"),
        _pairs_table(strongest_pairs(result, found)),
        note=f"{kind}Shapley interaction index, {plural(found.evaluations, 'evaluation')}",
        how=f"{MEANING} In the units of the score.",
        class_="flow",
    )


def interactions_notebook(result: Attribution) -> Sequence[Markup]:
    """The grid and the strongest pairs for a notebook; nothing where no interactions were asked for."""
    found = result.interactions
    if found is None or len(result.units) < 2:
        return []
    return [
        tag("div", tag("b", "Which units work together"), style="margin-top:.8em"),
        tag("div", MEANING, style=_QUIET),
        grid_svg(interactions_grid(result, found), title="Interactions of all pairs of units"),
        _pairs_table(strongest_pairs(result, found)),
    ]


def _pairs_table(pairs: Sequence[Pair]) -> Markup:
    rows = [
        tag(
            "tr",
            tag("th", _name(pair.first), " and ", _name(pair.second), scope="row", style="font-weight:400"),
            tag("td", pair.written, class_="num"),
        )
        for pair in pairs
    ]
    return table(["Strongest pairs", "Value"], rows)


def _name(text: str) -> Markup:
    return tag("code", text, style="white-space:nowrap", dir="auto")
