"""What a log line is about: the job, the attempt, the request. Set in one place, told by every line written within."""

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
    """Every line written within, also by libraries and by asyncio tasks begun there, carries these facts.

    Whoever took the context over (a thread that lives on in a pool, say) tells them no longer once this has ended.
    """
    known = {name: fact for name, fact in facts.items() if fact is not None}
    token = _surroundings.set((*_surroundings.get(), known))
    try:
        yield
    finally:
        _surroundings.reset(token)
        known.clear()


def add_to_context(**facts: Fact) -> None:
    """The innermost context has learned more: the lines from here to its end tell these facts too."""
    if surroundings := _surroundings.get():
        surroundings[-1].update(facts)


def process_facts(**facts: Fact) -> None:
    """Every line of this process carries these facts from now on."""
    _process.update(facts)


def current_facts() -> Mapping[str, Fact]:
    """What a line that is written here and now is about."""
    known = dict(_process)
    for facts in _surroundings.get():
        known.update(facts)
    return known


def hand_down_context() -> None:
    """From now on a thread runs in a copy of the context of whoever starts it, as `-X thread_inherit_context` has it.

    Python before 3.14 starts every thread in an empty context, so that the lines of a thread that a method or a
    library starts would be nobody's. Asked for twice is asked for once.
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
    except Exception as error:  # told here, since the interpreter would tell it outside of the context
        threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, thread)))
