"""Tables of the command line that stay readable at 80 columns, which is also the width of a pipe.

A name is never wrapped, because it could not be copied then: it stays whole, or ends with an ellipsis if there is no
room. A number stays on one line. Text gets the remaining room. `rich` on its own shrinks all columns alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.style import StyleType
from rich.table import Column, Table
from rich.text import Text

Kind = Literal["name", "number", "words"]
BORDER = 3  # columns of the terminal beside each cell, and one more
WORDS = 16  # minimum width of text columns


class Listing(Table):
    """A table with these headings. The kind of each column decides which columns shrink first."""

    def __init__(self, columns: Mapping[str, Kind], *, show_header: bool = True, show_lines: bool = False) -> None:
        super().__init__(show_header=show_header, show_lines=show_lines)
        self._kinds = list(columns.values())
        for heading, kind in columns.items():
            justify: Literal["left", "right"] = "right" if kind == "number" else "left"
            overflow: Literal["fold", "ellipsis"] = "fold" if kind == "words" else "ellipsis"
            self.add_column(Text(heading), justify=justify, overflow=overflow, no_wrap=kind != "words")

    def add_row(self, *cells: RenderableType | None, style: StyleType | None = None, end_section: bool = False) -> None:
        """Add a row. Square brackets in a name are no markup."""
        texts = [Text(each) if isinstance(each, str) else each for each in cells]
        super().add_row(*texts, style=style, end_section=end_section)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Set the width of each column, then render."""
        widths = [self._natural(column) for column in self.columns]
        room = options.max_width - BORDER * len(widths) - 1
        room -= sum(width for width, kind in zip(widths, self._kinds, strict=True) if kind == "number")
        room -= sum(min(width, WORDS) for width, kind in zip(widths, self._kinds, strict=True) if kind == "words")
        names = [number for number, kind in enumerate(self._kinds) if kind == "name"]
        while names and sum(widths[each] for each in names) > max(room, len(names)):
            widths[max(names, key=lambda each: widths[each])] -= 1
        for column, width, kind in zip(self.columns, widths, self._kinds, strict=True):
            column.width = None if kind == "words" else width
        yield from super().__rich_console__(console, options)

    def _natural(self, column: Column) -> int:
        texts = [*([str(column.header)] if self.show_header else []), *map(str, column.cells)]
        return max((cell_len(line) for text in texts for line in text.splitlines()), default=0)


def facts(value: Kind = "words") -> Listing:
    """An empty table of two columns without headings: name and value."""
    return Listing({"what": "name" if value == "words" else "words", "value": value}, show_header=False)
