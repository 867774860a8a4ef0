"""CSV cells: prefixes text that a spreadsheet could run as a formula with an apostrophe, and removes it on reading.

File names, class names and people's names are text from others. Depending on its language, a spreadsheet may split
lines at other separators than commas, so a formula may also begin inside a cell. It may also read full-width signs as
ASCII, or skip spaces before them.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"(?<![^;|\t\r\n])('*[^\S\t\r\n]*[=+\-@\t\r＝＋－＠])")
"""The start of a formula, for any spreadsheet. It includes leading apostrophes, so that one can be added and
removed."""
_GUARDED = re.compile(_FORMULA.pattern.replace("('*", "'('*", 1))


def harmless(text: str) -> str:
    """Return a cell that no spreadsheet runs as a formula."""
    return _FORMULA.sub(r"'\1", text)


def meant(cell: str) -> str:
    """Return the text that `harmless` received."""
    return _GUARDED.sub(r"\1", cell)
