"""The `Prefer` header (RFC 7240): how long a caller is ready to wait for the end of the job."""

from collections.abc import Iterable
from dataclasses import dataclass

MAX_DIGITS = 9


@dataclass(frozen=True)
class Preference:
    """What was asked for and will be done: `wait_s` seconds of waiting, None for no waiting at all."""

    wait_s: int | None = None
    respond_async: bool = False

    @property
    def applied(self) -> str | None:
        """The value of `Preference-Applied`, None when nothing was asked for."""
        parts = ["respond-async"] if self.respond_async else []
        if self.wait_s is not None:
            parts.append(f"wait={self.wait_s}")
        return ", ".join(parts) or None


def parse_prefer(fields: Iterable[str], *, max_wait_s: int) -> Preference:
    """Reads the `Prefer` fields of a request; `wait` is capped at `max_wait_s`.

    As RFC 7240 asks, what is not understood is ignored and the first of two contradicting preferences counts.
    """
    found: dict[str, str] = {}
    for token in ",".join(fields).split(","):
        name, _, value = token.partition(";")[0].partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    wait = found.get("wait", "")
    readable = wait.isascii() and wait.isdigit() and len(wait) <= MAX_DIGITS
    return Preference(
        wait_s=min(int(wait), max_wait_s) if readable else None,
        respond_async="respond-async" in found,
    )
