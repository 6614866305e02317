"""Generator of `explaind._sync`: the modules of `explaind._async` without `async` and `await`.

Code specific to a flavour is in the hand-written modules `concurrency`; everything else differs by the rules below
alone, as in the `unasync` script of httpcore.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial

from tools import ROOT
from tools.python_source import formatted
from tools.sdk_methods import rendered_methods

ASYNC, SYNC = "clients/python/explaind/_async", "clients/python/explaind/_sync"
MODULES = ("client", "driver", "files", "jobs")

# Text of docstrings specific to one flavour. Each must occur somewhere in `_async`.
PHRASES = {
    "Cancelling the task also requests the job's cancellation.": "An interrupt (Ctrl-C) also requests the job's "
    "cancellation.",
    """changed; awaited
                if it is a coroutine function.""": "changed.",
    "changed; awaited if it is a coroutine function.": "changed.",
    """Closing the iterator ends the connection: `async with aclosing(handle.events()) as events` where a loop may be
        left early.""": "Closing the iterator, or leaving a loop over it, ends the connection.",
    "An async client of one service": "A client of one service",
    "the async client": "the sync client",
    "The async client": "The sync client",
}
RULES = (
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bAsyncGenerator\[(.+), None\]", r"Generator[\1, None, None]"),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\b_async\b", "_sync"),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    (r"\ba(closing|close|read)\b", r"\1"),
    (r"\banext\b", "next"),
    (r"\baiter_bytes\b", "iter_bytes"),
)
# None of these may be left.
LEFTOVER = re.compile(r"(?i)async|\bawait|\ba(close|closing|iter|next|read)\w*\b")


def sync_source(source: str, path: str) -> str:
    """The sync counterpart of an async module.

    Args:
        source: the async module.
        path: path of the sync module, relative to the repository root.

    Raises:
        ValueError: something asynchronous is left that no rule covers.
    """
    for phrase, replacement in PHRASES.items():
        source = source.replace(phrase, replacement)
    for pattern, replacement in RULES:
        source = re.sub(pattern, replacement, source)
    left = LEFTOVER.search(source)
    if left is not None:
        line = source.count("\n", 0, left.start()) + 1
        raise ValueError(f"{path}:{line}: no rule of tools/sync_client.py makes {left[0]!r} sync.")
    return formatted(f"# Generated from {path.replace('_sync', '_async')} by `make generate`.\n{source}", path)


def sync_modules() -> Mapping[str, Callable[[], str]]:
    """The render function of every generated module of `_sync`, by path."""
    written = {f"{SYNC}/{name}.py": partial(_rendered, name) for name in MODULES}
    return {**written, f"{SYNC}/methods.py": _rendered_methods}


def _rendered(name: str) -> str:
    source = (ROOT / ASYNC / f"{name}.py").read_text(encoding="utf-8")
    return sync_source(source, f"{SYNC}/{name}.py")


def _rendered_methods() -> str:
    _, _, source = rendered_methods().partition("\n")  # its first line names its own source
    return sync_source(source, f"{SYNC}/methods.py")
