"""The lines of a CSV, held to limits before the csv module parses them."""

import re
from collections.abc import Callable
from typing import Self, TextIO

# A quoted cell, or what this line has of it, and a plain one; quotes inside a plain cell are text, as for csv.
_REST_OF_QUOTED = r'[^"]*+(?:""[^"]*+)*+(?:"|\Z)'
_REST = re.compile(_REST_OF_QUOTED)
_CELLS = {separator: re.compile(rf'"{_REST_OF_QUOTED}|[^{separator}\r\n]*+') for separator in ",\t"}


class CsvLines:
    """Hands csv.reader one line after the other, and refuses one that would make a row too wide or too long.

    A row that csv.reader has not given yet when it asks for another line goes on in it: its quotes are open.
    """

    def __init__(
        self,
        text: TextIO,
        most_cells: int,
        most_chars: int,
        refuse: Callable[[str, int], object],
        separator: str = ",",
    ) -> None:
        self._separator = separator
        self._text = text
        self._most_cells = most_cells
        self._most_chars = most_chars
        self._refuse = refuse
        self.number = 0
        self.begin_row()

    def begin_row(self) -> None:
        """The row is complete: the next line begins another."""
        self._open = False
        self._chars = self._separators = self._cells = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        """The next line. `refuse` raises what it raises, UnicodeDecodeError is text that is not UTF-8."""
        line = self._text.readline(self._most_chars + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self._chars += len(line)
        if self._chars > self._most_chars:
            self._refuse(f"This row is longer than the {self._most_chars} characters that a row may have.", self.number)
        # Most rows have few separators, those in texts included: only others are looked through.
        self._separators += line.count(self._separator)
        if self._separators > self._most_cells:
            self._cells += cells_in(line, quoted=self._open, most=self._most_cells, separator=self._separator)
            if self._cells > self._most_cells + 1:
                self._refuse(f"This row has more than the {self._most_cells} columns that it may have.", self.number)
        self._open = True
        return line


def cells_in(line: str, *, quoted: bool, most: int, separator: str = ",") -> int:
    """How many cells csv.reader would make of a line, counted up to two more than `most`; `quoted`: it begins inside
    a quoted cell.
    """
    plain = _CELLS[separator]
    begun = (_REST if quoted else plain).match(line)
    place, cells = (begun.end() if begun else 0), 1
    # Anything but a separator behind a quoted cell is an error, at which csv.reader stops as well.
    while cells <= most + 1 and line.startswith(separator, place):
        cell = plain.match(line, place + 1)
        place, cells = (cell.end() if cell else len(line)), cells + 1
    return cells
