"""Words of notes: short quotations, lists, and how many times likelier."""

import math
from collections.abc import Sequence

LONGEST = 40  # characters of a prompt or a target that a note quotes
MOST_LISTED = 3
_UNITS = ((1e12, " trillion"), (1e9, " billion"), (1e6, " million"), (1.0, ""))


def quoted(text: str) -> str:
    """The text on one line between quotation marks, cut to some characters."""
    line = text.replace("\r\n", "⏎").replace("\n", "⏎").replace("\t", "⇥")
    return f"'{line}'" if len(line) <= LONGEST else f"'{line[: LONGEST - 1]}…'"


def listed(texts: Sequence[str]) -> str:
    """a; a and b; a, b and c; a, b, c and 4 more."""
    shown, more = list(texts[:MOST_LISTED]), len(texts) - MOST_LISTED
    if more > 0:
        shown.append(f"{more} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def times(nats: float) -> str:
    """A ratio of probabilities, given as its logarithm: 1,200; 2 billion; more than 1,000 trillion."""
    if nats >= math.log(1e15):
        return "more than 1,000 trillion"
    ratio = math.exp(nats)
    digits = 1 if ratio >= 1e6 and str(int(ratio))[0] != "1" else 2
    ratio = float(f"{ratio:.{digits - 1}e}")
    size, unit = next((size, unit) for size, unit in _UNITS if ratio >= size or size == 1.0)
    return f"{ratio / size:,.3g}{unit}" if unit else f"{ratio:,.0f}"


def figure(value: float) -> str:
    """A small number in two significant digits, without an exponent where that can be read."""
    return (
        f"{value:.2g}"
        if 1e-4 <= abs(value) < 100 or value == 0
        else f"{value:.1e}"
        if abs(value) < 1
        else f"{value:,.0f}"
    )
