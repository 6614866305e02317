"""Parts of a report common to all methods: cards, tiles, small print, cost, provenance, problem."""

import re
from collections.abc import Mapping, Sequence

from explaind.contract.errors import Problem
from explaind.contract.job import Provenance, Timing
from explaind.views.drawing.html import Markup, Node, join, tag
from explaind.views.drawing.text import seconds, shown

_LONG = 400  # characters of markup beyond which a fact gets a row of its own
_NOTES = "border-left:3px solid #c98a00;padding:.1em 0 .1em .7em;margin:.4em 0;overflow-wrap:anywhere"
_FRAME = "font-family:system-ui,sans-serif;font-size:14px;line-height:1.5;margin:.4em 0"
_ELEMENT = re.compile(r"<(table|tr|th|td)\b([^>]*)>")
_STYLE = re.compile(r'\bstyle="([^"]*)"')
_NUMERIC = re.compile(r'class="[^"]*\bnum\b')
_CELL = "background:none;text-align:{};vertical-align:top;padding:3px 10px 3px 0"
_DEFAULTS = {
    "table": "margin-left:0;margin-right:auto;border-collapse:collapse;background:none",
    "tr": "background:none",
}


def notebook_frame(name: str, *children: Node, wide: bool = False) -> Markup:
    """Frame of a notebook view, with the class `explaind-NAME`; `wide` lets grids take the full width."""
    style = _FRAME if wide else f"{_FRAME};max-width:60em"
    return _left_aligned(tag("div", children, class_=f"explaind-{name}", style=style))


def notes_notebook(notes: Sequence[str]) -> Markup:
    """A result's notes for a notebook, to stand above its picture; nothing where there are none."""
    if not notes:
        return Markup()
    return notebook_frame("notes", tag("div", _notes_lines(notes), style=_NOTES))


def notes_card(notes: Sequence[str]) -> Markup | None:
    """A result's notes for the top of a report; None where there are none."""
    return tag("section", _notes_lines(notes), class_="notes") if notes else None


def _notes_lines(notes: Sequence[str]) -> Markup:
    return join([tag("div", tag("b", "Note: "), shown(note), dir="auto") for note in notes])


def section(title: str, *children: Node, note: str = "", how: str = "", class_: str | None = None) -> Markup:
    """A titled card; `how` says in a line how it is read, and where more stands."""
    heading = tag("h2", title, tag("span", f" ({note})") if note else None)
    return tag("section", heading, tag("p", how, class_="how") if how else None, children, class_=class_)


def tiles(numbers: Mapping[str, tuple[str, str | None]]) -> Markup:
    """A row of large numbers: name, value, note."""
    cells = [
        tag("div", tag("dt", name), tag("dd", value, tag("small", note) if note else None))
        for name, (value, note) in numbers.items()
    ]
    return tag("section", cells, class_="tiles")


def facts(named: Mapping[str, Node]) -> Markup:
    """Names and values in small print; a value of None is left out."""
    cells = [
        tag(
            "div",
            tag("dt", name),
            tag("dd", value),
            class_="long" if name.startswith("Token ids") or len(str(value)) > _LONG else None,
        )
        for name, value in named.items()
        if value is not None
    ]
    return tag("dl", cells, class_="facts")


def problem_section(problem: Problem) -> Markup:
    """What went wrong, why, and the remedy."""
    fields = [tag("li", tag("code", error.pointer or "/"), " ", shown(error.detail)) for error in problem.errors]
    request = tag("p", f"Request {problem.request_id}", class_="quiet") if problem.request_id else None
    return section(
        problem.title,
        tag("p", shown(problem.detail)),
        tag("p", shown(problem.hint)) if problem.hint else None,
        tag("ul", fields) if fields else None,
        tag("p", "The same request may succeed later.", class_="quiet") if problem.retryable else None,
        request,
        class_="problem",
    )


def timing_facts(timing: Timing) -> dict[str, Node]:
    """The cost of the job."""
    return {
        "Seconds of work": None if timing.seconds is None else seconds(timing.seconds),
        "Waited in the queue": None if timing.queued_s is None else seconds(timing.queued_s),
        "Loading the model": seconds(timing.model_load_s) if timing.model_load_s else None,
        "Forward passes": f"{timing.forwards:,}",
        "Tokens evaluated": f"{timing.tokens_evaluated:,}",
        "Tokens saved by shared prefixes": f"{timing.tokens_saved:,}",
        "Peak accelerator memory": None if timing.peak_bytes is None else f"{timing.peak_bytes / 2**20:,.0f} MiB",
    }


def provenance_facts(provenance: Provenance) -> dict[str, Node]:
    """The data needed to replay the job."""
    named: dict[str, Node] = {
        "Model": provenance.model,
        "Source": provenance.source,
        "Revision": provenance.revision,
        "Architecture": provenance.architecture,
        "dtype": provenance.dtype,
        "dtype of matrix products": provenance.products,
        "Quantization": provenance.quantization,
        "Device": provenance.device,
        "Seed": None if provenance.seed is None else str(provenance.seed),
        "Method version": provenance.method_version,
    }
    named |= dict(sorted(provenance.versions.items()))
    if provenance.token_ids:
        ids = " ".join(str(token_id) for token_id in provenance.token_ids)
        named["Token ids of the prompt"] = tag("code", ids)
    return named


def _left_aligned(html: Markup) -> Markup:
    """The HTML with every table at the left, its text to the left, numbers to the right, rows without a tint.

    Jupyter's own stylesheet puts tables at the right edge and tints every other row, which would lay a second colour
    over the cells of a matrix. A style that an element has already stays and counts more.
    """
    return Markup(_ELEMENT.sub(_styled, html))


def _styled(found: re.Match[str]) -> str:
    name, attributes = found[1], found[2]
    default = _DEFAULTS.get(name) or _CELL.format("right" if _NUMERIC.search(attributes) else "left")
    own = _STYLE.search(attributes)
    if own is None:
        return f'<{name}{attributes} style="{default}">'
    if "text-align:" in own[1] and "background:" in own[1]:
        return found[0]
    merged = f'style="{default};{own[1]}"'
    return f"<{name}{attributes[: own.start()]}{merged}{attributes[own.end() :]}>"
