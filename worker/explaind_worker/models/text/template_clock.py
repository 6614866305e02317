"""Variable inputs of a chat template: the current date, and random choices.

A result for such a prompt is not valid for the same request on another day; within a job the date is fixed.
"""

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache, partial
from random import Random
from typing import Any

from jinja2 import Template, TemplateError, meta, nodes, pass_context
from transformers.utils.chat_template_utils import _compile_jinja_template

TODAY = "strftime_now"  # transformers' function for the formatted current time
# Globals that transformers and jinja give every template, which never vary.
CONSTANT = frozenset({"range", "dict", "cycler", "joiner", "namespace", "raise_exception"})
DRAWING = "random"  # jinja's filter
MOMENT = "%Y-%m-%d %H:%M:%S.%f"

_RENDERING = threading.Lock()


class TemplateClock:
    """The time and the random seed for the templates of one job; the time is taken on first use."""

    def __init__(self) -> None:
        self._moment: datetime | None = None
        self._seed = secrets.randbits(64)

    @contextmanager
    def told(self, template: str) -> Iterator[None]:
        """Context in which one rendering of the template gets that time, and the same random choices as any other."""
        compiled = _compiled(template)
        with _RENDERING:  # compiled templates are shared by all jobs
            ask, draw = compiled.globals[TODAY], compiled.environment.filters[DRAWING]
            compiled.globals[TODAY] = partial(self._at_the_moment, ask)
            compiled.environment.filters[DRAWING] = _drawing(Random(self._seed))  # noqa: S311 - words of a prompt
            try:
                yield
            finally:
                compiled.globals[TODAY], compiled.environment.filters[DRAWING] = ask, draw

    def _at_the_moment(self, ask: Callable[[str], str], format: str) -> str:
        if self._moment is None:
            self._moment = datetime.strptime(ask(MOMENT), MOMENT)
        return self._moment.strftime(format)


@lru_cache(maxsize=256)
def varies(template: str) -> bool:
    """Whether the template may render the same messages differently at another time; mere mentions do not count."""
    try:
        environment = _compiled(template).environment
        # A copy without globals: jinja does not report names that its environment defines as undeclared.
        bare = environment.overlay()
        bare.globals = {}
        tree = bare.parse(template)
    except TemplateError:
        return True  # it cannot be rendered either
    lent = set(environment.globals) - CONSTANT
    if meta.find_undeclared_variables(tree) & lent:
        return True
    filters = [found for found in tree.find_all(nodes.Filter) if found.name in {DRAWING, "map"}]
    # `map` takes the name of a filter as a string.
    return any(
        found.name == DRAWING or any(const.value == DRAWING for const in found.find_all(nodes.Const))
        for found in filters
    )


def _drawing(draws: Random) -> Callable[..., Any]:
    """jinja's filter `random` with this random generator."""

    @pass_context
    def drawn(_context: object, choices: Sequence[Any]) -> Any:
        return draws.choice(choices) if choices else ""

    return drawn


def _compiled(template: str) -> Template:
    return _compile_jinja_template(template)
