"""An attribution for the report: the coloured prompt, its values as bars and tables, and what was asked."""

import math

from explaind.contract.blocks.attribution_result import Attribution, ReducedPrecision
from explaind.contract.blocks.regrouping import kinds_of
from explaind.views.drawing.bars import bars_html
from explaind.views.drawing.cards import facts, notebook_frame, section, tiles
from explaind.views.drawing.faithfulness import faithfulness_line, faithfulness_section
from explaind.views.drawing.heatmap import (
    answer_chip,
    heatmap_html,
    legend_html,
    question,
    summary,
    text_chip,
    work_in_words,
)
from explaind.views.drawing.html import Markup, Node, join, tag
from explaind.views.drawing.tables import matrix_table, messages_table, strongest, values_table
from explaind.views.drawing.text import number, one_line, percent, plural
from explaind.views.parts.interactions import interactions_notebook, interactions_section
from explaind.views.registry import View

MOST_BARS = 20
_NOTE = "opacity:.75;font-size:.9em;margin:.3em 0"


def notebook(result: Attribution) -> Markup:
    """The attribution for a notebook: what was asked, the coloured prompt, the scale, the numbers around."""
    return notebook_frame(
        "attribution",
        tag("div", question(result), style="margin-bottom:.3em"),
        heatmap_html(result),
        legend_html(result),
        tag("div", faithfulness_line(result.faithfulness), style=_NOTE) if result.faithfulness else None,
        interactions_notebook(result),
        tag("div", summary(result), style=_NOTE),
    )


def sections(result: Attribution) -> list[Markup]:
    """The cards of the report."""
    bars = strongest(result, MOST_BARS)
    shown_bars = f"the strongest {len(bars)} of {len(result.values)}" if len(bars) < len(result.values) else None
    errors = "whiskers: one standard error" if result.standard_errors else None
    notes = ", ".join(note for note in (shown_bars, errors) if note)
    sections = [
        section("Which words did it", _heat(result)),
        tiles(_tiles(result)),
        section("Values of the units", bars_html(bars, title="Values of the units"), note=notes) if bars else None,
        interactions_section(result),
        faithfulness_section(result.faithfulness) if result.faithfulness else None,
        section("Every unit", values_table(result), class_="flow"),
    ]
    if result.by_message:
        sections.insert(2, section("Every message", messages_table(result.by_message)))
    matrix = matrix_table(result)
    if matrix is not None:
        note = "a unit's row adds up to its value"
        sections.append(section("Unit by target token", matrix, note=note, class_="flow"))
    sections.append(section("What was asked", facts(_facts(result))))
    return [section for section in sections if section is not None]


def _heat(result: Attribution) -> Markup:
    """The coloured prompt; where the result can be shown by larger units, a switch between them."""
    kinds = kinds_of(result)
    if result.unit_kind not in kinds or len(kinds) < 2:
        return _view(result)
    switches = [
        join(
            [
                tag("input", type="radio", name="units", id=f"by-{kind}", checked="checked" if not number else None),
                tag("label", f"by {kind}", for_=f"by-{kind}"),
            ]
        )
        for number, kind in enumerate(kinds)
    ]
    return tag("div", switches, tag("div", [_view(result.regrouped(kind)) for kind in kinds]), class_="switch")


def _view(result: Attribution) -> Markup:
    return tag("div", heatmap_html(result), legend_html(result), class_="heat")


def _tiles(result: Attribution) -> dict[str, tuple[str, str | None]]:
    kind = "difference of " + result.score if result.foil else result.score
    return {
        "Every unit absent": (number(result.base_value), _in_words(result, result.base_value)),
        "Every unit present": (number(result.full_value), _in_words(result, result.full_value)),
        "Sum of the values": (
            number(math.fsum(result.values), sign=True),
            f"{kind}; gap {number(result.completeness_gap)}",
        ),
        "Algorithm": (result.algorithm, work_in_words(result)),
    }


def _in_words(result: Attribution, score: float) -> str | None:
    """A score of log-probabilities as what it means: a probability, or odds against the foil."""
    if result.score != "logprob" or abs(score) > 600:
        return None
    if result.foil is None:
        return f"probability {percent(math.exp(min(0.0, score)))}"
    odds = math.exp(abs(score))
    written = f"{odds:.2f}" if odds < 10 else f"{odds:,.0f}" if odds < 1e6 else f"{odds:.0e}"
    return f"odds {written} : 1 {'for' if score >= 0 else 'against'} the target"


def _facts(result: Attribution) -> dict[str, Node]:
    baseline = result.baseline.choice
    if result.baseline.text is not None:
        baseline += f" ({one_line(result.baseline.text)!r})"
    asked: dict[str, Node] = {
        "Target": join([_asked_chip(result), f" log-probability {number(result.target.logprob)}"]),
        "Foil": join([answer_chip(result.foil), f" log-probability {number(result.foil.logprob)}"])
        if result.foil
        else None,
        "Labels": join([node for label in result.labels for node in (text_chip(label), " ")])
        if result.labels
        else None,
        "Score": result.score,
        "Baseline": baseline,
        "Matrix products": _products(result.fast) if result.fast else None,
    }
    return asked


def _products(fast: ReducedPrecision) -> str:
    if not fast.checked:
        return fast.products
    checked = plural(fast.checked, "coalition")
    return f"{fast.products}; {number(fast.largest_difference)} off at most, of {checked} evaluated both ways"


def _asked_chip(result: Attribution) -> Markup:
    return text_chip(result.target) if result.labels else answer_chip(result.target)


VIEW = View(Attribution, heading=lambda _, result: question(result), notebook=notebook, sections=sections)
