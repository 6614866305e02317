"""A result in one line of text: its class and some short pieces, such as `Generation(' 85', 2 tokens, ended by end)`.

Text of models and users is written as Python writes strings, so that no control character is left in it, and cut.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel

MOST_CHARS = 300
MOST_ITEMS = 4
_MOST_PIECE = 220
_CUT = "…"


def one_line_summary(name: str, pieces: Iterable[str], last: str = "") -> str:
    """`name(piece, piece, …)` of at most MOST_CHARS characters; `last` is there whatever is cut."""
    left = MOST_CHARS - len(name) - len(last) - len("(, , …)")
    kept: list[str] = []
    for piece in pieces:
        # A text that is in no quotes may still be the caller's own.
        text = cut(piece if piece.isprintable() else repr(cut(piece, _MOST_PIECE))[1:-1], _MOST_PIECE)
        left -= len(text) + 2
        if left < 0:
            kept.append(_CUT)
            break
        kept.append(text)
    return f"{name}({', '.join([*kept, *([last] if last else [])])})"


def cut(text: str, most: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + _CUT


def quoted(text: str, most: int = 24) -> str:
    """A text in quotes, on one line, without control characters, cut to about `most` characters."""
    return repr(text) if len(text) <= most else f"{text[: most - 1] + _CUT!r}"


def bare(text: str, most: int = 24) -> str:
    """The same without its quotes."""
    return quoted(text, most)[1:-1]


def against(target: str | None, foil: str | None = None) -> str:
    """Target, and foil where there is one: `' positive' vs ' negative'`."""
    said = "next token" if target is None else quoted(target)
    return said if foil is None else f"{said} vs {quoted(foil)}"


def change(value: float | None) -> str:
    """A number with its sign and three significant places: +7.14."""
    return "none" if value is None else f"{value:+.3g}"


def amount(value: float | None) -> str:
    """A number with three significant places."""
    return "none" if value is None else f"{value:.3g}"


def strongest(names: Sequence[str], values: Sequence[float], most: int = MOST_ITEMS) -> list[str]:
    """The names of the largest magnitudes with their values, the largest first; an ellipsis where there are more."""
    order = sorted(range(len(names)), key=lambda index: -abs(values[index]) if math.isfinite(values[index]) else 0.0)
    said = [f"{_named(names[index])} {change(values[index])}" for index in order[:most]]
    return said + ([_CUT] if len(order) > most else [])


def _named(name: str) -> str:
    # Signs alone, such as a comma, would be read as the line's own.
    return bare(name) if any(map(str.isalnum, name)) else quoted(name)


def fields_summary(result: object) -> list[str]:
    """The fields of a result of any class that are not what they are by default: `text=' great', start=21`."""
    if not isinstance(result, BaseModel):
        return []
    kept = [(name, field, getattr(result, name, None)) for name, field in type(result).model_fields.items()]
    return [
        f"{name}={_value(value)}"
        for name, field, value in kept
        if value is not None and name != "kind" and value != field.get_default(call_default_factory=True)
    ]


def _value(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value, 60)
    if isinstance(value, dict):
        return f"{{{len(value)} items}}"
    if isinstance(value, list | tuple):
        short = len(value) <= MOST_ITEMS and all(isinstance(item, int | float) for item in value)
        return f"[{', '.join(map(_value, value)) if short else f'{len(value)} items'}]"
    if isinstance(value, BaseModel):
        return type(value).__name__
    return f"{value:.4g}" if isinstance(value, float) else cut(str(value), 60)
