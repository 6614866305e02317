"""HTML view of an ablation: grid of mean effects, strongest components with intervals, questions."""

import math
from collections.abc import Sequence

from explaind.contract.blocks.ablation import Ablated, Failures
from explaind.contract.methods.explain.head_ablation import GradientScreenResult, GreedyRemoval, HeadAblation
from explaind.contract.methods.explain.layer_ablation import LayerAblation
from explaind.views.drawing.cards import facts, notebook_frame, section, tiles
from explaind.views.drawing.grids import Grid, grid_svg
from explaind.views.drawing.html import Markup, Node, join, tag
from explaind.views.drawing.tables import table
from explaind.views.drawing.text import number, one_line, plural
from explaind.views.parts.ablation_charts import (
    RankedPart,
    clean_interval,
    failure_pies,
    layers_card,
    metric_in_words,
    ranking_card,
    strongest,
)
from explaind.views.registry import View

MOST_LISTED = 5
COLOURS = "orange: the answers need it; blue: they are better without"
_HOW = (
    "A cell is one part of the model taken away: how much worse the answers are on average without it. "
    "More: docs/guide/ablation.md."
)
_QUIET = "opacity:.75"

METRICS = {
    "logprob": "log-probability of the right answer, in nats",
    "logit_difference": "logit of the right answer minus that of the foil",
    "accuracy": "share of right answers",
}
INSTEAD = {"zero": "nothing", "mean": "its mean over all prompts", "resample": "what it says in another question"}


def ranked(result: HeadAblation | LayerAblation) -> list[RankedPart]:
    """The components ablated alone, by decreasing mean effect."""
    if isinstance(result, HeadAblation):
        heads = result.ranking
        names = [f"layer {layer}, head {head}" for layer, head in zip(heads.layers, heads.heads, strict=True)]
    else:
        parts = result.ranking
        names = [f"layer {layer}, {part}" for layer, part in zip(parts.layers, parts.components, strict=True)]
    ranking = result.ranking
    shares = result.metric == "accuracy"
    return [RankedPart(*part, shares) for part in zip(names, ranking.effects, ranking.low, ranking.high, strict=True)]


def effect_grid(result: HeadAblation | LayerAblation) -> Grid:
    """Mean effects, layers by heads or by components."""
    shares = result.metric == "accuracy"
    if isinstance(result, HeadAblation):
        rows, columns, kind = range(result.layers), [str(head) for head in range(result.heads)], "head"
        return Grid(result.grid, [str(row) for row in rows], columns, column_kind=kind, shares=shares)
    rows = [str(layer) for layer in result.layers]
    return Grid(result.grid, rows, list(result.components), column_kind="part", shares=shares)


def heading(result: HeadAblation | LayerAblation) -> Markup:
    """The ablation as a sentence."""
    what = "single heads" if isinstance(result, HeadAblation) else "parts of single layers"
    return join([f"What {plural(len(result.prompts), 'answer')} lose without {what}"])


def notebook(result: HeadAblation | LayerAblation) -> Markup:
    """Notebook view: the ablation in a sentence, the grid, and the strongest components."""
    listed, rest = strongest(ranked(result), MOST_LISTED)
    return notebook_frame(
        "ablation",
        tag("div", tag("b", heading(result))),
        tag("div", summary_line(result), style=_QUIET),
        grid_svg(effect_grid(result), title="Mean effects") if result.ranking.effects else None,
        tag("ol", [tag("li", f"{part.name}: {part.written}") for part in listed]),
        tag("div", f"\N{VERTICAL ELLIPSIS} {rest}", style=_QUIET) if rest else None,
    )


def sections(result: HeadAblation | LayerAblation) -> list[Markup]:
    """The cards of the report."""
    parts = ranked(result)
    cards: list[Markup | None] = []
    if parts:
        grid = grid_svg(effect_grid(result), title="Mean effect of every ablation")
        cards.append(section("What is lost", grid, note=COLOURS, how=_HOW))
        cards.append(tiles(_tiles(result, parts)))
        cards.append(ranking_card(result, parts))
    else:
        cards.append(tiles(_tiles(result, parts)))
    if isinstance(result, HeadAblation):
        cards.append(layers_card(result))
        cards.append(_sets(result))
        cards.append(_greedy(result, result.greedy) if result.greedy else None)
        cards.append(_first_pass(result, result.first_pass) if result.first_pass else None)
    cards.append(_failures(result.failures) if result.failures else None)
    cards.append(section("The questions", _questions(result), class_="flow"))
    cards.append(section("What was asked", facts(asked(result))))
    return [card for card in cards if card is not None]


def summary_line(result: Ablated) -> str:
    """Metric and replacement values in one line."""
    return (
        f"{METRICS[result.metric]}: {_clean(result)}{_interval(result)} with the whole model; "
        f"{INSTEAD[result.ablation]} in the place of what is ablated"
    )


def _clean(result: Ablated) -> str:
    return metric_in_words(result, result.clean_mean)


def _interval(result: Ablated) -> str:
    known = clean_interval(result)
    return "" if known is None else f" ({known})" if result.metric == "accuracy" else f" {known}"


