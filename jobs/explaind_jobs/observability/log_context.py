"""Log context: the job, attempt and request of a log line. Set once, added to every line written within."""

import contextvars
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

Fact = str | int

_surroundings: contextvars.ContextVar[tuple[dict[str, Fact], ...]] = contextvars.ContextVar("surroundings", default=())
_process: dict[str, Fact] = {}


@contextmanager
def log_context(**facts: Fact | None) -> Iterator[None]:
    """Adds these fields to every line written within, also by libraries and by asyncio tasks begun there.

    Once this has ended, threads that inherited the context (pool threads, say) no longer log them.
    """
    known = {name: fact for name, fact in facts.items() if fact is not None}
    token = _surroundings.set((*_surroundings.get(), known))
    try:
        yield
    finally:
        _surroundings.reset(token)
        known.clear()


def add_to_context(**facts: Fact) -> None:
    """Adds fields to the innermost context: lines from here to its end carry them too."""
    if surroundings := _surroundings.get():
        surroundings[-1].update(facts)


def process_facts(**facts: Fact) -> None:
    """Adds fields to every line of this process from now on."""
    _process.update(facts)


def current_facts() -> Mapping[str, Fact]:
    """The fields of a line written here and now."""
    known = dict(_process)
    for facts in _surroundings.get():
        known.update(facts)
    return known


def hand_down_context() -> None:
    """Makes new threads inherit a copy of their starter's context, like `-X thread_inherit_context`.

    Python before 3.14 starts every thread in an empty context, so that lines of threads started by a method or a
    library would lack these fields. Idempotent.
    """
    if threading.Thread.start is not _start_in_context:
        threading.Thread.start = _start_in_context


_start = threading.Thread.start


def _start_in_context(self: threading.Thread) -> None:
    context, run = contextvars.copy_context(), self.run
    self.run = lambda: context.run(_run_to_its_end, self, run)
    _start(self)


def _run_to_its_end(thread: threading.Thread, run: Any) -> None:
    try:
        run()
    except Exception as error:  # logged here, since the interpreter would log it outside of the context
        threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, thread)))
