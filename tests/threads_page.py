"""The tables of the page about threads and locks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "concepts" / "threads.md"


def on_page(header: str) -> list[tuple[str, str]]:
    """Name and module of each row in the tables whose first column is `header`, in the page's order."""
    rows, wanted = [], False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            wanted = False
        elif cells[:2] == [header, "module"]:
            wanted = True
        elif wanted and not cells[0].startswith("---"):
            rows.append((cells[0].strip("`"), cells[1].strip("`")))
    return rows


def out_of_order(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Pairs of locks that were taken in another order than the page lists them."""
    place = {name: number for number, (name, _) in enumerate(on_page("lock"))}
    return sorted((first, then) for first, then in pairs if place[first] >= place[then])
