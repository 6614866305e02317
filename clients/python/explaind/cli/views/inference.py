"""Terminal view of generation, scoring, tokenization and classification."""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from explaind.cli.views.prompt import painted
from explaind.contract.blocks.attribution_result import RankedToken
from explaind.contract.methods.infer.classify import Classification
from explaind.contract.methods.infer.generate import Generation
from explaind.contract.methods.infer.score import Scoring
from explaind.contract.methods.infer.tokenize import Tokenization
from explaind.views.drawing.palette import FAINT, SURPRISE, on_paper, surprise_of
from explaind.views.drawing.text import number, one_line, percent, plural, shown
from explaind.views.inference import RULES, label_tokens, token_kind, unit_words
from explaind.views.registry import View

_QUIET = "dim"


def _show_scored(console: Console, result: Generation | Scoring) -> None:
    text = Text()
    lead = result.prompt_tokens if isinstance(result, Scoring) else None
    if lead:
        _append_tokens(text, lead)
    else:
        text.append(shown(result.prompt), style=_QUIET)
    _append_tokens(text, result.tokens)
    console.print(text)
    console.print()
    console.print(_tokens_table(result.tokens))
    if lead:
        console.print(Text("of the prompt:", style=_QUIET))
        console.print(_tokens_table(lead))
    line = f"log-probability {number(result.logprob)} over {plural(len(result.tokens), 'token')}"
    if isinstance(result, Generation):
        line += f" · ended by: {result.finish_reason}"
    else:
        line += f" · perplexity {number(result.perplexity)}"
    console.print(Text(line, style=_QUIET), soft_wrap=True)


def _append_tokens(text: Text, tokens: Sequence[RankedToken]) -> None:
    for token in tokens:
        surprise = 0.0 if token.logprob is None else surprise_of(token.logprob)
        style = Style(bold=True) if surprise < FAINT else painted(on_paper(SURPRISE, surprise))
        text.append(shown(token.text), style=style)


def _tokens_table(tokens: Sequence[RankedToken]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style=_QUIET)
    table.add_column("token")
    table.add_column("log-prob", justify="right")
    table.add_column("probability", justify="right")
    table.add_column("rank", justify="right", style=_QUIET)
    alternatives = any(token.top for token in tokens)
    if alternatives:
        table.add_column("likeliest there", style=_QUIET)
    for token in tokens:
        known = token.logprob is not None
        cells = [
            _quoted(token.text),
            number(token.logprob) if token.logprob is not None else "",
            _chance(token.logprob) if known else "",
            "" if token.rank is None else str(token.rank),
        ]
        if alternatives:
            cells.append("  ".join(f"{_quoted(other.text)} {_chance(other.logprob)}" for other in token.top))
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _chance(logprob: float | None) -> str:
    return "" if logprob is None else percent(math.exp(min(0.0, logprob)))


def _show_tokenization(console: Console, result: Tokenization) -> None:
    table = Table(box=None, padding=(0, 1), header_style=_QUIET)
    for head in ("#", "id", "characters"):
        table.add_column(head, justify="right", style=_QUIET)
    table.add_column("token")
    table.add_column("unit")
    for index, token in enumerate(result.tokens):
        unit = "" if token.unit is None else unit_words(result.units[token.unit])
        place = "" if token.start is None else f"{token.start}–{token.end}"
        cells = (str(index + 1), str(token.id), place, _quoted(token.text) + token_kind(token), unit)
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    totals = f"{plural(result.count, 'token')}, {plural(len(result.units), 'unit')}"
    console.print(Text(totals, style=_QUIET), soft_wrap=True)


def _show_classification(console: Console, result: Classification) -> None:
    console.print(Text(shown(result.prompt), style=_QUIET))
    console.print()
    table = Table(box=None, padding=(0, 1), header_style=_QUIET)
    table.add_column("class")
    for head in ("probability", "logit"):
        table.add_column(head, justify="right")
    for scored in result.classes:
        chance = "" if scored.probability is None else percent(scored.probability)
        style = "bold" if scored.index == result.predicted else ""
        table.add_row(*(Text(cell, style=style) for cell in (_quoted(scored.label), chance, number(scored.logit))))
    console.print(table)
    console.print(Text(f"predicted {_quoted(result.best.label)}; {RULES[result.rule]}", style=_QUIET), soft_wrap=True)
    for scored in result.classes:
        if scored.tokens:
            console.print(Text(f"{_quoted(scored.label)}: {label_tokens(scored)}", style=_QUIET), soft_wrap=True)


def _quoted(text: str) -> str:
    return f"“{one_line(text)}”"


VIEWS = (
    View(Generation, terminal=_show_scored),
    View(Scoring, terminal=_show_scored),
    View(Tokenization, terminal=_show_tokenization),
    View(Classification, terminal=_show_classification),
)
