"""The elements of a top-level JSON array, found one after the other in a file that is never held as a whole.

Only strings and brackets are looked at: each element is held to limits before a parser sees it.
"""

import codecs
import re
from collections.abc import Generator
from typing import BinaryIO, NoReturn

from explaind.contract.errors import InvalidDataset

READ_AT_ONCE = 1 << 18
SPACE = b" \t\r\n"
HINT = "Send an array of flat objects, [{…}, {…}], or JSON lines, one object per line; text is UTF-8."

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# Up to the next bracket, whatever strings and numbers stand before it; outside of objects up to a comma as well.
_TO_BRACKET = re.compile(rb'[^"\[\]{}]*+(?:' + _STRING + rb'[^"\[\]{}]*+)*+', re.DOTALL)
_TO_COMMA = re.compile(rb'[^"\[\]{},]*+(?:' + _STRING + rb'[^"\[\]{},]*+)*+', re.DOTALL)
_OBJECT_WITH_ROWS = re.compile(rb"\s*\{(?:[^\"\[\]{}]|" + _STRING + rb")*?(" + _STRING + rb")\s*:\s*\[\s*\{", re.DOTALL)
_SPACES = re.compile(rb"[ \t\r\n]*+")
LOOKED_AT = 1 << 16


class ArrayElement:
    """The bytes of one element, its number, and the line and column (both from 1) at which it begins."""

    __slots__ = ("column", "line", "number", "text")

    def __init__(self, text: bytes, number: int, line: int, column: int) -> None:
        self.text, self.number, self.line, self.column = text, number, line, column

    @property
    def place(self) -> str:
        """Where it stands, in words."""
        return f"Row {self.number} (line {self.line})"


def beginning(source: BinaryIO) -> bytes:
    """The first bytes of a file from its first sign on; the file is read from its start again."""
    head = source.read(LOOKED_AT).removeprefix(codecs.BOM_UTF8).lstrip(SPACE)
    source.seek(0)
    return head


def rows_inside(head: bytes) -> str | None:
    """The name under which an object holds an array of objects, if that is the first array in it."""
    found = _OBJECT_WITH_ROWS.match(head)
    return None if found is None else found[1][1:-1].decode(errors="replace")


def array_elements(source: BinaryIO, most_bytes: int) -> Generator[ArrayElement, None, None]:
    """Each element of the array in a file that begins with one.

    Raises:
        InvalidDataset: an element has more than `most_bytes`, commas or the end of the array are not where they must
            be, or something follows it; the place is named.
    """
    window = _Window(source)
    window.skip_space()
    window.take(1)
    number = 0
    while True:
        sign = window.skip_space()
        if sign == b"]" and not number:
            break
        if sign in (b",", b"]"):
            what = "A comma has nothing behind it" if number else "A comma has nothing before it"
            window.refuse(f"{what} at {window.place}: an array ends with ], without a comma.")
        if not sign:
            window.refuse(f"The array is not closed: the file ends at {window.place}.")
        number += 1
        line, column = window.line, window.column
        text = window.element(number, most_bytes)
        yield ArrayElement(text, number, line, column)
        sign = window.skip_space()
        if sign == b"]":
            break
        if sign != b",":
            what = "the file ends" if not sign else "there is something else"
            window.refuse(f"After row {number} a comma or the end of the array is due, and {what} at {window.place}.")
        window.take(1)
    window.take(1)
    if window.skip_space():
        window.refuse(f"Something follows the end of the array at {window.place}.")


class _Window:
    """What has been read of the file and not been taken yet; `line` and `column` are of its first byte."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._held = bytearray(source.read(READ_AT_ONCE).removeprefix(codecs.BOM_UTF8))
        self._start = 0
        self.line, self.column = 1, 1

    @property
    def place(self) -> str:
        return f"line {self.line}, column {self.column}"

    def take(self, size: int) -> bytes:
        """The next bytes, which must be there."""
        text = bytes(memoryview(self._held)[self._start : self._start + size])
        self._start += size
        lines = text.count(b"\n")
        self.line += lines
        # Characters, not bytes: what continues a character is not counted.
        tail = text[text.rfind(b"\n") + 1 :] if lines else text
        self.column = (1 if lines else self.column) + len(tail.decode(errors="replace"))
        return text

    def skip_space(self) -> bytes:
        """Passes over white space; the sign behind it, b"" at the end of the file."""
        while True:
            self.take(_matched(_SPACES, self._held, self._start))
            if self._start < len(self._held):
                return bytes(self._held[self._start : self._start + 1])
            if not self._read():
                return b""

    def element(self, number: int, most_bytes: int) -> bytes:
        """The next element, up to the comma or bracket behind it."""
        at, depth = 0, 0
        while True:
            at += _matched(_TO_BRACKET if depth else _TO_COMMA, self._held, self._start + at)
            if at > most_bytes:
                self.refuse(f"Row {number} (line {self.line}) is longer than the {most_bytes} bytes a row may have.")
            sign = self._held[self._start + at : self._start + at + 1]
            if not sign or sign == b'"':  # the end of what was read: nothing more, or within a string
                if not self._read():
                    self.refuse(f"The array is not closed: the file ends within row {number} (line {self.line}).")
                continue
            if sign in b"[{":
                depth += 1
            elif depth and sign in b"]}":
                depth -= 1
                if not depth:
                    return self.take(at + 1)
            else:  # a comma, or the end of the array
                return self.take(at).rstrip(SPACE) if sign in b",]" else self._unopened(at)
            at += 1

    def _unopened(self, at: int) -> NoReturn:
        self.take(at)
        self.refuse(f"A brace is closed at {self.place} that was not opened.")

    def _read(self) -> bool:
        more = self._source.read(READ_AT_ONCE)
        del self._held[: self._start]
        self._start = 0
        self._held += more
        return bool(more)

    @staticmethod
    def refuse(why: str) -> NoReturn:
        raise InvalidDataset(why, hint=HINT)


def _matched(pattern: re.Pattern[bytes], text: bytearray, start: int) -> int:
    """How many bytes from `start` on a pattern matches that may match nothing."""
    found = pattern.match(text, start)
    return 0 if found is None else found.end() - start
