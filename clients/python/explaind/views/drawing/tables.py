"""Pictures of a report: bars as inline SVG, a matrix as a table, tokens as a strip; in the report's style."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from explaind.contract.blocks.attribution_result import Attribution, RankedToken, ScoredToken
from explaind.contract.blocks.units import MessageShare
from explaind.views.drawing.html import Markup, tag
from explaind.views.drawing.palette import diverging_css, largest, share_of, surprise_css, surprise_of
from explaind.views.drawing.text import number, one_line, percent, shown, signed

_WIDTH, _NUMBERS = 760, 78
_ROW, _BAR = 26, 16
_LABEL_CHARS = 24
_NUMERIC_HEADS = frozenset(
    {"#", "Units", "Id", "Characters", "Value", "± s.e.", "Log-prob", "Probability", "Rank"}
    | {"This order", "Random orders", "z", "Beats", "Gap", "Evaluations", "Tokens", "Seconds"}
)


@dataclass(frozen=True)
class Bar:
    """One bar: the unit and its place in the prompt, its value, and how sure that is."""

    label: str
    place: int
    value: float
    error: float | None = None


def strongest(attribution: Attribution, count: int) -> list[Bar]:
    """The units of the largest magnitude, in order of their values."""
    values, errors = attribution.values, attribution.standard_errors
    order = sorted(range(len(values)), key=lambda i: -abs(values[i]))[:count]
    return [
        Bar(
            label=attribution.units[index].name or attribution.units[index].text,
            place=index + 1,
            value=values[index],
            error=errors[index] if errors else None,
        )
        for index in sorted(order, key=lambda i: -values[i])
    ]


def bars_svg(bars: Sequence[Bar], *, title: str) -> Markup:
    """Horizontal bars from a common zero, with their standard errors as whiskers."""
    reach = [bar.value + sign * (bar.error or 0.0) for bar in bars for sign in (-1, 1) if math.isfinite(bar.value)]
    low, high = min(0.0, *reach, 0.0), max(0.0, *reach, 0.0)
    labels = 50 + 8 * max((len(one_line(bar.label, _LABEL_CHARS)) for bar in bars), default=0)
    # Room for the number beyond the bar on each side that has bars.
    left = labels + (_NUMBERS if low < 0 else 8)
    right = _WIDTH - (_NUMBERS if high > 0 else 8)
    span = (high - low) or 1.0

    def across(value: float) -> float:
        return left + (value - low) / span * (right - left)

    height = _ROW * len(bars) + 8
    zero = across(0.0)
    axis = tag("line", x1=f"{zero:.1f}", x2=f"{zero:.1f}", y1=0, y2=height, class_="axis")
    rows = [_bar_row(bar, index * _ROW + 4, labels, across) for index, bar in enumerate(bars)]
    return tag(
        "svg",
        tag("title", title),
        rows,
        axis,
        viewBox=f"0 0 {_WIDTH} {height}",
        role="img",
        class_="bars",
        aria_label=title,
    )


def _bar_row(bar: Bar, top: float, labels: float, across: Callable[[float], float]) -> Markup:
    zero = across(0.0)
    end = across(bar.value) if math.isfinite(bar.value) else zero
    middle = top + _ROW / 2
    side = 1 if bar.value >= 0 else -1
    spread = bar.error or 0.0
    tip = max(across(bar.value + spread), end) if side > 0 else min(across(bar.value - spread), end)
    text = f"{middle + 4.5:.1f}"
    said = f"{one_line(bar.label)}: {signed(bar.value)}" + (f" ± {number(spread)}" if bar.error is not None else "")
    return tag(
        "g",
        tag("title", said),
        tag(
            "text",
            tag("tspan", one_line(bar.label, _LABEL_CHARS)),
            tag("tspan", f" {bar.place}", class_="place"),
            x=f"{labels - 10:.1f}",
            y=text,
            text_anchor="end",
        ),
        tag(
            "rect",
            x=f"{min(zero, end):.1f}",
            y=f"{middle - _BAR / 2:.1f}",
            width=f"{abs(end - zero):.1f}",
            height=_BAR,
            rx=2,
            class_="for" if side > 0 else "against",
        ),
        _whisker(across(bar.value - spread), across(bar.value + spread), middle) if bar.error else None,
        tag(
            "text",
            signed(bar.value),
            x=f"{tip + 7 * side:.1f}",
            y=text,
            text_anchor="start" if side > 0 else "end",
            class_="value",
        ),
    )


def _whisker(start: float, end: float, middle: float) -> Markup:
    ends = f"M{start:.1f} {middle:.1f}H{end:.1f}"
    caps = "".join(f"M{x:.1f} {middle - 4:.1f}v8" for x in (start, end))
    return tag("path", d=ends + caps, class_="whisker")


def values_table(attribution: Attribution) -> Markup:
    """Every unit with its place, value, standard error and share."""
    scale = largest(attribution.values)
    errors = attribution.standard_errors
    heads = ["#", "Unit", "Characters", "Value", *(["± s.e."] if errors else []), ""]
    rows = []
    for index, (unit, value) in enumerate(zip(attribution.units, attribution.values, strict=True)):
        share = share_of(value, scale)
        place = f"{unit.start}–{unit.end}" if unit.end > unit.start else "none"
        bar = f"width:{50 * abs(share):.1f}%;{'left' if share >= 0 else 'right'}:50%"
        rows.append(
            tag(
                "tr",
                tag("td", str(index + 1), class_="num quiet"),
                tag("td", _unit_name(unit.name, unit.text, unit.role, unit.special)),
                tag("td", place, class_="num quiet"),
                tag("td", signed(value), class_="num"),
                tag("td", number(errors[index]), class_="num quiet") if errors else None,
                tag(
                    "td",
                    tag("div", tag("i", style=bar, class_="for" if share >= 0 else "against"), class_="meter"),
                    class_="wide",
                ),
            )
        )
    return table(heads, rows)


def messages_table(shares: Sequence[MessageShare]) -> Markup:
    """Every message of a chat with what its units contributed together."""
    scale = largest([share.value for share in shares])
    rows = [
        tag(
            "tr",
            tag("td", str(share.index + 1), class_="num quiet"),
            tag("td", share.role),
            tag("td", str(len(share.units)), class_="num quiet"),
            tag(
                "td",
                signed(share.value),
                class_="num",
                style=f"background:{diverging_css(share_of(share.value, scale))}",
            ),
        )
        for share in shares
    ]
    return table(["#", "Message", "Units", "Value"], rows)


def matrix_table(attribution: Attribution) -> Markup | None:
    """Unit × target token (then foil token) as a small heat table; None when there is but one column."""
    columns = _columns(attribution)
    if len(columns) < 2:
        return None
    scale = largest(value for row in attribution.values_by_target for value in row)
    rows = []
    for unit, row in zip(attribution.units, attribution.values_by_target, strict=True):
        cells = [
            tag("td", signed(value), class_="num", style=f"background:{diverging_css(share_of(value, scale))}")
            for value in row
        ]
        rows.append(tag("tr", tag("th", _unit_name(unit.name, unit.text, unit.role, unit.special)), cells))
    heads = [
        tag("th", tag("code", one_line(text, 20)), tag("small", " foil") if foil else None, class_="num")
        for text, foil in columns
    ]
    head = tag("thead", tag("tr", tag("th", "Unit"), heads))
    return tag("div", tag("table", head, tag("tbody", rows), class_="matrix"), class_="scroll")


def _columns(attribution: Attribution) -> list[tuple[str, bool]]:
    width = max((len(row) for row in attribution.values_by_target), default=0)
    named = [(token.text, False) for token in attribution.target.explained_tokens]
    named += [(token.text, True) for token in (attribution.foil.explained_tokens if attribution.foil else [])]
    return named if len(named) == width else [(str(column + 1), False) for column in range(width)]


def token_strip(before: str, tokens: Sequence[RankedToken], prompt_tokens: Sequence[RankedToken] | None) -> Markup:
    """The text with each scored token over the colour of its surprise; what came before is grey."""
    lead = (
        [_strip_token(token) for token in prompt_tokens] if prompt_tokens else tag("span", shown(before), class_="rest")
    )
    return tag("div", lead, [_strip_token(token) for token in tokens], dir="auto", class_="text")


def _strip_token(token: RankedToken) -> Markup:
    if token.logprob is None:
        return tag("span", shown(token.text), class_="rest")
    colour = surprise_css(surprise_of(token.logprob))
    others = "".join(f"\n{one_line(other.text)}  {_chance(other)}" for other in token.top)
    said = f"{one_line(token.text)}  {_chance(token)}{others}"
    return tag("span", shown(token.text), title=said, class_="unit edged", style=f"background:{colour}")


def tokens_table(tokens: Sequence[RankedToken]) -> Markup:
    """Every token with its log-probability, rank and what the model would rather have said."""
    alternatives = any(token.top for token in tokens)
    heads = [
        "#",
        "Token",
        "Id",
        "Log-prob",
        "Probability",
        "",
        "Rank",
        *(["Likeliest there"] if alternatives else []),
    ]
    rows = []
    for index, token in enumerate(tokens):
        chance = 0.0 if token.logprob is None else math.exp(token.logprob)
        meter = tag("div", tag("i", style=f"width:{100 * chance:.1f}%;left:0", class_="sure"), class_="meter plain")
        rows.append(
            tag(
                "tr",
                tag("td", str(index + 1), class_="num quiet"),
                tag("td", tag("code", one_line(token.text))),
                tag("td", str(token.id), class_="num quiet"),
                tag("td", "" if token.logprob is None else number(token.logprob), class_="num"),
                tag("td", "" if token.logprob is None else percent(chance), class_="num"),
                tag("td", meter, class_="wide"),
                tag("td", "" if token.rank is None else str(token.rank), class_="num quiet"),
                tag("td", [_alternative(other) for other in token.top]) if alternatives else None,
            )
        )
    return table(heads, rows)


def _alternative(token: ScoredToken) -> Markup:
    return tag("span", tag("code", one_line(token.text, 20)), f" {_chance(token)}", class_="alternative")


def _chance(token: ScoredToken) -> str:
    return "" if token.logprob is None else percent(math.exp(min(0.0, token.logprob)))


def table(heads: Sequence[str], rows: Sequence[Markup]) -> Markup:
    """A table that scrolls by itself where it is too wide."""
    titles = [tag("th", text, class_="num" if text in _NUMERIC_HEADS else None) for text in heads]
    head = tag("thead", tag("tr", titles))
    return tag("div", tag("table", head, tag("tbody", rows)), class_="scroll")


def _unit_name(name: str | None, text: str, role: str | None, special: bool) -> Markup:
    notes = [note for note in (role, "special" if special else None) if note]
    return tag(
        "span",
        tag("b", one_line(name), " ") if name else None,
        tag("code", one_line(text, 60)),
        tag("small", " " + ", ".join(notes)) if notes else None,
        dir="auto",
    )
