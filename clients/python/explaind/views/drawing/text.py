"""Text for display: untrusted text without control and direction characters, and number formats."""

import math

from explaind.contract.job import Progress

MINUS = "\N{MINUS SIGN}"
_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"}
_REPLACED = dict.fromkeys([*range(0x80, 0xA0), *range(0x202A, 0x202F)], 0xFFFD)
_TABLE = {**_PICTURES, 0x7F: 0x2421, **_REPLACED}
_LINE_TABLE = {**_TABLE, ord("\n"): "⏎", ord("\t"): "⇥"}


def shown(text: str) -> str:
    """The text with control characters as pictures and direction overrides replaced; line breaks are kept."""
    return text.translate(_TABLE)


def one_line(text: str, limit: int | None = None) -> str:
    """The text on one line, line breaks as symbols, cut to `limit` characters with an ellipsis."""
    line = text.translate(_LINE_TABLE)
    return line if limit is None or len(line) <= limit else line[: limit - 1] + "…"


def signed(value: float) -> str:
    """Three significant digits with a sign: +0.123, −4.56, 0."""
    return number(value, sign=True)


def number(value: float, *, sign: bool = False) -> str:
    """A few significant digits, a true minus sign, no exponent where it is readable without."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else f"{MINUS if value < 0 else '+'}infinity"
    size = abs(value)
    if size == 0:
        return "0"
    if size < 0.001 or size >= 1e6:
        mantissa, _, exponent = f"{size:.1e}".partition("e")
        text = f"{mantissa}e{int(exponent)}".replace("-", MINUS)
    elif size < 10:
        text = f"{size:.3f}"
    elif size < 1000:
        text = f"{size:.2f}"
    else:
        text = f"{size:,.0f}"
    return (MINUS if value < 0 else "+" if sign else "") + text


def plain_number(value: float) -> str:
    """A number for an axis tick, as short as possible: −0.5, 20, 1,500, 2e−7."""
    size = abs(value)
    if size and not 1e-4 <= size < 1e7:
        return number(value) if not math.isfinite(value) else f"{value:.6g}".replace("-", MINUS)
    return f"{value:,.10g}".replace("-", MINUS)


def percent(share: float) -> str:
    """A probability as a percentage; 0 % or 100 % only if exact."""
    if share <= 0 or share >= 1:
        return f"{100 * share:.0f} %"
    if share < 0.0001:
        return "< 0.01 %"
    if share > 0.9999:
        return "> 99.99 %"
    return f"{100 * share:.2f} %" if share < 0.1 or share > 0.99 else f"{100 * share:.1f} %"


def whole_percent(share: float) -> str:
    """A share in whole percent: 0 %, 5 %, 100 %."""
    return f"{100 * share:.0f} %"


def percent_range(low: float, high: float) -> str:
    """An interval of shares: 31 to 86 %."""
    return f"{100 * low:.0f} to {100 * high:.0f} %"


def points(difference: float, *, unit: bool = True) -> str:
    """A difference of two shares in percentage points: +12.5 points, −3.1 points, 0 points."""
    size = f"{abs(100 * difference):.1f}"
    sign = "" if float(size) == 0 else MINUS if difference < 0 else "+"
    return f"{sign}{'0' if not sign else size}{' points' if unit else ''}"


def seconds(value: float) -> str:
    """A duration: 4 ms, 0.41 s, 2 min 5 s."""
    if value < 0.1:
        return f"{1000 * value:.0f} ms"
    if value < 60:
        return f"{value:.2f} s"
    return f"{int(value // 60)} min {int(value % 60)} s"


def plural(count: int, noun: str) -> str:
    """1 token, 2,000 tokens."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def size(count: int) -> str:
    """A number of bytes: 13.5 GB, 240 MB, 12.0 kB, 62 bytes."""
    if count < 1000:
        return plural(count, "byte")
    for least, unit in ((10**9, "GB"), (10**6, "MB")):
        if count >= least:
            return f"{count / least:,.0f} {unit}" if count >= 100 * least else f"{count / least:.1f} {unit}"
    return f"{count / 1000:.1f} kB"


def counted(now: Progress, rate: float | None = None) -> str:
    """Count and rate of the phase; empty for a phase without counts."""
    if now.total is None and not now.done:
        return ""
    total = "" if now.total is None else f"/{now.total:,}"
    pace = "" if rate is None else f"  {rate:,.0f}/s" if rate >= 10 else f"  {rate:.2g}/s"
    return f"{now.done:,}{total} {now.unit}{pace}"


def progress_text(now: Progress) -> str:
    """Phase and count in one line; for a phase without counts, its name alone."""
    return now.phase if now.total is None and not now.done else f"{now.phase}: {counted(now)}"
