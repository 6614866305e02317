"""Parses numbers in free text: generated text, answers, questions."""

import re
from dataclasses import dataclass
from fractions import Fraction

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
# A hyphen right before a number is its sign, but not after a word, number or bracket: "7-5" contains no minus five.
NUMBER = re.compile(
    rf"""(?P<sign>(?<![\w)\]])[-\u2212](?=[$€£]|\d|\.\d))?(?:[$€£]\s?)?(?P<inner_sign>(?<=[$€£])[-\u2212])?
    (?:(?<![\d/])(?P<whole>{_DIGITS})[ ](?P<over>\d+)/(?P<under>\d+)(?![\d/])
    |(?<![\d/])(?P<top>{_DIGITS})/(?P<bottom>\d+)(?![\d/])
    |(?P<plain>{_DIGITS}(?:\.\d+)?|\.\d+))""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Number:
    """A parsed number: its exact value, its text, and its position."""

    value: Fraction
    text: str
    start: int
    end: int

    @property
    def decimals(self) -> int:
        """Number of digits after the decimal point."""
        return len(self.text.partition(".")[2])


def numbers_of(text: str) -> list[Number]:
    """The numbers of a text, in order: with separators ("1,234"), currencies, fractions ("3/4", "1 1/2"), signs."""
    return [number for match in NUMBER.finditer(text) if (number := _number(match)) is not None]


def number_of(text: str) -> Number | None:
    """The number in a text that holds nothing else but a unit or punctuation; None if there is none, or several."""
    found = numbers_of(text)
    if len(found) != 1:
        return None
    before, after = text[: found[0].start].strip(), text[found[0].end :].strip()
    return found[0] if not before and len(after.split()) <= 2 else None


def _number(match: re.Match[str]) -> Number | None:
    parts = match.groupdict()
    plain = {name: parts[name].replace(",", "") for name in ("whole", "top", "plain") if parts[name]}
    under = int(parts["under"] or parts["bottom"] or 1)
    if under == 0:
        return None
    if "plain" in plain:
        value = Fraction(plain["plain"])
    elif "top" in plain:
        value = Fraction(int(plain["top"]), under)
    else:
        value = int(plain["whole"]) + Fraction(int(parts["over"]), under)
    if parts["sign"] or parts["inner_sign"]:
        value = -value
    return Number(value, match.group(), match.start(), match.end())
