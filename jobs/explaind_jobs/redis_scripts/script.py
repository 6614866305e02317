"""One call of a script: its name, its arguments, and what its reply means."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Argument = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class ScriptCall(Generic[T]):
    """One script call; `parse` turns the reply into its meaning, or raises what it means."""

    script: str
    args: Sequence[Argument]
    parse: Callable[[Any], T]


# What all scripts share, each part on those before it.
SHARED = ("common", "ended", "lifecycle", "view", "results")


@cache
def script_text(name: str) -> str:
    """The Lua source of a script, with what all scripts share before it."""
    folder = files("explaind_jobs.redis_scripts").joinpath("lua")
    return "\n".join(folder.joinpath(f"{part}.lua").read_text(encoding="utf-8") for part in (*SHARED, name))


def text(raw: bytes | str) -> str:
    """A word of a reply."""
    return raw.decode() if isinstance(raw, bytes) else raw
