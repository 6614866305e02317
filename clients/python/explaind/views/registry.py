"""Registry of views: every `VIEW` or `VIEWS` in the modules of a package of views, by result class.

A view is looked up along the bases of a result's class: a subclass inherits the view of its base, and a result without
one is drawn from its fields, by the view of `object` at the end of this module.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from explaind.contract.job import Job
from explaind.views.drawing.blocks import fields_notebook, fields_sections
from explaind.views.drawing.cards import notes_notebook
from explaind.views.drawing.fields import notes_of
from explaind.views.drawing.html import Markup, join
from explaind.views.drawing.summary_line import fields_summary, one_line_summary
from explaind.views.drawing.text import plural

HTML_VIEWS = "explaind.views"
SUMMARIES = "explaind.views.summaries"


@dataclass(frozen=True)
class View:
    """How results of one class look; a part that is None is the one of the nearest base.

    heading: one sentence about a job's result, for the top of a report.
    notebook: what a notebook displays, with all styles inline.
    sections: the cards of a report.
    terminal: writes the result to a `rich.console.Console`.
    summary: what a reader wants of it at a glance, in a few short pieces of text, for its `repr`.
    """

    result: type
    heading: Callable[[Job[Any], Any], Markup] | None = None
    notebook: Callable[[Any], Markup] | None = None
    sections: Callable[[Any], list[Markup]] | None = None
    terminal: Callable[[Any, Any], None] | None = None
    summary: Callable[[Any], Iterable[str]] | None = None


@cache
def all_views(package: str = HTML_VIEWS) -> Mapping[type, View]:
    """The views of a package's modules by the class they draw.

    Raises:
        TypeError: two views draw the same class.
    """
    found: dict[type, View] = {}
    for module_info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        module = importlib.import_module(f"{package}.{module_info.name}")
        for view in (*getattr(module, "VIEWS", ()), *_single(module)):
            if view.result in found:
                raise TypeError(f"Two views in {package} draw {view.result.__name__}.")
            found[view.result] = view
    return MappingProxyType(found)


def find_view(result_class: type, *packages: str) -> View:
    """The view of a class, of the given packages together (none: the HTML views).

    Each part comes from the nearest class along the bases; HTML parts are never None.
    """
    tables = [all_views(package) for package in packages or (HTML_VIEWS,)]
    nearest = [table[base] for base in result_class.__mro__ for table in tables if base in table]
    return View(
        result_class,
        heading=_first(view.heading for view in nearest),
        notebook=_first(view.notebook for view in nearest),
        sections=_first(view.sections for view in nearest),
        terminal=_first(view.terminal for view in nearest),
        summary=_first(view.summary for view in nearest),
    )


def notebook_html(result: object) -> str:
    """Notebook HTML of a result."""
    return str(notebook_markup(result))


def notebook_markup(result: object) -> Markup:
    """What a notebook displays of a result: its notes, and below them the picture that its view draws."""
    notebook = find_view(type(result)).notebook or fields_notebook
    return join([notes_notebook(notes_of(result)), notebook(result)])


def summary_text(result: object) -> str:
    """A result in one line of bounded length: its class, and the pieces of its summary."""
    pieces = find_view(type(result), SUMMARIES).summary or fields_summary
    remarks = getattr(result, "notes", None)
    try:
        return one_line_summary(type(result).__name__, pieces(result), plural(len(remarks), "note") if remarks else "")
    except (AttributeError, LookupError, TypeError, ValueError):
        # Made without validation, and not whole: a repr never fails.
        return one_line_summary(type(result).__name__, fields_summary(result))


def _single(module: object) -> tuple[View, ...]:
    view = getattr(module, "VIEW", None)
    return () if view is None else (view,)


def _first(parts: Iterable[Any]) -> Any:
    return next((part for part in parts if part is not None), None)


VIEW = View(
    object,
    heading=lambda job, _: join([f"{job.method} on {job.model}"]),
    notebook=fields_notebook,
    sections=fields_sections,
)
