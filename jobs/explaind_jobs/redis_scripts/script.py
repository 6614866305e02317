"""A call of a Lua script: its name, its arguments, and the parser of its reply."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Argument = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class ScriptCall(Generic[T]):
    """A script call; `parse` turns the reply into a value, or raises the error that it stands for."""

    script: str
    args: Sequence[Argument]
    parse: Callable[[Any], T]


# Lua files prepended to every script; each uses those before it.
SHARED = ("common", "ended", "lifecycle", "view", "results")


@cache
def script_text(name: str) -> str:
    """The Lua source of a script, preceded by the shared files."""
    folder = files("explaind_jobs.redis_scripts").joinpath("lua")
    return "\n".join(folder.joinpath(f"{part}.lua").read_text(encoding="utf-8") for part in (*SHARED, name))


def text(raw: bytes | str) -> str:
    """A reply's bytes as text."""
    return raw.decode() if isinstance(raw, bytes) else raw