def _tiles(result: Ablated, parts: Sequence[RankedPart]) -> dict[str, tuple[str, str | None]]:
    shown: dict[str, tuple[str, str | None]] = {
        "The whole model": (_clean(result), clean_interval(result) or METRICS[result.metric]),
        "Questions": (str(len(result.prompts)), plural(result.evaluations, "ablated run")),
    }
    if parts:
        shown["Costs most"] = (parts[0].name, parts[0].written)
        least = "Better without" if parts[-1].effect < 0 else "Costs least"
        shown[least] = (parts[-1].name, parts[-1].written)
    return shown


def heads_in_words(heads: Sequence[tuple[int, int]]) -> str:
    """Heads as "3.0, 3.1": layer and head."""
    return ", ".join(f"{layer}.{head}" for layer, head in heads)


def _sets(result: HeadAblation) -> Markup | None:
    if result.sets is None:
        return None
    found = result.sets
    rows = [
        tag("tr", tag("td", heads_in_words(heads)), tag("td", _written(result, effect, low, high)))
        for heads, effect, low, high in zip(found.heads, found.effects, found.low, found.high, strict=True)
    ]
    return section("Together", table(["Layer.head", "Mean effect"], rows), class_="flow")


def _written(result: Ablated, effect: float, low: float | None, high: float | None) -> str:
    return RankedPart("", effect, low, high, result.metric == "accuracy").written


def _greedy(result: Ablated, found: GreedyRemoval) -> Markup:
    rows = [
        tag(
            "tr",
            tag("td", str(step + 1), class_="num quiet"),
            tag("td", f"layer {layer}, head {head}"),
            tag("td", metric_in_words(result, metric), class_="num"),
            tag("td", _written(result, effect, low, high)),
        )
        for step, ((layer, head), metric, effect, low, high) in enumerate(
            zip(found.heads, found.metric, found.effects, found.low, found.high, strict=True)
        )
    ]
    return section(
        "One after the other",
        table(["#", "Removed", "Value", "Mean effect of all so far"], rows),
        note="each step takes the head whose loss costs most by then",
        class_="flow",
    )


def _first_pass(result: HeadAblation, found: GradientScreenResult) -> Markup:
    grid = Grid(found.effects, [str(row) for row in range(result.layers)], [str(c) for c in range(result.heads)])
    agreement = "" if found.spearman is None else f"; rank correlation {number(found.spearman)} with the exact effects"
    return section(
        "The first pass",
        grid_svg(grid, title="Approximate effects"),
        tag("p", f"Run exactly, the strongest first: {heads_in_words(found.verified)}.", class_="quiet"),
        note=f"{found.method}, by gradients; {plural(len(found.verified), 'head')} run exactly{agreement}",
    )


def _failures(found: Failures) -> Markup:
    rows = [
        tag("tr", tag("td", name), [tag("td", str(count), class_="num") for count in counts])
        for name, counts in [("the whole model", found.clean), *zip(found.components, found.ablated, strict=True)]
    ]
    head = tag(
        "tr",
        tag("th", "Without"),
        [tag("th", category.replace("_", " "), class_="num") for category in found.categories],
    )
    body = tag("table", tag("thead", head), tag("tbody", rows))
    return section("How answers fail", failure_pies(found), tag("div", body, class_="scroll"), class_="flow")


def _questions(result: HeadAblation | LayerAblation) -> Markup:
    said = result.failures.clean_said if result.failures else []
    rows = [
        tag(
            "tr",
            tag("td", one_line(prompt, 120), dir="auto", class_="words"),
            tag("td", tag("code", one_line(answer, 40))),
            tag("td", tag("code", one_line(foil, 40)) if foil is not None else None),
            tag("td", _answered(result, clean), class_="num"),
            tag("td", tag("code", one_line(said[at], 80)), class_="words") if said else None,
        )
        for at, (prompt, answer, foil, clean) in enumerate(
            zip(result.prompts, result.answers, result.foils, result.clean, strict=True)
        )
    ]
    return table(["Prompt", "Answer", "Foil", "Value", *(["Said"] if said else [])], rows)


def _answered(result: Ablated, clean: float) -> str:
    if result.metric == "accuracy":
        return "right" if clean else "wrong"
    return number(clean) if math.isfinite(clean) else "none"


def asked(result: Ablated) -> dict[str, Node]:
    """What was asked, and what an effect is."""
    return {
        "Metric": METRICS[result.metric],
        "The whole model": f"{_clean(result)}{_interval(result)}",
        "Ablation (what replaces the part)": INSTEAD[result.ablation],
        "Where": "every token" if result.positions == "all" else "the last token and the answer's",
        "Effect": "metric of the whole model minus that of the ablated one",
        "Intervals": f"{100 * result.confidence:g} %",
        "Ablated runs": f"{result.evaluations:,}",
    }


VIEWS = (
    View(HeadAblation, heading=lambda _, result: heading(result), notebook=notebook, sections=sections),
    View(LayerAblation, heading=lambda _, result: heading(result), notebook=notebook, sections=sections),
)
