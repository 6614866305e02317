"""Line reader for CSV that enforces limits before the csv module parses a row."""

import re
from collections.abc import Callable
from typing import Self, TextIO

# A quoted cell (or as much of it as this line holds), then a plain one; as in csv, quotes in a plain cell are text.
_REST_OF_QUOTED = r'[^"]*+(?:""[^"]*+)*+(?:"|\Z)'
_REST = re.compile(_REST_OF_QUOTED)
_CELLS = {separator: re.compile(rf'"{_REST_OF_QUOTED}|[^{separator}\r\n]*+') for separator in ",\t"}


class CsvLines:
    """Feeds csv.reader line by line and refuses a line that would make a row too wide or too long.

    While csv.reader asks for more lines without returning a row, a quoted cell is still open.
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
        """Marks the end of a row: the next line begins another."""
        self._open = False
        self._chars = self._separators = self._cells = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        """The next line. Raises what `refuse` raises, and UnicodeDecodeError for text that is not UTF-8."""
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
    """Number of cells that csv.reader would make of a line, counted up to `most` + 2; `quoted`: the line begins inside
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
