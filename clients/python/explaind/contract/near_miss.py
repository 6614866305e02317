"""Hints for unknown names: the nearest known ones."""

import difflib
from collections.abc import Iterable


def near_miss(word: str, known: Iterable[str], *, otherwise: Iterable[str] | None = None) -> str:
    """A hint for the unknown name `word`: the nearest of `known`, or all of them, or those of `otherwise`."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(repr(n) for n in near)}?"
    return f"There are: {', '.join(names if otherwise is None else sorted(otherwise))}."
