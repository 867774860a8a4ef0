"""Counts what a reader skips or reads differently, by kind, so that nothing is skipped silently."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from shared.figures import many

T = TypeVar("T")


class LeftOut:
    """The counts of one file, in order of first occurrence."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, str], int] = {}
        self._first: dict[tuple[str, str, str], int] = {}

    def clear(self) -> None:
        """Reset the counts, because the file is read again."""
        self._counts.clear()
        self._first.clear()

    def add(self, noun: str, which: str, line: int, *, what: str = "skipped", count: int = 1) -> None:
        """Count `count` items of a kind: a `noun` and which ones, such as "task", "without an annotation"."""
        if count:
            kind = (what, noun, which)
            self._counts[kind] = self._counts.get(kind, 0) + count
            self._first.setdefault(kind, line)

    def if_none(self, rows: Iterable[T], noun: str, which: str, line: int) -> Iterator[T]:
        """Pass the rows on; if there is none, count an item of a kind."""
        none = True
        for row in rows:
            none = False
            yield row
        if none:
            self.add(noun, which, line)

    def told(self) -> list[str]:
        """One sentence fragment per kind."""
        return [
            f"{what}: {many(count, noun)} {which}".rstrip() + f", first line {self._first[what, noun, which]}"
            for (what, noun, which), count in self._counts.items()
        ]
