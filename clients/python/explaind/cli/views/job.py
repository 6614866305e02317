"""Terminal view of a job: its result, state and cost; and of an estimate."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from explaind.contract.estimate import Estimate
from explaind.contract.job import Job, JobState, Timing
from explaind.protocol.results import typed_result
from explaind.views.drawing.fields import notes_of
from explaind.views.drawing.text import plural, progress_text, seconds, shown, size
from explaind.views.registry import HTML_VIEWS, View, find_view

TERMINAL_VIEWS = "explaind.cli.views"
_QUIET = "dim"


def show_job(console: Console, job: Job[Any]) -> None:
    """Writes a job: its result if there is one, otherwise its state, and its cost."""
    result = typed_result(job)
    show = find_view(type(result), HTML_VIEWS, TERMINAL_VIEWS).terminal
    show_notes(console, result)
    if result is not None and show is not None:
        show(console, result)
    if job.state is not JobState.SUCCEEDED:
        _show_state(console, job)
    if job.timing is not None and not isinstance(result, Estimate):
        console.print(Text(_timing_line(job, job.timing), style=_QUIET), soft_wrap=True)


def show_notes(console: Console, result: object) -> None:
    """Writes the notes of a result, one a line; nothing if it has none."""
    for note in notes_of(result):
        console.print(Text.assemble(("Note: ", "bold yellow"), shown(note)), soft_wrap=True)


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
        console.print(Text(shown(progress_text(job.progress)), style=_QUIET))


def _timing_line(job: Job[Any], timing: Timing) -> str:
    parts = [
        job.id,
        plural(timing.forwards, "forward"),
        f"{plural(timing.tokens_evaluated, 'token')} evaluated",
        f"{timing.tokens_saved:,} saved" if timing.tokens_saved else "",
        seconds(timing.seconds) if timing.seconds is not None else "",
    ]
    return " · ".join(part for part in parts if part)


VIEW = View(Estimate, terminal=_show_estimate)
