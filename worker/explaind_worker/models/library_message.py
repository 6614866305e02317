"""Sanitizes messages of library exceptions for callers: short, and without directories of this machine."""

import re

LONGEST = 300  # characters
PATHS = re.compile(r"(?:[A-Za-z]:)?(?:[\\/][\w.@+~-]+)+[\\/]([\w.@+~-]+)")


def told(error: Exception) -> str:
    """The first lines of a library's message, with files reduced to their names."""
    text = PATHS.sub(r"\1", " ".join(str(error).split())) or type(error).__name__
    short = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return short if short.endswith((".", "…", "!", "?")) else f"{short}."
