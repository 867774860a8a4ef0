"""Split long lists into parts that fit one request, by number of items and by approximate JSON size.

A service accepts `max_json_bytes` (8 MiB) per request without a form. Our own requests stay below half of that, because
the length is estimated before JSON escapes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")
PART_BYTES: Final = 4_000_000


def parts(
    items: Iterable[T], length: Callable[[T], int], *, most: int, most_bytes: int = PART_BYTES
) -> Iterator[list[T]]:
    """Yield `items` in order, in lists of at most `most` items and about `most_bytes` bytes; a longer item goes
    alone."""
    part: list[T] = []
    size = 0
    for item in items:
        more = length(item)
        if part and (len(part) == most or size + more > most_bytes):
            yield part
            part, size = [], 0
        part.append(item)
        size += more
    if part:
        yield part


def text_length(*texts: str | None) -> int:
    """Size in bytes of some texts as JSON, with their quotes."""
    return sum(len(text.encode(errors="replace")) + 4 for text in texts if text)
