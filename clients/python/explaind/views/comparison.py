"""HTML view of a comparison of methods: the prompt once per method, their numbers, and their agreement."""

from collections.abc import Sequence

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.methods.explain.compare_methods import ComparedMethod, MethodComparison
from explaind.views.attribution import fast_words
from explaind.views.drawing.cards import facts, notebook_frame, section
from explaind.views.drawing.faithfulness import beaten, faithfulness_line, measures
from explaind.views.drawing.heatmap import baseline_words, heatmap_html, labels_node, question, scored_node
from explaind.views.drawing.html import Markup, Node, tag
from explaind.views.drawing.palette import diverging_css, largest, share_of
from explaind.views.drawing.tables import table
from explaind.views.drawing.text import number, one_line, plural, seconds, shown, signed
from explaind.views.registry import View

_AGREE = "Spearman: ranks of the signed values; top in common: the strongest units; cosine: the values. 1 is the same."
_LINE = "opacity:.75;font-size:.9em"
_NAME = "opacity:.75;margin-top:.6em"


def attributions(result: MethodComparison) -> list[tuple[ComparedMethod, Attribution]]:
    """The rows with values, each as an attribution without columns, for drawing."""
    return [(row, _attribution(result, row, row.values)) for row in result.methods if row.values is not None]


def heading(result: MethodComparison) -> Markup:
    """What was explained, as a sentence."""
    return question(attributions(result)[0][1])


def notebook(result: MethodComparison) -> Markup:
    """Notebook view: what was explained, a coloured prompt per method, and their agreement."""
    return notebook_frame(
        "comparison",
        tag("div", heading(result)),
        strips(result),
        tag("div", [agreement_table(result, title, matrix) for title, matrix in _matrices(result)]),
    )


def sections(result: MethodComparison) -> list[Markup]:
    """The cards of the report."""
    agreement = result.agreement
    cards = [
        section(
            "Which words did it",
            tag("div", strips(result), class_="strips"),
            note="each method in its own scale: orange speaks for, blue against",
            how="The same question to every method: where their colours differ, do not trust one alone. "
            "More: docs/guide/faithfulness.md.",
        ),
        section("The methods", _methods_table(result), class_="flow"),
    ]
    checked = any(row.faithfulness for row in result.methods)
    if checked:
        note = "share of random orders beaten, and the number itself"
        cards.append(section("Does the model agree", _faithfulness_table(result), note=note, class_="flow"))
    if len(agreement.labels) > 1:
        chance = f"{100 * agreement.top_overlap_by_chance:.0f} % by chance"
        tables = [agreement_table(result, title, matrix) for title, matrix in _matrices(result)]
        cards.append(
            section("How far they agree", tables, note=f"top {agreement.top_k}: {chance}", how=_AGREE, class_="flow")
        )
    cards.append(section("Every unit", _values_table(result), class_="flow"))
    cards.append(section("What was asked", facts(asked(result))))
    return cards


def asked(result: MethodComparison) -> dict[str, Node]:
    """What was asked of all methods, and how each was run."""
    ran = {f"{one_line(row.label)} was run as": _run(row) for row in result.methods}
    return {
        "Target": scored_node(result.target),
        "Foil": scored_node(result.foil) if result.foil else None,
        "Labels": labels_node(result.labels),
        "Score": result.score,
        "Baseline (what stands for an absent unit)": baseline_words(result.baseline),
        **ran,
    }


def _run(row: ComparedMethod) -> str:
    """A method's own fields, the scores it goes from and to, and what it cost."""
    scores = (
        []
        if row.base_value is None or row.full_value is None
        else [f"score {number(row.base_value)} → {number(row.full_value)}"]
    )
    checked = row.faithfulness
    removed = f"faithfulness with {baseline_words(checked.baseline)} for removed units" if checked else ""
    return ", ".join(
        [
            f"explain/{row.method}",
            *(f"{name} {one_line(str(value), 60)}" for name, value in row.params.items()),
            *scores,
            *([] if row.n_steps is None else [plural(row.n_steps, "step")]),
            f"{plural(row.forwards, 'forward')}, {plural(row.tokens_evaluated, 'token')}",
            *([fast_words(row.fast)] if row.fast else []),
            *([removed] if removed else []),
            *([one_line(row.error.hint, 300)] if row.error and row.error.hint else []),
        ]
    )


def strips(result: MethodComparison) -> Markup:
    """The coloured prompt once per method, or the reason why the method has none."""
    drawn = {row.label: heatmap_html(attribution) for row, attribution in attributions(result)}
    blocks = []
    for row in result.methods:
        note = row.algorithm or (row.error.title if row.error else "")
        body = drawn.get(row.label) or tag("div", shown(row.error.detail) if row.error else "")
        name = tag("div", tag("b", one_line(row.label)), f" {note}", style=_NAME)
        line = tag("div", faithfulness_line(row.faithfulness), style=_LINE) if row.faithfulness else None
        blocks.append(tag("div", name, tag("div", body, class_="heat"), line))
    return tag("div", blocks)


