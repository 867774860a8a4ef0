"""The suggested boxes of one image, packed to a tenth of the memory, because a list may have ten thousand images."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from shared.wire.queries import SuggestedBox

_BOX: Final = struct.Struct("<q5d")


class PackedBoxes:
    """An immutable sequence of boxes."""

    __slots__ = ("_packed",)

    def __init__(self, packed: bytes = b"") -> None:
        self._packed = packed

    @classmethod
    def of(cls, boxes: Iterable[SuggestedBox]) -> PackedBoxes:
        """Pack these boxes."""
        packed = b"".join(_BOX.pack(each.label, each.confidence, each.x, each.y, each.w, each.h) for each in boxes)
        return cls(packed) if packed else NO_BOXES

    def __iter__(self) -> Iterator[SuggestedBox]:
        for label, confidence, x, y, w, h in _BOX.iter_unpack(self._packed):
            yield SuggestedBox.model_construct(label=label, confidence=confidence, x=x, y=y, w=w, h=h)


NO_BOXES: Final = PackedBoxes()
