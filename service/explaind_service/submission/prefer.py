"""The `Prefer` header (RFC 7240): how long the response may wait for the end of the job."""

from collections.abc import Iterable
from dataclasses import dataclass

MAX_DIGITS = 9


@dataclass(frozen=True)
class Preference:
    """The accepted preference: `wait_s` seconds of waiting, None for none."""

    wait_s: int | None = None
    respond_async: bool = False

    @property
    def applied(self) -> str | None:
        """The value of `Preference-Applied`; None without a preference."""
        parts = ["respond-async"] if self.respond_async else []
        if self.wait_s is not None:
            parts.append(f"wait={self.wait_s}")
        return ", ".join(parts) or None


def parse_prefer(fields: Iterable[str], *, max_wait_s: int) -> Preference:
    """Reads the `Prefer` fields of a request; `wait` is capped at `max_wait_s`.

    As RFC 7240 demands, unknown preferences are ignored and the first of two contradicting ones counts.
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
