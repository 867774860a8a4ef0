"""One import, however many posts its rows come in: what held when it began, and all that it has said so far.

Each row is judged by what the log holds and by the rows before it, never by which rows its post brought along. So a dry
run, which writes nothing, comes to the same end as the import, and it does not matter where a post ends. What was said
is kept packed, 33 bytes a row and 5 an image, so that a million rows take little memory.

In a dry run a class or an image that would be added has a negative id. It knows nothing of files and of HTTP.
"""

from __future__ import annotations

import struct
import threading
from array import array
from collections.abc import Iterator, Sequence
from time import monotonic
from uuid import uuid4

from labeler.images.catalog import Catalog
from labeler.images.file_registry import Found, Root
from labeler.store.annotation_log import AnnotationLog
from labeler.store.counts import Tally
from shared.class_names import Spellings
from shared.log import Entry, ImageState
from shared.wire.fields import Split
from shared.wire.imports import Conflicts, ImportPost

ORDER: tuple[Split | None, ...] = (None, "train", "validation", "test")
"""A picture that one import names in two splits is in the later of them: what measures is not learned from."""
Answers = dict[str, tuple[str, int | None]]

_PACKED = struct.Struct("<I16sBqI")  # the image's record before, id, action with marks, class, number of the annotator
_ACTIONS = ("label", "skip", "flag", "settle")
_KNOWN, _OVERWRITES = 0x80, 0x40  # marks: was in the log already; counts instead of what was answered here
_PLAIN = (0, _KNOWN)  # a label that overwrites nothing
_NO_CLASS = -(2**63)


class Said:
    """What one import said of images, in the order of its rows."""

    def __init__(self) -> None:
        self._last = (array("I"), array("I"))  # image → its last record, of images here and of those that would be new
        self._splits = (bytearray(), bytearray())
        self._records = bytearray()
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._written = 0  # bytes of records that the log holds now

    def add(self, image_id: int, entry: Entry, *, known: bool = False, overwrites: bool = False) -> None:
        """A row says this of the image; `known`: the log had it before."""
        number = self._numbers.setdefault(entry.annotator, len(self._names))
        if number == len(self._names):
            self._names.append(entry.annotator)
        last, place = self._last[image_id < 0], abs(image_id)
        if place >= len(last):
            last.extend([0] * (place + 1024 - len(last)))
        action = _ACTIONS.index(entry.action) | _KNOWN * known | _OVERWRITES * overwrites
        label = _NO_CLASS if entry.label is None else entry.label
        self._records += _PACKED.pack(last[place], entry.id, action, label, number)
        last[place] = len(self._records) // _PACKED.size

    def about(self, image_id: int) -> list[tuple[Entry, bool]]:
        """What was said of the image, oldest first, and whether it overwrote an answer."""
        return [(entry, bool(marks & _OVERWRITES)) for entry, marks, _ in reversed([*self._chain(image_id)])]

    def pending(self, image_id: int) -> list[Entry]:
        """What was said of it that the log does not hold, oldest first."""
        last, place = self._last[image_id < 0], abs(image_id)
        if place >= len(last) or last[place] * _PACKED.size <= self._written:
            return []
        found = [entry for entry, marks, end in self._chain(image_id) if end > self._written and not marks & _KNOWN]
        return found[::-1]

    def has(self, image_id: int, row_id: bytes) -> bool:
        """Whether a row before said the same of it."""
        last, place = self._last[image_id < 0], abs(image_id)
        number = last[place] if place < len(last) else 0
        while number:
            number, found, _, _, _ = _PACKED.unpack_from(self._records, (number - 1) * _PACKED.size)
            if found == row_id:
                return True
        return False

    def knew(self, image_id: int) -> bool:
        """Whether any of it was in the log before this import."""
        return any(marks & _KNOWN for _, marks, _ in self._chain(image_id))

    def agrees(self, image_id: int, label: int) -> bool:
        """Whether all that was said of it is this label, and nothing was overwritten; quicker than `about`."""
        last, place = self._last[image_id < 0], abs(image_id)
        number = last[place] if place < len(last) else 0
        while number:
            number, _, action, said, _ = _PACKED.unpack_from(self._records, (number - 1) * _PACKED.size)
            if said != label or action not in _PLAIN:
                return False
        return True

    def written(self) -> None:
        """The log holds now what was said."""
        self._written = len(self._records)

    def split(self, image_id: int) -> Split | None:
        """The split that a row before named."""
        splits, place = self._splits[image_id < 0], abs(image_id)
        return ORDER[splits[place]] if place < len(splits) else None

    def put_split(self, image_id: int, split: Split) -> None:
        """A row names this split."""
        splits, place = self._splits[image_id < 0], abs(image_id)
        if place >= len(splits):
            splits.extend(bytes(place + 1024 - len(splits)))
        splits[place] = ORDER.index(split)

    def _chain(self, image_id: int) -> Iterator[tuple[Entry, int, int]]:
        """Each record about the image with its marks and where it ends, newest first."""
        last, place = self._last[image_id < 0], abs(image_id)
        number = last[place] if place < len(last) else 0
        while number:
            end = number * _PACKED.size
            number, row_id, action, label, annotator = _PACKED.unpack_from(self._records, end - _PACKED.size)
            known = None if label == _NO_CLASS else label
            yield Entry(row_id, _ACTIONS[action & 0x3F], known, self._names[annotator]), action, end


