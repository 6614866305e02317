"""Charts of an ablation beside its grid: the strongest parts, the sum of each layer, and how answers fail."""

from collections.abc import Sequence
from dataclasses import dataclass

from explaind.contract.blocks.ablation import Ablated, Failures
from explaind.contract.methods.explain.head_ablation import HeadAblation
from explaind.views.drawing.bars import Bar, bars_html
from explaind.views.drawing.cards import section
from explaind.views.drawing.html import Markup, tag
from explaind.views.drawing.text import number, percent, percent_range, plural, points, signed
from explaind.views.parts.pie import pie

MOST_BARS = 20
MOST_PIES = 3


@dataclass(frozen=True)
class RankedPart:
    """One ablated part with its mean effect and the ends of the interval; `shares` where it is one of shares."""

    name: str
    effect: float
    low: float | None
    high: float | None
    shares: bool = False

    @property
    def mean(self) -> str:
        """The effect in words."""
        return points(self.effect) if self.shares else signed(self.effect)

    @property
    def written(self) -> str:
        """The effect and its interval in words."""
        if self.low is None or self.high is None:
            return self.mean
        low, high = (points(end, unit=False) if self.shares else signed(end) for end in (self.low, self.high))
        return f"{self.mean} [{low}, {high}]"

    @property
    def bar(self) -> tuple[float, tuple[float, float] | None]:
        """How long a bar is, and the ends of its whisker: in percentage points where these are shares."""
        scale = 100 if self.shares else 1
        ends = None if self.low is None or self.high is None else (scale * self.low, scale * self.high)
        return scale * self.effect, ends


def metric_in_words(result: Ablated, value: float) -> str:
    """A value of the metric: a share as a percentage."""
    return percent(value) if result.metric == "accuracy" else number(value)


def clean_interval(result: Ablated) -> str | None:
    """The interval of the whole model's mean; None where it is not known."""
    if result.clean_low is None or result.clean_high is None:
        return None
    if result.metric == "accuracy":
        return percent_range(result.clean_low, result.clean_high)
    return f"[{signed(result.clean_low)}, {signed(result.clean_high)}]"


def strongest(parts: Sequence[RankedPart], most: int) -> tuple[list[RankedPart], str | None]:
    """The parts of the largest effects, whatever their sign, the largest first; and what is left out, in words."""
    ordered = sorted(parts, key=lambda part: -abs(part.effect))
    rest = ordered[most:]
    if not rest:
        return ordered, None
    low, high = (end(rest, key=lambda part: part.effect).mean for end in (min, max))
    return ordered[:most], f"{len(rest):,} more left out, {'each' if low == high else f'from {low} to'} {high}"


def ranking_card(result: Ablated, parts: Sequence[RankedPart]) -> Markup:
    """The strongest parts as bars, numbered by magnitude, and a line for those that are left out."""
    chosen, rest = strongest(parts, MOST_BARS)
    bars = []
    for place, part in enumerate(chosen, start=1):
        value, ends = part.bar
        bars.append(Bar(part.name, place, value, written=part.mean, ends=ends))
    left_out = (
        tag("div", f"\N{VERTICAL ELLIPSIS} {rest}", class_="quiet break", style="padding:4px 0") if rest else None
    )
    notes = ["the largest effects first, whatever their sign"]
    if parts[0].high is not None:
        notes.append(f"whiskers: {100 * result.confidence:g} % intervals over the questions")
    return section("Ranking", bars_html(bars, title="Mean effects, ranked"), left_out, note="; ".join(notes))


def layers_card(result: HeadAblation) -> Markup | None:
    """Effects of the heads added up by layer; their mean where not as many heads were ablated in each."""
    found = [
        (layer, [effect for effect in row if effect is not None])
        for layer, row in enumerate(result.grid)
        if any(effect is not None for effect in row)
    ]
    if len(found) < 2:
        return None
    alike = len({len(effects) for _, effects in found}) == 1
    bars = []
    for layer, effects in found:
        part = RankedPart("", sum(effects) / (1 if alike else len(effects)), None, None, result.metric == "accuracy")
        heads = "" if alike else f" ({plural(len(effects), 'head')})"
        bars.append(Bar(f"layer {layer}{heads}", None, part.bar[0], written=part.mean))
    what = "sum" if alike else "mean"
    note = f"{what} of the effects of its heads, each ablated alone: heads that back each other up count too little"
    return section("By layer", bars_html(bars, title=f"The {what} of each layer"), note=note)


def failure_pies(found: Failures) -> Markup | None:
    """Kinds of wrong answers of the whole model, and without the strongest parts; None where nothing is wrong."""
    named = [("the whole model", found.clean)]
    named += [(f"without {name}", counts) for name, counts in zip(found.components, found.ablated, strict=True)]
    categories = [category.replace("_", " ") for category in found.categories]
    pies = [
        pie(list(zip(categories, counts, strict=True)), title=f"{name}: {plural(sum(counts), 'wrong answer')}")
        for name, counts in named
        if sum(counts)
    ]
    return tag("div", pies[:MOST_PIES]) if pies else None
