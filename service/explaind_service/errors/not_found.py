"""Hints for unknown paths: nearest path, allowed methods."""

from collections.abc import Iterable

from fastapi.routing import APIRoute

from explaind.contract.errors import ExplaindError, NotFound, UnknownMethod
from explaind.contract.near_miss import near_miss
from explaind.contract.registry import all_methods

MAX_WORD = 100
# Where clients of other services look for models and completions.
OPENAI = frozenset({"v1", "v2", "openai", "chat", "completions", "embeddings", "engines"})


class RouteHints:
    """Known paths and their HTTP methods."""

    def __init__(self, routes: Iterable[APIRoute]) -> None:
        self._routes = list(routes)
        self._fixed = sorted({route.path for route in self._routes if "{" not in route.path})
        self._begins = {f"/{path.split('/')[1]}" for path in self._fixed} - {"/"}
        methods = {path.partition("/")[0] for path in all_methods()}
        self._rooms = {route.path.split("/")[1] for route in self._routes} - methods

    def allowed(self, path: str) -> list[str]:
        """The HTTP methods allowed at that path, in alphabetical order."""
        return sorted({m for route in self._routes if route.path_regex.match(path) for m in route.methods or ()})

    def missing(self, path: str) -> ExplaindError:
        """The error for an unknown path, with the nearest known ones."""
        word = path.strip("/").lower()[:MAX_WORD]
        segments = word.split("/")
        if segments[0] in OPENAI:
            return NotFound(
                f"There is nothing at {path!r}: this is no OpenAI API.",
                hint="GET /models lists the models, GET /methods what can be asked of them; POST /infer/generate "
                "continues a prompt.",
            )
        if len(segments) == 2 and segments[0] not in self._rooms and word not in all_methods():
            return UnknownMethod(f"There is no method {word!r}.", hint=near_miss(word, all_methods()))
        return NotFound(
            f"There is nothing at {path!r}.", hint=near_miss(f"/{word}", self._fixed, otherwise=self._begins)
        )
