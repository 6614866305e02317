"""Tables of a report: units, messages, tokens, and a matrix; tokens as a strip; in the report's style."""

import math
import re
from collections.abc import Sequence

from explaind.contract.blocks.attribution_result import Attribution, RankedToken, ScoredToken
from explaind.contract.blocks.units import MessageShare
from explaind.views.drawing.bars import Bar
from explaind.views.drawing.html import Markup, tag
from explaind.views.drawing.palette import diverging_css, largest, share_of, surprise_css, surprise_of
from explaind.views.drawing.text import number, one_line, percent, shown, signed

_LONG = 20  # characters from which a name may be cut on a narrow screen
_NAME = "white-space:nowrap"
_SHORT = f"{_NAME};display:inline-block;max-width:min(22em,40vw);overflow:hidden;text-overflow:ellipsis"


def strongest(attribution: Attribution, count: int) -> list[Bar]:
    """The units of largest magnitude, in order of their values."""
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


def values_table(attribution: Attribution) -> Markup:
    """Every unit with its index, value, standard error and share."""
    scale = largest(attribution.values)
    errors = attribution.standard_errors
    heads = ["Unit", "#", "Characters", "Value", *(["± s.e."] if errors else []), ""]
    rows = []
    for index, (unit, value) in enumerate(zip(attribution.units, attribution.values, strict=True)):
        share = share_of(value, scale)
        place = f"{unit.start}–{unit.end}" if unit.end > unit.start else "none"
        bar = f"width:{50 * abs(share):.1f}%;{'left' if share >= 0 else 'right'}:50%"
        rows.append(
            tag(
                "tr",
                tag("th", _unit_name(unit.name, unit.text, unit.role, unit.special), scope="row"),
                tag("td", str(index + 1), class_="num quiet"),
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
    """Every message of a chat with the summed contribution of its units."""
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
    """Unit × target token (then foil token) as a small heat table; None if there is only one column."""
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
    """The text with each scored token on the colour of its surprise; the text before is grey."""
    lead = _prompt_strip(before, prompt_tokens) if prompt_tokens else tag("span", shown(before), class_="rest")
    return tag("div", lead, [_strip_token(token) for token in tokens], dir="auto", class_="text")


def _prompt_strip(prompt: str, tokens: Sequence[RankedToken]) -> list[Markup]:
    """The prompt's tokens with the white space that stands between them; a token not in the text stands by itself."""
    drawn, cursor = [], 0
    for token in tokens:
        start = prompt.find(token.text, cursor)
        if start >= 0 and not prompt[cursor:start].strip():
            drawn.append(tag("span", shown(prompt[cursor:start])))
            cursor = start + len(token.text)
        drawn.append(_strip_token(token))
    return drawn


def _strip_token(token: RankedToken) -> Markup:
    if token.logprob is None:
        return tag("span", shown(token.text), class_="rest")
    colour = surprise_css(surprise_of(token.logprob))
    others = "".join(f"\n{one_line(other.text)}  {_chance(other)}" for other in token.top)
    said = f"{one_line(token.text)}  {_chance(token)}{others}"
    return tag("span", shown(token.text), title=said, class_="unit edged", style=f"background:{colour}")


def tokens_table(tokens: Sequence[RankedToken]) -> Markup:
    """Every token with its log-probability, rank and the likeliest alternatives."""
    alternatives = any(token.top for token in tokens)
    heads = [
        "Token",
        "#",
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
                tag("th", tag("code", one_line(token.text), style=_NAME), scope="row"),
                tag("td", str(index + 1), class_="num quiet"),
                tag("td", str(token.id), class_="num quiet"),
                tag("td", "" if token.logprob is None else number(token.logprob), class_="num"),
                tag("td", "" if token.logprob is None else percent(chance), class_="num"),
                tag("td", meter, class_="wide"),
                tag("td", "" if token.rank is None else str(token.rank), class_="num quiet"),
                tag("td", [_alternative(other) for other in token.top], style=_NAME) if alternatives else None,
            )
        )
    return table(heads, rows)


def _alternative(token: ScoredToken) -> Markup:
    return tag("span", tag("code", one_line(token.text, 20)), f" {_chance(token)}", class_="alternative")


def _chance(token: ScoredToken) -> str:
    return "" if token.logprob is None else percent(math.exp(min(0.0, token.logprob)))


def table(heads: Sequence[str], rows: Sequence[Markup]) -> Markup:
    """A table that scrolls horizontally if it is too wide."""
    first = re.findall(r"<t[dh]\b([^>]*)>", rows[0]) if rows else []
    numeric = ['class="num' in cell for cell in first] + [False] * len(heads)
    titles = [tag("th", text, class_="num" if number else None) for text, number in zip(heads, numeric, strict=False)]
    head = tag("thead", tag("tr", titles))
    return tag("div", tag("table", head, tag("tbody", rows)), class_="scroll")


def _unit_name(name: str | None, text: str, role: str | None, special: bool) -> Markup:
    notes = [note for note in (role, "special" if special else None) if note]
    return tag(
        "span",
        tag("b", one_line(name), " ") if name else None,
        tag("code", one_line(text, 60), style=_NAME),
        tag("small", " " + ", ".join(notes)) if notes else None,
        dir="auto",
        title=one_line(text, 200) if len(text) > _LONG else None,
        style=f"{_SHORT};vertical-align:bottom",
    )
