"""Report of a finished job: one self-contained HTML page without scripts, fonts or network access."""

from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import ValidationError

from explaind.contract.job import Job, JobState
from explaind.contract.registry import known_method
from explaind.protocol.results import typed_result
from explaind.views.drawing.cards import (
    facts,
    notebook_frame,
    notes_card,
    problem_section,
    provenance_facts,
    section,
    timing_facts,
)
from explaind.views.drawing.fields import notes_of
from explaind.views.drawing.html import Markup, join, tag
from explaind.views.drawing.text import one_line
from explaind.views.registry import View, find_view, notebook_markup

# The page may load or run nothing, whatever a prompt contains.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def job_html(job: Job[Any]) -> str:
    """Page about a job: its result as pictures and tables, or the reason why it has none."""
    heading, sections = _content(job, _result(job))
    page = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
            tag("meta", name="referrer", content="no-referrer"),
            tag("title", f"{job.method} · {job.model} · explaind"),
            tag("style", Markup(_style())),
        ),
        tag("body", tag("main", _header(job, heading), sections, _about(job), _footer(job))),
        lang="en",
    )
    return f"<!doctype html>\n{page}\n"


def notebook(job: Job[Any]) -> Markup:
    """A job for a notebook: its state, and its result or its problem."""
    result = _result(job)
    heading, sections = (Markup(), []) if result is not None else _unfinished(job)
    title = tag("div", tag("b", job.method), f" on {one_line(job.model)} · {job.state.value} · {job.id}")
    if result is None:
        return notebook_frame("job", title, tag("div", heading), sections)
    return notebook_frame("job", title, notebook_markup(result), wide=True)


def _result(job: Job[Any]) -> Any:
    """The result as its model, or as JSON if it does not match."""
    try:
        return typed_result(job)
    except ValidationError:
        return job.result


@cache
def _style() -> str:
    return files("explaind.views").joinpath("report.css").read_text(encoding="utf-8")


def _content(job: Job[Any], result: Any) -> tuple[Markup, list[Markup]]:
    """The heading, and the sections about the result."""
    if job.state is not JobState.SUCCEEDED and result is None:
        return _unfinished(job)
    view = find_view(type(result))
    if view.heading is None or view.sections is None:
        raise TypeError("The view of `object` has a heading and sections.")
    notes = notes_card(notes_of(result))
    return view.heading(job, result), [*([] if notes is None else [notes]), *view.sections(result)]


def _unfinished(job: Job[Any]) -> tuple[Markup, list[Markup]]:
    if job.error is not None:
        return join(["The job failed" if job.state is JobState.FAILED else f"The job is {job.state.value}"]), [
            problem_section(job.error)
        ]
    heading = join([f"The job is {job.state.value}"])
    if job.progress is None:
        return heading, []
    progress = job.progress
    total = "" if progress.total is None else f" of {progress.total:,}"
    return heading, [section("Progress", f"{progress.phase}: {progress.done:,}{total} {progress.unit}")]


def _header(job: Job[Any], heading: Markup) -> Markup:
    method = known_method(job.method)
    state = job.state.value if job.state.value in {"succeeded", "failed"} else "other"
    return tag(
        "header",
        tag(
            "div",
            tag("b", "explaind"),
            tag("span", f"{method.title} · {job.method}" if method else job.method),
            tag("span", job.model),
            tag("span", job.state.value, class_=f"state {state}"),
            class_="brand",
        ),
        tag("h1", heading),
    )


def _about(job: Job[Any]) -> list[Markup | None]:
    """Cost, provenance and the caller's metadata."""
    return [
        section("Cost", facts(timing_facts(job.timing))) if job.timing else None,
        section("Provenance", facts(provenance_facts(job.provenance))) if job.provenance else None,
        section("Metadata", facts(dict(job.metadata))) if job.metadata else None,
    ]


def _footer(job: Job[Any]) -> Markup:
    times = [("asked", job.created_at), ("finished", job.finished_at), ("kept until", job.expires_at)]
    said = " · ".join(f"{what} {_moment(when)}" for what, when in times if when is not None)
    return tag("footer", tag("div", f"Job {job.id}"), tag("div", said))


def _moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S %Z").strip()


VIEW = View(Job, notebook=notebook)
