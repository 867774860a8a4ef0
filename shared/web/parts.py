"""Long lists in parts that one request can carry: by their number, and by about how many bytes they are as JSON.

A service takes `max_json_bytes` (8 MiB) of a request that is no form. Our own requests stay below half of that, since a
length is counted here before JSON escapes what it must.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")
PART_BYTES: Final = 4_000_000


def parts(
    items: Iterable[T], length: Callable[[T], int], *, most: int, most_bytes: int = PART_BYTES
) -> Iterator[list[T]]:
    """`items` in order, at most `most` of them and about `most_bytes` together; one that is longer goes alone."""
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
    """Bytes of some texts as JSON, with their quotes."""
    return sum(len(text.encode(errors="replace")) + 4 for text in texts if text)
