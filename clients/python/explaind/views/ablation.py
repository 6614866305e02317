"""An ablation as pictures: the grid of mean effects, the strongest parts with their intervals, and the questions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from explaind.contract.blocks.ablation import Ablated, Failures
from explaind.contract.methods.explain.head_ablation import GradientScreenResult, GreedyRemoval, HeadAblation
from explaind.contract.methods.explain.layer_ablation import LayerAblation
from explaind.views.drawing.bars import Bar, bars_html
from explaind.views.drawing.cards import facts, notebook_frame, section, tiles
from explaind.views.drawing.grids import Grid, grid_svg
from explaind.views.drawing.html import Markup, Node, join, tag
from explaind.views.drawing.tables import table
from explaind.views.drawing.text import number, one_line, percent, plural, signed
from explaind.views.registry import View

_HOW = (
    "A cell is one part of the model taken away: how much worse the answers are on average without it. "
    "More: docs/guide/ablation.md."
)
MOST_BARS = 20
_QUIET = "opacity:.75"

METRICS = {
    "logprob": "log-probability of the right answer, in nats",
    "logit_difference": "logit of the right answer minus that of the foil",
    "accuracy": "share of right answers",
}
INSTEAD = {"zero": "nothing", "mean": "its mean over all prompts", "resample": "what it says in another question"}


@dataclass(frozen=True)
class RankedPart:
    """One ablated part with its mean effect and the ends of the interval."""

    name: str
    effect: float
    low: float | None
    high: float | None

    @property
    def written(self) -> str:
        """The effect and its interval in words."""
        return signed(self.effect) + (
            "" if self.low is None or self.high is None else f" {interval(self.low, self.high)}"
        )


def interval(low: float, high: float) -> str:
    """Both ends of an interval."""
    return f"[{signed(low)}, {signed(high)}]"


def ranked(result: HeadAblation | LayerAblation) -> list[RankedPart]:
    """The parts that were ablated alone, the largest mean effect first."""
    if isinstance(result, HeadAblation):
        heads = result.ranking
        names = [f"layer {layer}, head {head}" for layer, head in zip(heads.layers, heads.heads, strict=True)]
    else:
        parts = result.ranking
        names = [f"layer {layer}, {part}" for layer, part in zip(parts.layers, parts.components, strict=True)]
    ranking = result.ranking
    return [RankedPart(*part) for part in zip(names, ranking.effects, ranking.low, ranking.high, strict=True)]


def effect_grid(result: HeadAblation | LayerAblation) -> Grid:
    """Mean effects, layers by heads or by parts."""
    if isinstance(result, HeadAblation):
        rows, columns, kind = range(result.layers), [str(head) for head in range(result.heads)], "head"
        return Grid(result.grid, [str(row) for row in rows], columns, column_kind=kind)
    return Grid(result.grid, [str(layer) for layer in result.layers], list(result.components), column_kind="part")


def heading(result: HeadAblation | LayerAblation) -> Markup:
    """What was asked, as a sentence."""
    what = "single heads" if isinstance(result, HeadAblation) else "parts of single layers"
    return join([f"What {plural(len(result.prompts), 'answer')} lose without {what}"])


def notebook(result: HeadAblation | LayerAblation) -> Markup:
    """The ablation for a notebook: what was asked, the grid, and the strongest parts."""
    strongest = [tag("li", f"{part.name}: {part.written}") for part in ranked(result)[:5]]
    return notebook_frame(
        "ablation",
        tag("div", tag("b", heading(result))),
        tag("div", summary_line(result), style=_QUIET),
        grid_svg(effect_grid(result), title="Mean effects") if result.ranking.effects else None,
        tag("ol", strongest),
    )


def sections(result: HeadAblation | LayerAblation) -> list[Markup]:
    """The cards of the report."""
    parts = ranked(result)
    cards: list[Markup | None] = []
    if parts:
        grid = grid_svg(effect_grid(result), title="Mean effect of every ablation")
        cards.append(
            section("What is lost", grid, note="orange: the answers need it; blue: they are better without", how=_HOW)
        )
        cards.append(tiles(_tiles(result, parts)))
        cards.append(_bars(result, parts))
    else:
        cards.append(tiles(_tiles(result, parts)))
    if isinstance(result, HeadAblation):
        cards.append(_sets(result))
        cards.append(_greedy(result.greedy) if result.greedy else None)
        cards.append(_first_pass(result, result.first_pass) if result.first_pass else None)
    cards.append(_failures(result.failures) if result.failures else None)
    cards.append(section("The questions", _questions(result), class_="flow"))
    cards.append(section("What was asked", facts(asked(result))))
    return [card for card in cards if card is not None]


def summary_line(result: Ablated) -> str:
    """What was measured and what stood in, in a line."""
    return (
        f"{METRICS[result.metric]}: {_clean(result)} with the whole model; {INSTEAD[result.ablation]} in the place of "
        "what is ablated"
    )


def _clean(result: Ablated) -> str:
    return percent(result.clean_mean) if result.metric == "accuracy" else number(result.clean_mean)


def _tiles(result: Ablated, parts: Sequence[RankedPart]) -> dict[str, tuple[str, str | None]]:
    known = result.clean_low is not None and result.clean_high is not None
    shown: dict[str, tuple[str, str | None]] = {
        "The whole model": (
            _clean(result),
            interval(result.clean_low or 0.0, result.clean_high or 0.0) if known else METRICS[result.metric],
        ),
        "Questions": (str(len(result.prompts)), plural(result.evaluations, "ablated run")),
    }
    if parts:
        shown["Costs most"] = (parts[0].name, parts[0].written)
        shown["Costs least"] = (parts[-1].name, parts[-1].written)
    return shown


def _bars(result: Ablated, parts: Sequence[RankedPart]) -> Markup:
    chosen = sorted(parts, key=lambda part: -abs(part.effect))[:MOST_BARS]
    bars = [
        Bar(part.name, parts.index(part) + 1, part.effect, None if part.high is None else part.high - part.effect)
        for part in sorted(chosen, key=lambda part: -part.effect)
    ]
    shown = f"the strongest {len(bars)} of {len(parts)}; " if len(bars) < len(parts) else ""
    whiskers = (
        f"whiskers: {100 * result.confidence:g} % intervals over the questions" if parts[0].high is not None else ""
    )
    return section("Ranking", bars_html(bars, title="Mean effects, ranked"), note=f"{shown}{whiskers}".rstrip("; "))


def heads_in_words(heads: Sequence[tuple[int, int]]) -> str:
    """Heads as "3.0, 3.1": layer and head."""
    return ", ".join(f"{layer}.{head}" for layer, head in heads)


def _sets(result: HeadAblation) -> Markup | None:
    if result.sets is None:
        return None
    found = result.sets
    rows = [
        tag("tr", tag("td", heads_in_words(heads)), tag("td", RankedPart("", effect, low, high).written))
        for heads, effect, low, high in zip(found.heads, found.effects, found.low, found.high, strict=True)
    ]
    return section("Together", table(["Layer.head", "Mean effect"], rows), class_="flow")


def _greedy(found: GreedyRemoval) -> Markup:
    rows = [
        tag(
            "tr",
            tag("td", str(step + 1), class_="num quiet"),
            tag("td", f"layer {layer}, head {head}"),
            tag("td", number(metric), class_="num"),
            tag("td", RankedPart("", effect, low, high).written),
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
        [tag("p", note, class_="quiet") for note in found.notes],
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
    return section("How answers fail", tag("div", body, class_="scroll"), class_="flow")


def _questions(result: HeadAblation | LayerAblation) -> Markup:
    said = result.failures.clean_said if result.failures else []
    rows = [
        tag(
            "tr",
            tag("td", one_line(prompt, 120), dir="auto", class_="words"),
            tag("td", tag("code", one_line(answer, 40))),
            tag("td", tag("code", one_line(foil, 40)) if foil is not None else None),
            tag("td", number(clean) if math.isfinite(clean) else "none", class_="num"),
            tag("td", tag("code", one_line(said[at], 80)), class_="words") if said else None,
        )
        for at, (prompt, answer, foil, clean) in enumerate(
            zip(result.prompts, result.answers, result.foils, result.clean, strict=True)
        )
    ]
    return table(["Prompt", "Answer", "Foil", "Value", *(["Said"] if said else [])], rows)


def asked(result: Ablated) -> dict[str, Node]:
    """What was asked, and what an effect is."""
    known = result.clean_low is not None and result.clean_high is not None
    return {
        "Metric": METRICS[result.metric],
        "The whole model": f"{_clean(result)} {interval(result.clean_low or 0.0, result.clean_high or 0.0)}"
        if known
        else _clean(result),
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
