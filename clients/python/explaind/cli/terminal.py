"""The console that the commands draw on: texts fitted to its encoding, and tables laid out so that they can be read."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from explaind.cli.encoding import fitted

_WRAPPED = 24  # characters; what is shorter is never wrapped, what is longer not to fewer
_LONGEST_WORD = 40
_INDENT = 2
_CUT = 10  # characters that a cell which may be cut keeps


class Terminal(Console):
    """rich's console without markup; texts, and texts in tables, are fitted to its encoding, then laid out.

    On a screen lines are wrapped between words; in a pipe they stay whole where they are printed with `soft_wrap`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """As in rich."""
        if self.is_terminal and self.file is not sys.stderr:
            options.pop("soft_wrap", None)
        super().print(*(self._laid_out(self._fitted(item)) for item in objects), **options)

    def _laid_out(self, item: Any) -> Any:
        return readable(item, self.width) if isinstance(item, Table) else item

    def _fitted(self, item: Any) -> Any:
        if isinstance(item, str):
            return fitted(item, self.file)
        if isinstance(item, Text):
            return item if fitted(item.plain, self.file) == item.plain else self._fitted_text(item)
        if isinstance(item, Table):
            for column in item.columns:
                column.header = self._fitted(column.header)
                column._cells[:] = [self._fitted(cell) for cell in column.cells]
        return item

    def _fitted_text(self, text: Text) -> Text:
        made = text.blank_copy()
        for segment in text.render(self):
            made.append(fitted(segment.text, self.file), segment.style)
        return made


def readable(table: Table, width: int) -> RenderableType:
    """The table in that width without columns of single words: long cells wrapped, else one block for each row."""
    if not all(isinstance(cell, str | Text) for column in table.columns for cell in [column.header, *column.cells]):
        return table
    columns = list(table.columns)
    if columns and not _plain(columns[-1].header) and _least_width(table, columns) > width and table.show_header:
        columns = columns[:-1]  # a drawing beside its numbers
        table.columns[:] = columns
    if _least_width(table, columns) > width and table.show_header:
        return Group(*_blocks(columns, width))
    widths = [_natural(column) for column in columns]
    room = width - _padding(table) * len(columns)
    while sum(widths) > room:
        at = max(range(len(widths)), key=lambda index: (widths[index] > _least(columns[index]), widths[index]))
        if widths[at] <= _least(columns[at]):
            break
        widths[at] -= 1
    for column, chosen in zip(columns, widths, strict=True):
        if chosen < _natural(column):
            column.width = column.max_width = chosen
    return table


def _blocks(columns: Sequence[Column], width: int) -> Iterator[RenderableType]:
    """Each row as its first cell, and under it its other cells with the heads of their columns."""
    rows = list(zip(*(list(column.cells) for column in columns), strict=True))
    first = 2 if _plain(columns[0].header) == "#" and len(columns) > 1 else 1
    heads = [_plain(column.header) for column in columns[first:]]
    for row in rows:
        yield Text(" ").join([_text(cell) for cell in row[:first]])
        cells = zip(heads, row[first:], strict=True)
        entries = [
            Text.assemble((f"{head}: " if len(heads) > 1 else "", "dim"), _text(cell))
            for head, cell in cells
            if _plain(cell)
        ]
        yield Padding(Group(*_filled(entries, width - _INDENT)), (0, 0, 0, _INDENT), expand=False)


def _filled(entries: Sequence[Text], width: int) -> Iterator[Text]:
    """The entries in lines of that width, none of them broken that fits into one."""
    line = Text()
    for entry in entries:
        if line and line.cell_len + 2 + entry.cell_len > width:
            yield line
            line = Text()
        line = Text.assemble(line, "  ", entry) if line else entry
    if line:
        yield line


def _least_width(table: Table, columns: Sequence[Column]) -> int:
    return sum(_least(column) + _padding(table) for column in columns)


def _padding(table: Table) -> int:
    return table.padding[1] + table.padding[3]


def _natural(column: Column) -> int:
    lines = [line for cell in [column.header, *column.cells] for line in _plain(cell).splitlines()]
    longest = max(map(cell_len, lines), default=0)
    return min(longest, column.width or column.max_width or longest)


def _least(column: Column) -> int:
    """The fewest characters in which the column can be read: heads may be wrapped, short cells are not."""
    if column.width is not None:
        return column.width
    longest = max((cell_len(line) for cell in column.cells for line in _plain(cell).splitlines()), default=0)
    words = [word for cell in column.cells for word in _plain(cell).split()]
    if column.max_width is not None and column.no_wrap:  # may be cut
        least = min(longest, _CUT)
    elif longest <= _WRAPPED or column.no_wrap:
        least = longest
    else:
        least = min(longest, max(_WRAPPED, min(_LONGEST_WORD, max(map(cell_len, words), default=0))))
    return max(least, *(cell_len(word) for word in _plain(column.header).split() or [""]), 0)


def _text(cell: str | Text) -> Text:
    return cell.copy() if isinstance(cell, Text) else Text(cell)


def _plain(cell: Any) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)
