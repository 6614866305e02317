"""Output that is not UTF-8: signs that it has no character for are written in ASCII, everything else as an escape.

A redirected Windows console is cp1252, `PYTHONIOENCODING` may say `ascii`; Python's own answer to a bar or an arrow
there is an exception, after the job has succeeded.
"""

import codecs
import re
import sys
from typing import Any

HANDLER = "explaind-plain"
ASCII = "explaind-ascii"  # click takes "ascii" for a mistake, and would write UTF-8

# What the views draw with, as a reader would write it on a typewriter; bars keep their lengths.
PLAIN = {
    **dict(zip("▁▂▃▄▅▆▇█", "_.:-=+*#", strict=True)),  # low to high
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
# Errors that nobody chose: Python's own for stdout, for stdout in the C locale, and for stderr.
_DEFAULT_ERRORS = {"strict", "surrogateescape", "backslashreplace"}


def fit_outputs() -> None:
    """From now on stdout and stderr take any text. How somebody else chose to treat errors stays."""
    for stream in (sys.stdout, sys.stderr):
        fit(stream)


def fit(stream: Any) -> None:
    """From now on that stream of text takes any text, where its encoding can be set."""
    if not hasattr(stream, "reconfigure") or getattr(stream, "errors", None) not in _DEFAULT_ERRORS:
        return
    ascii_only = codecs.lookup(stream.encoding).name == "ascii"
    stream.reconfigure(errors=HANDLER, **({"encoding": ASCII} if ascii_only else {}))


def is_unicode(stream: Any) -> bool:
    """Whether that stream has every character: it is UTF-8 or the like, or text in memory."""
    return codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name.startswith("utf")


def fitted(text: str, stream: Any) -> str:
    """The text as it will stand on that stream, so that its width there can be told."""
    if is_unicode(stream):
        return text
    return text.encode(stream.encoding, HANDLER).decode(stream.encoding)


def json_for(text: str, stream: Any) -> str:
    """The JSON text as that stream can hold it: escaped to ASCII unless it is UTF-8, so that it stays JSON."""
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
