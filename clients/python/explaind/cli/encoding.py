"""Output encodings other than UTF-8: symbols without a character are written in ASCII, anything else as an escape.

A redirected Windows console is cp1252, `PYTHONIOENCODING` may be `ascii`; there Python raises an exception for a bar or
an arrow, after the job has succeeded.
"""

import codecs
import re
import sys
from typing import Any

HANDLER = "explaind-plain"
ASCII = "explaind-ascii"  # click treats "ascii" as a misconfiguration and writes UTF-8

# ASCII substitutes for the symbols of the views; bars keep their lengths.
PLAIN = {
    **dict(zip("▁▂▃▄▅▆▇█", "_.:-=+*#", strict=True)),  # from low to high
    **dict.fromkeys("‐‑‒–−─┄―", "-"),
    **dict.fromkeys("│┃║├┤", "|"),
    **dict.fromkeys("“”„", '"'),
    **dict.fromkeys("‘’‚", "'"),
    **{chr(0x2400 + code): f"\\x{code:02x}" for code in range(0x20)},  # pictures of control characters
    "\u2421": "\\x7f",
    "\ufffd": "\\ufffd",
    "\u00a0": " ",
    "\u202f": " ",
    "⏎": "\\n",
    "⇥": "\\t",
    "—": "--",
    "…": "...",
    "→": "->",
    "←": "<-",
    "·": "|",
    "•": "*",
    "×": "x",
    "÷": "/",
    "±": "+/-",
    "≥": ">=",
    "≤": "<=",
    "≠": "!=",
    "≈": "~",
    "‖": "||",
    "∂": "d",
    "Σ": "sum",
    "√": "sqrt",
    "∝": "~",
    "²": "^2",
    "§": "section ",
    "✓": "yes",
    "✗": "no",
}
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
# Default error handlers: Python's for stdout, for stdout in the C locale, and for stderr.
_DEFAULT_ERRORS = {"strict", "surrogateescape", "backslashreplace"}


def fit_outputs() -> None:
    """Makes stdout and stderr accept any text. An error handler set by the user is kept."""
    for stream in (sys.stdout, sys.stderr):
        fit(stream)


def fit(stream: Any) -> None:
    """Makes that text stream accept any text, if its encoding can be set."""
    if not hasattr(stream, "reconfigure") or getattr(stream, "errors", None) not in _DEFAULT_ERRORS:
        return
    ascii_only = codecs.lookup(stream.encoding).name == "ascii"
    stream.reconfigure(errors=HANDLER, **({"encoding": ASCII} if ascii_only else {}))


def is_unicode(stream: Any) -> bool:
    """Whether that stream can encode every character: a Unicode encoding, or text in memory."""
    return codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name.startswith("utf")


def fitted(text: str, stream: Any) -> str:
    """The text as that stream will encode it, to measure its width."""
    if is_unicode(stream):
        return text
    return text.encode(stream.encoding, HANDLER).decode(stream.encoding)


def json_for(text: str, stream: Any) -> str:
    """The JSON text, escaped to ASCII unless the stream is UTF-8, so that it stays valid JSON."""
    return text if is_unicode(stream) else _BEYOND_ASCII.sub(_json_escape, text)


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{int.from_bytes(units[at : at + 2], 'big'):04x}" for at in range(0, len(units), 2))


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_written(character) for character in error.object[error.start : error.end]), error.end


def _written(character: str) -> str:
    return PLAIN.get(character) or character.encode("ascii", "backslashreplace").decode()


def _find_ascii(name: str) -> codecs.CodecInfo | None:
    if name.replace("_", "-") != ASCII:
        return None
    known = codecs.lookup("ascii")
    return codecs.CodecInfo(
        name=ASCII,
        encode=known.encode,
        decode=known.decode,
        incrementalencoder=known.incrementalencoder,
        incrementaldecoder=known.incrementaldecoder,
        streamreader=known.streamreader,
        streamwriter=known.streamwriter,
    )


codecs.register_error(HANDLER, _plain)
codecs.register(_find_ascii)
