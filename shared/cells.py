"""Cells of a CSV: what a spreadsheet could run as a formula gets an apostrophe before it, which reading takes away.

File names, class names and names of people are other people's text. A spreadsheet may part a line at another separator
than the comma, by the language that it is set to, so that a formula may begin inside a cell too; and it may take
full-width signs for the ASCII ones, or pass over spaces before them.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"(?<![^;|\t\r\n])('*[^\S\t\r\n]*[=+\-@\t\r＝＋－＠])")
"""Where a cell begins, for one spreadsheet or another. Apostrophes count as a part of it, so that one can be put before
them and taken away again."""
_GUARDED = re.compile(_FORMULA.pattern.replace("('*", "'('*", 1))


def harmless(text: str) -> str:
    """A cell that no spreadsheet runs."""
    return _FORMULA.sub(r"'\1", text)


def meant(cell: str) -> str:
    """The text that `harmless` made the cell of."""
    return _GUARDED.sub(r"\1", cell)