class ImportPlan:
    """One import. Whoever asks what an image is holds the store's lock; `turn` is held during a post."""

    def __init__(self, post: ImportPost, log: AnnotationLog, tally: Tally, catalog: Catalog, *, adding: bool) -> None:
        self.id = uuid4()
        self.dry_run = post.dry_run
        self.policy: Conflicts = post.conflicts
        self.adding = adding  # whether a class that is not here is added
        self.began = post.began
        self.turn = threading.Lock()
        self.used = monotonic()
        self.said = Said()
        self.spellings = Spellings()
        self.added: dict[int, str] = {}  # classes that it added, or would: id → name
        self._log, self._tally, self._catalog = log, tally, catalog
        self._would_add: dict[str, int] = {}
        self._moves: dict[int, Split] = {}
        self._looked: dict[tuple[Root, str], int | str] = {}  # new file → image that it would be, or why it cannot be
        self._contents: dict[str, int] = {}  # SHA-256 → image that would be new
        self._splits: dict[int, Split] = {}  # where images would be that are new, or back

    # ------------------------------------------------------------ images and splits

    def looked(self, root: Root, uri: str) -> int | str | None:
        """In a dry run: the image that a new file would be, or why it cannot be one; None if nobody looked yet."""
        return self._looked.get((root, uri))

    def take_in(self, root: Root, found: list[Found], wanted: dict[str, Split | None]) -> int:
        """In a dry run: take note of new files and the split that each row names; returns how many would be added."""
        here = self._catalog.with_content({each.inspected.sha256 for each in found if each.inspected is not None})
        before = len(self._contents)
        for each in found:
            self._looked[root, each.uri] = self._new(each, wanted[each.uri], here)
        return len(self._contents) - before

    def _new(self, found: Found, wanted: Split | None, here: dict[str, tuple[int, Split]]) -> int | str:
        if found.inspected is None:
            return found.reason or "cannot be taken"
        sha256 = found.inspected.sha256
        if sha256 in here:
            image_id, split = here[sha256]
            self._splits.setdefault(image_id, split)
            return image_id
        if sha256 not in self._contents:
            if len(self._contents) >= self._catalog.room:
                return self._catalog.full
            self._contents[sha256] = image_id = -1 - len(self._contents)
            self._splits[image_id] = wanted or self._catalog.drawing.split_of(sha256)
        return self._contents[sha256]

    def split(self, image_id: int) -> Split | None:
        """The split that the image is in after the rows so far; None if it was removed."""
        now = self._tally.splits.get(image_id) or self._splits.get(image_id)
        return now and (self.said.split(image_id) or now)

    def move(self, image_id: int, split: Split) -> None:
        """A row says that the image is in this split."""
        if self.split(image_id) != split:
            self._moves[image_id] = split
        self.said.put_split(image_id, split)

    def moves(self) -> dict[Split, list[int]]:
        """The images to move after this post."""
        moves: dict[Split, list[int]] = {}
        for image_id, split in self._moves.items():
            moves.setdefault(split, []).append(image_id)
        self._moves = {}
        return moves

    # ------------------------------------------------------------ classes

    def class_of(self, name: str) -> int | None:
        """The class that goes by `name`, or that a dry run would have added for it."""
        known = self._log.fold.named(name)
        return self._would_add.get(self.spellings.of(name)) if known is None else known

    def would_add(self, name: str) -> int:
        """In a dry run: the class that would be added under this name."""
        return self._would_add.setdefault(name, -1 - len(self._would_add))

    def name(self, class_id: int) -> str:
        """What a class is called."""
        return self.added[class_id] if class_id < 0 else self._log.fold.classes[class_id].name

    # ------------------------------------------------------------ answers

    def now(self, image_id: int, more: Sequence[Entry] = ()) -> tuple[ImageState, Answers]:
        """What the image is after the rows so far and these answers, and who says what."""
        fold, ahead = self._log.fold, [*self.said.pending(image_id), *more]
        if ahead:
            return fold.ahead(image_id, ahead, self._resolve)
        return fold.state(image_id), fold.answers(image_id)

    def state(self, image_id: int) -> ImageState:
        """What the image is after the rows so far."""
        pending = self.said.pending(image_id)
        return self.now(image_id)[0] if pending else self._log.fold.state(image_id)

    def _resolve(self, class_id: int | None) -> int | None:
        return class_id if class_id is not None and class_id < 0 else self._log.fold.resolve(class_id)
