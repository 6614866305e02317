"""HTML view of an attribution: the coloured prompt, its values as bars and tables, and the query."""

import math

from explaind.contract.blocks.attribution_result import Attribution, Faithfulness, ReducedPrecision, StoppingReason
from explaind.contract.blocks.regrouping import kinds_of
from explaind.views.drawing.bars import bars_html
from explaind.views.drawing.cards import facts, notebook_frame, section, tiles
from explaind.views.drawing.faithfulness import faithfulness_line, faithfulness_section
from explaind.views.drawing.heatmap import (
    baseline_words,
    heatmap_html,
    labels_node,
    legend_html,
    question,
    scored_node,
    summary,
    work_in_words,
)
from explaind.views.drawing.html import Markup, Node, join, tag
from explaind.views.drawing.tables import matrix_table, messages_table, strongest, values_table
from explaind.views.drawing.text import number, one_line, percent, plural, signed
from explaind.views.parts.interactions import interactions_notebook, interactions_section
from explaind.views.registry import View

_HOW = (
    "Orange words speak for the target, blue ones against it; point at a word for its value. "
    "More: docs/guide/targets-and-units.md."
)
MOST_BARS = 20
_NOTE = "opacity:.75;font-size:.9em;margin:.3em 0"


def notebook(result: Attribution) -> Markup:
    """Notebook view: what was explained, the coloured prompt, the colour scale, and the scores."""
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
        section("Which words did it", _heat(result), how=_HOW),
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
    sections.append(section("What was asked", facts(asked(result))))
    return [section for section in sections if section is not None]


def _heat(result: Attribution) -> Markup:
    """The coloured prompt; with a switch between unit kinds if the result has larger units."""
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
    """A log-probability score as a probability, or as odds against the foil."""
    if result.score != "logprob" or abs(score) > 600:
        return None
    if result.foil is None:
        return f"probability {percent(math.exp(min(0.0, score)))}"
    odds = math.exp(abs(score))
    written = f"{odds:.2f}" if odds < 10 else f"{odds:,.0f}" if odds < 1e6 else f"{odds:.0e}"
    return f"odds {written} : 1 {'for' if score >= 0 else 'against'} the target"


def asked(result: Attribution) -> dict[str, Node]:
    """What was asked and how it was computed, for a reader who has seen the values."""
    return {
        "Target": scored_node(result.target),
        "Foil": scored_node(result.foil) if result.foil else None,
        "Labels": labels_node(result.labels),
        "Score": result.score,
        "Units": _units(result),
        "Baseline (what stands for an absent unit)": baseline_words(result.baseline),
        "Sampling ended": _stopped(result.stopped) if result.stopped else None,
        "By role": " · ".join(f"{one_line(role)} {signed(value)}" for role, value in result.by_role.items())
        if result.by_role
        else None,
        "By message": " · ".join(
            f"{share.index + 1} {one_line(share.role)} {signed(share.value)}" for share in result.by_message
        )
        if result.by_message
        else None,
        "Matrix products": fast_words(result.fast) if result.fast else None,
        "Faithfulness": _checked(result.faithfulness) if result.faithfulness else None,
    }


def _units(result: Attribution) -> str | None:
    summed = f", sums over {result.summed_from}s" if result.summed_from else ""
    return None if result.unit_kind is None else f"{result.unit_kind}{summed}"


def _checked(found: Faithfulness) -> str:
    return f"removed units: {baseline_words(found.baseline)}; {plural(found.evaluations, 'evaluation')}"


def _stopped(found: StoppingReason) -> str:
    """Why the sampling ended, with the error that was asked for and the largest one left."""
    why = {
        "tolerance": "the standard errors are small enough",
        "budget": "max_budget was spent before the standard errors were small enough",
        "exact": "nothing was left to sample",
    }[found.reason]
    left = found.largest_standard_error
    return f"{why} (tolerance {number(found.tolerance)}" + (")" if left is None else f", largest {number(left)})")


def fast_words(fast: ReducedPrecision) -> str:
    """What faster matrix products changed."""
    if not fast.checked:
        return fast.products
    checked = plural(fast.checked, "coalition")
    return f"{fast.products}; {number(fast.largest_difference)} off at most, of {checked} evaluated both ways"


VIEW = View(Attribution, heading=lambda _, result: question(result), notebook=notebook, sections=sections)
