"""What a reader takes in another way, or leaves out, counted by kind, so that nothing is passed over in silence."""

from __future__ import annotations

from shared.figures import many


class LeftOut:
    """Counts of one file, in the order in which they came up."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, str], int] = {}
        self._first: dict[tuple[str, str, str], int] = {}

    def clear(self) -> None:
        """The file is read anew."""
        self._counts.clear()
        self._first.clear()

    def add(self, noun: str, which: str, line: int, *, what: str = "left out", count: int = 1) -> None:
        """`count` of these: a `noun` and which ones, as in "task", "without an annotation"."""
        if count:
            kind = (what, noun, which)
            self._counts[kind] = self._counts.get(kind, 0) + count
            self._first.setdefault(kind, line)

    def told(self) -> list[str]:
        """A line for each kind."""
        return [
            f"{what}: {many(count, noun)} {which}".rstrip() + f", first line {self._first[what, noun, which]}"
            for (what, noun, which), count in self._counts.items()
        ]
