"""A finished job for the terminal: the coloured prompt, the values, the numbers around them."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from explaind.cli.views.ablation import show_ablation, show_patching
from explaind.cli.views.attention import show_attention, show_logit_attribution
from explaind.cli.views.comparison import show_comparison, show_faithfulness
from explaind.cli.views.lens import show_lens
from explaind.cli.views.prompt import coloured_prompt, painted, question
from explaind.cli.views.questions import show_questions
from explaind.cli.views.tuned_lens import show_lens_training, show_tuned_lens
from explaind.contract.base import ResponseModel
from explaind.contract.blocks.attribution_result import Attribution, RankedToken
from explaind.contract.blocks.lens import LensReading
from explaind.contract.estimate import Estimate
from explaind.contract.job import Job, JobState, Timing
from explaind.contract.methods.evaluate.questions import QuestionsEvaluation
from explaind.contract.methods.explain.activation_patching import ActivationPatching
from explaind.contract.methods.explain.attention import AttentionPatterns
from explaind.contract.methods.explain.compare_methods import MethodComparison
from explaind.contract.methods.explain.head_ablation import HeadAblation
from explaind.contract.methods.explain.layer_ablation import LayerAblation
from explaind.contract.methods.explain.logit_attribution import LogitAttribution
from explaind.contract.methods.explain.tuned_lens import TunedLens
from explaind.contract.methods.infer.classify import Classification
from explaind.contract.methods.infer.generate import Generation
from explaind.contract.methods.infer.score import Scoring
from explaind.contract.methods.infer.tokenize import Tokenization
from explaind.contract.methods.train.tuned_lens import TunedLensTraining
from explaind.protocol.results import typed_result
from explaind.views.drawing.heatmap import summary
from explaind.views.drawing.palette import FAINT, SURPRISE, largest, on_paper, share_of, surprise_of
from explaind.views.drawing.text import number, one_line, percent, plural, seconds, shown, signed, size

_BAR = 24
_QUIET = "dim"
_FOR, _AGAINST = "rgb(230,108,20)", "rgb(44,123,214)"


def show_job(console: Console, job: Job[Any]) -> None:
    """Write a job: its result when it has one, else its state, and what it cost."""
    result = typed_result(job)
    show = next((show for kind, show in _SHOWN.items() if isinstance(result, kind)), None)
    if show is not None:
        show(console, result)
    elif result is not None:
        value = result.model_dump(mode="json") if isinstance(result, ResponseModel) else result
        console.print(Text(shown(json.dumps(value, indent=2, ensure_ascii=False))))
    if job.state is not JobState.SUCCEEDED:
        _show_state(console, job)
    if job.timing is not None and not isinstance(result, Estimate):
        console.print(Text(_timing_line(job, job.timing), style=_QUIET), soft_wrap=True)


def _show_attribution(console: Console, result: Attribution) -> None:
    console.print(question(result), soft_wrap=True)
    console.print()
    console.print(coloured_prompt(result, colour=console.color_system is not None))
    console.print()
    console.print(_values_table(result))
    if result.by_role:
        roles = " · ".join(f"{one_line(role)} {signed(value)}" for role, value in result.by_role.items())
        console.print(Text(f"by role: {roles}"), soft_wrap=True)
    console.print(Text(summary(result), style=_QUIET), soft_wrap=True)
    if result.faithfulness is not None:
        show_faithfulness(console, result.faithfulness)


def _values_table(result: Attribution) -> Table:
    table = Table(box=None, padding=(0, 1), header_style=_QUIET)
    table.add_column("#", justify="right", style=_QUIET)
    table.add_column("unit", max_width=40, no_wrap=True)
    table.add_column("value", justify="right")
    if result.standard_errors:
        table.add_column("± s.e.", justify="right", style=_QUIET)
    table.add_column("")
    scale = largest(result.values)
    for index, (unit, value) in enumerate(zip(result.units, result.values, strict=True)):
        name = f"{one_line(unit.name)}: " if unit.name else ""
        cells: list[str | Text] = [str(index + 1), Text(name + one_line(unit.text)), signed(value)]
        if result.standard_errors:
            cells.append(number(result.standard_errors[index]))
        table.add_row(*cells, _two_sided(share_of(value, scale)))
    return table


def _two_sided(share: float) -> Text:
    half = _BAR // 2
    length = round(abs(share) * half)
    if length == 0:
        return Text(" " * half + "│", style=_QUIET)
    bar = "█" * length
    if share > 0:
        return Text.assemble(" " * half, ("│", _QUIET), (bar, _FOR))
    return Text.assemble(" " * (half - length), (bar, _AGAINST), ("│", _QUIET))


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
        unit = "" if token.unit is None else one_line(result.units[token.unit].text, 40)
        place = "" if token.start is None else f"{token.start}–{token.end}"
        special = "  special" if token.special else ""
        cells = (str(index + 1), str(token.id), place, _quoted(token.text) + special, unit)
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


def _show_estimate(console: Console, result: Estimate) -> None:
    load = "loading first, unknown how long" if result.load_s is None else f"+ {seconds(result.load_s)} of loading"
    rows = [
        ("forwards", f"{result.forwards:,}"),
        ("tokens", f"{result.tokens_evaluated:,} evaluated, {result.tokens_saved:,} saved"),
        ("memory", f"{size(result.peak_bytes)} of {size(result.free_bytes)} free, weights {size(result.model_bytes)}"),
        ("seconds", f"{seconds(result.seconds)} ({result.basis}){'' if result.load_s == 0 else ', ' + load}"),
        ("fits", "yes" if result.fits else "no"),
    ]
    if result.evaluations is not None:
        rows.insert(0, ("evaluations", f"{result.evaluations:,}"))
    table = Table(box=None, padding=(0, 1), show_header=False)
    for name, value in rows:
        table.add_row(Text(name, style=_QUIET), Text(value, style="bold red" if value == "no" else ""))
    console.print(Text.assemble("What it would cost: ", (result.method, "bold")))
    console.print(table)
    if result.note is not None:
        console.print(Text(shown(result.note), style=_QUIET), soft_wrap=True)


def _show_state(console: Console, job: Job[Any]) -> None:
    console.print(Text.assemble(f"{job.id} {job.method} on {job.model}: ", (job.state.value, "bold")), soft_wrap=True)
    if job.queue_position is not None:
        console.print(Text(f"{plural(job.queue_position, 'job')} ahead of it", style=_QUIET))
    if job.progress is not None:
        total = "" if job.progress.total is None else f"/{job.progress.total:,}"
        done = f"{shown(job.progress.phase)}: {job.progress.done:,}{total} {shown(job.progress.unit)}"
        console.print(Text(done, style=_QUIET))


def _timing_line(job: Job[Any], timing: Timing) -> str:
    parts = [
        job.id,
        plural(timing.forwards, "forward"),
        f"{plural(timing.tokens_evaluated, 'token')} evaluated",
        f"{timing.tokens_saved:,} saved" if timing.tokens_saved else "",
        seconds(timing.seconds) if timing.seconds is not None else "",
    ]
    return " · ".join(part for part in parts if part)


def _quoted(text: str) -> str:
    return f"“{one_line(text)}”"


_SHOWN: dict[type, Callable[[Console, Any], None]] = {
    Attribution: _show_attribution,
    MethodComparison: show_comparison,
    TunedLens: show_tuned_lens,  # before the lens that it is one of
    LensReading: show_lens,
    TunedLensTraining: show_lens_training,
    LogitAttribution: show_logit_attribution,
    AttentionPatterns: show_attention,
    HeadAblation: show_ablation,
    LayerAblation: show_ablation,
    ActivationPatching: show_patching,
    QuestionsEvaluation: show_questions,
    Generation: _show_scored,
    Scoring: _show_scored,
    Tokenization: _show_tokenization,
    Classification: _show_classification,
    Estimate: _show_estimate,
}
