"""Text of strangers made fit to be shown: nothing in it can steer a terminal or turn a line around."""

_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"}
_REPLACED = dict.fromkeys([*range(0x80, 0xA0), *range(0x202A, 0x202F)], 0xFFFD)
_TABLE = {**_PICTURES, 0x7F: 0x2421, **_REPLACED}
_LINE_TABLE = {**_TABLE, ord("\n"): "⏎", ord("\t"): "⇥"}


def shown(text: str) -> str:
    """The text with control characters as pictures and direction overrides replaced; line breaks stay."""
    return text.translate(_TABLE)


def one_line(text: str, limit: int | None = None) -> str:
    """The text on one line, line breaks as signs, cut to `limit` characters with an ellipsis."""
    line = text.translate(_LINE_TABLE)
    return line if limit is None or len(line) <= limit else line[: limit - 1] + "…"