def agreement_table(result: MethodComparison, title: str, matrix: Sequence[Sequence[float | None]]) -> Markup:
    """One measure of agreement, method × method, as a small heat table."""
    labels = [one_line(label) for label in result.agreement.labels]
    rows = [
        tag("tr", tag("th", label), [_agreement_cell(entry) for entry in entries])
        for label, entries in zip(labels, matrix, strict=True)
    ]
    head = tag("thead", tag("tr", tag("th", title), [tag("th", label, class_="num") for label in labels]))
    return tag("div", tag("table", head, tag("tbody", rows), class_="matrix"), class_="scroll")


def _agreement_cell(entry: float | None) -> Markup:
    if entry is None:
        return tag("td", "none", class_="num quiet")
    return tag("td", f"{number(entry)}", class_="num", style=f"background:{diverging_css(0.6 * entry)}")


def _matrices(result: MethodComparison) -> list[tuple[str, Sequence[Sequence[float | None]]]]:
    agreement = result.agreement
    return [
        ("Spearman", agreement.spearman),
        (f"Top {agreement.top_k} in common", agreement.top_overlap),
        ("Cosine", agreement.cosine),
    ]


def _methods_table(result: MethodComparison) -> Markup:
    rows = [
        tag(
            "tr",
            tag("td", one_line(row.label)),
            tag("td", row.algorithm or (row.error.title if row.error else "")),
            tag("td", "" if row.completeness_gap is None else number(row.completeness_gap), class_="num"),
            tag("td", "" if row.evaluations is None else f"{row.evaluations:,}", class_="num"),
            tag("td", f"{row.tokens_evaluated:,}", class_="num quiet"),
            tag("td", seconds(row.seconds), class_="num quiet"),
        )
        for row in result.methods
    ]
    return table(["Method", "Algorithm", "Gap", "Evaluations", "Tokens", "Seconds"], rows)


def _faithfulness_table(result: MethodComparison) -> Markup:
    names: list[str] = []
    rows = []
    for row in result.methods:
        if row.faithfulness is None:
            continue
        found = measures(row.faithfulness)
        names = [f"{name} ({better})" for name, (_, better) in found.items()]
        cells = [
            tag("td", beaten(measure), tag("small", f" {number(measure.value)}"), class_="num")
            for measure, _ in found.values()
        ]
        rows.append(tag("tr", tag("td", one_line(row.label)), cells))
    return table(["Method", *names], rows)


def _values_table(result: MethodComparison) -> Markup:
    found = [(row, row.values, largest(row.values)) for row in result.methods if row.values is not None]
    rows = []
    for index, unit in enumerate(result.units):
        cells = [
            tag(
                "td",
                signed(values[index]),
                _spread(row, index),
                class_="num",
                style=f"background:{diverging_css(share_of(values[index], scale))}",
            )
            for row, values, scale in found
        ]
        name = tag("code", one_line(unit.name or unit.text, 40))
        rows.append(tag("tr", tag("th", name, dir="auto"), cells))
    head = tag(
        "thead", tag("tr", tag("th", "Unit"), [tag("th", one_line(row.label), class_="num") for row, *_ in found])
    )
    return tag("div", tag("table", head, tag("tbody", rows), class_="matrix"), class_="scroll")


def _spread(row: ComparedMethod, index: int) -> Markup | None:
    return None if row.standard_errors is None else tag("small", f" ± {number(row.standard_errors[index])}")


def summary_line(row: ComparedMethod) -> str:
    """The numbers of one method in one line."""
    parts = [
        row.algorithm or "",
        "" if row.evaluations is None else plural(row.evaluations, "evaluation"),
        "" if row.completeness_gap is None else f"completeness gap {number(row.completeness_gap)}",
        seconds(row.seconds),
    ]
    return " · ".join(part for part in parts if part)


def _attribution(result: MethodComparison, row: ComparedMethod, values: list[float]) -> Attribution:
    return Attribution(
        prompt=result.prompt,
        units=result.units,
        values=values,
        values_by_target=[[value] for value in values],
        standard_errors=row.standard_errors,
        base_value=row.base_value or 0.0,
        full_value=row.full_value or 0.0,
        completeness_gap=row.completeness_gap or 0.0,
        score=result.score,
        target=result.target,
        foil=result.foil,
        labels=result.labels,
        baseline=result.baseline,
        algorithm=row.algorithm or "",
        evaluations=row.evaluations or 0,
        faithfulness=row.faithfulness,
    )


VIEW = View(MethodComparison, heading=lambda _, result: heading(result), notebook=notebook, sections=sections)
