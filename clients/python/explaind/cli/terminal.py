"""The console that the commands draw on: what its encoding lacks is substituted before widths are measured."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from explaind.cli.encoding import fitted


class Terminal(Console):
    """rich's console without markup; texts, and texts in tables, are fitted to its encoding, then laid out."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich does."""
        super().print(*(self._fitted(item) for item in objects), **options)

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
