"""Cells of a CSV: what a spreadsheet would run as a formula gets an apostrophe before it, which reading takes away.

File names and class names are other people's text.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")  # with apostrophes before it too, so that one can be taken away again


def harmless(text: str) -> str:
    """A cell that no spreadsheet runs."""
    return "'" + text if _FORMULA.match(text) else text


def meant(cell: str) -> str:
    """The text that `harmless` made the cell of."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell
