"""Faithfulness of an attribution in a report: its curves, and its measures compared with random orders."""

from explaind.contract.blocks.attribution_result import Curve, Faithfulness, RandomBaseline
from explaind.views.drawing.cards import section
from explaind.views.drawing.html import Markup, tag
from explaind.views.drawing.line_chart import QUIET_COLOUR, Axis, Line, line_chart
from explaind.views.drawing.tables import table
from explaind.views.drawing.text import MINUS, number, plural, signed, whole_percent

_FIRST = "Area of deletion"
_SHORT = {
    "Area of deletion": "deletion",
    "Area of insertion": "insertion",
    "Comprehensiveness": "comprehensiveness",
    "Sufficiency": "sufficiency",
}


def measures(found: Faithfulness) -> dict[str, tuple[RandomBaseline, str]]:
    """The measures by name, each with the direction that is better."""
    return {
        "Comprehensiveness": (found.comprehensiveness_mean, "higher"),
        "Sufficiency": (found.sufficiency_mean, "lower"),
        "Area of deletion": (found.deletion_area, "lower"),
        "Area of insertion": (found.insertion_area, "higher"),
    }


def faithfulness_section(found: Faithfulness) -> Markup:
    """A card: the score as units are removed and inserted in the attribution's order, and in random ones."""
    charts = [
        _chart("Units removed, the strongest first", found.deletion, found.random_deletion),
        _chart("Units inserted, the strongest first", found.insertion, found.random_insertion),
    ]
    rows = [
        tag(
            "tr",
            tag("td", name, tag("small", f" {better} is better")),
            tag("td", number(measure.value), class_="num"),
            tag("td", f"{number(measure.random_mean)} ± {number(measure.random_deviation)}", class_="num quiet"),
            tag("td", "" if measure.z is None else signed(measure.z), class_="num"),
            tag("td", beaten(measure), class_="num"),
        )
        for name, (measure, better) in measures(found).items()
    ]
    heads = ["", "This order", "Random orders", "z", "Beats"]
    return section(
        "Does the model agree",
        tag("div", charts, class_="charts"),
        table(heads, rows),
        note=f"beside {plural(found.random_orders, 'random order')}, dashed: their mean",
        how="Units go, or come, in the order of their values: the score of a faithful attribution moves early. "
        "More: docs/guide/faithfulness.md.",
        class_="flow",
    )


def faithfulness_line(found: Faithfulness) -> str:
    """The measures in a line, the area of deletion first: it is the one that asks for the whole order."""
    first, *others = (
        (_SHORT[name], measure) for name, (measure, _) in sorted(measures(found).items(), key=lambda m: m[0] != _FIRST)
    )
    more = "; ".join(f"{name} {beaten(measure)}{_deviations(measure)}" for name, measure in others)
    head = f"beats {beaten(first[1])} of random orders{_deviations(first[1])}"
    return f"faithfulness: {head} ({first[0]}; {more}; {plural(found.random_orders, 'random order')})"


def _deviations(measure: RandomBaseline) -> str:
    return "" if measure.z is None else f", z {measure.z:+.1f}".replace("-", MINUS)


def beaten(measure: RandomBaseline) -> str:
    """The share of random orders that are worse, as a percentage."""
    return whole_percent(measure.beats)


def _chart(title: str, own: Curve, random: Curve) -> Markup:
    lines = [
        Line("random orders, mean", random.y, random.x, QUIET_COLOUR, dashed=True, note=_area(random)),
        Line("this order", own.y, own.x, note=_area(own)),
    ]
    return line_chart(
        lines, title=title, x=Axis("share of the units", 0.0, 1.0, written=whole_percent), y=Axis("score")
    )


def _area(curve: Curve) -> str:
    return f"area {number(curve.area)}"
