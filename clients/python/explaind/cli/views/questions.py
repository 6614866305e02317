"""Terminal view of answered questions."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from explaind.cli.views.fields import show_facts
from explaind.contract.methods.evaluate.questions import JudgedQuestion, QuestionsEvaluation
from explaind.views.drawing.text import number, one_line, percent, plural, signed
from explaind.views.questions import asked, furthest_layer, in_words, summary, totals
from explaind.views.registry import View

_QUIET = "dim"


def show_questions(console: Console, result: QuestionsEvaluation) -> None:
    """Writes one line per question with its grade, and the totals."""
    table = Table(box=None, padding=(0, 1), header_style=_QUIET)
    table.add_column("question", max_width=44, no_wrap=True)
    table.add_column("expected", max_width=16, no_wrap=True)
    table.add_column("said", max_width=24, no_wrap=True)
    table.add_column("judged")
    table.add_column("log-prob", justify="right")
    differs = any(question.foil_logprob is not None for question in result.questions)
    if differs:
        table.add_column("− foil", justify="right")
    for question in result.questions:
        cells = [
            Text(one_line(question.name or question.question)),
            Text(one_line(question.answer)),
            Text(one_line(question.said)),
            _verdict(question),
            Text(number(question.logprob)),
        ]
        if differs:
            foil = question.foil_logprob
            cells.append(Text("" if foil is None else signed(question.logprob - foil)))
        table.add_row(*cells)
    console.print(table)
    for kind in result.by_kind:
        share = f"{percent(kind.accuracy)}, {100 * kind.low:.0f} to {100 * kind.high:.0f} %"
        line = f"{one_line(kind.kind or 'of no kind')}: {kind.right} of {kind.count} right ({share})"
        console.print(Text(line, style=_QUIET), soft_wrap=True)
    console.print(Text(summary(result)), soft_wrap=True)
    for failure in result.failures:
        for rule, count in failure.rules.items():
            line = f"{in_words(failure.category)}, {in_words(rule)}: {count}"
            console.print(Text(line, style=_QUIET), soft_wrap=True)
    found = result.activations
    if found is not None:
        splits = f"{found.right} right, {found.wrong} wrong, {plural(found.splits, 'random split')}"
        console.print(Text(f"{furthest_layer(found)} ({splits})", style=_QUIET), soft_wrap=True)
    show_facts(console, {name: f"{value} {note or ''}" for name, (value, note) in totals(result).items()})
    show_facts(console, asked(result))


def _verdict(question: JudgedQuestion) -> Text:
    if question.right:
        return Text("right", style="green")
    return Text(in_words(question.category or "wrong"), style="red")


VIEW = View(QuestionsEvaluation, terminal=show_questions)
