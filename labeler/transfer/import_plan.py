"""One import, in one or many posts: the state when it began, and all its rows so far.

Each row is judged by the log and by the rows before it, no matter how the rows are divided into posts. So a dry run,
which writes nothing, has the same result as the import. The rows are packed, 33 bytes per answer and 5 per image, so
that a million rows take little memory.

In a dry run, a class or image that would be added has a negative id. This module knows nothing about files or HTTP.
"""

from __future__ import annotations

import struct
import threading
from array import array
from collections.abc import Container, Iterator, Sequence
from time import monotonic
from uuid import uuid4

from labeler.images.catalog import Catalog
from labeler.images.file_registry import Found, Root
from labeler.store.annotation_log import AnnotationLog
from labeler.store.counts import Counts
from shared.class_names import Spellings, key
from shared.log import Entry, ImageState
from shared.tasks.task import Interned, Value
from shared.wire.fields import Split
from shared.wire.imports import Conflicts, ImportPost, ImportRow, NamedAnswer, NamedClasses

ORDER: tuple[Split | None, ...] = (None, "train", "validation", "test")
"""If one import names two splits for an image, the later one in this order wins, so that no test image is used for
training.
"""
Answers = dict[str, tuple[str, int | None]]

_PACKED = struct.Struct("<I16sBiI")  # the image's previous record, id, action with marks, numbers of value, annotator
_ACTIONS = ("label", "skip", "flag", "settle")
_KNOWN, _OVERWRITES = 0x80, 0x40  # marks: already in the log; replaces an answer given here
_PLAIN = (0, _KNOWN)  # a label that overwrites nothing


class Said:
    """The answers that one import has given, by image, in the order of its rows."""

    def __init__(self) -> None:
        self._last = (array("I"), array("I"))  # image → its last record; for existing and for new images
        self._splits = (bytearray(), bytearray())
        self._records = bytearray()
        self._values = Interned()
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._written = 0  # bytes of records that are now in the log

    def add(self, image_id: int, entry: Entry, *, known: bool = False, overwrites: bool = False) -> None:
        """Record an answer for the image. `known`: the log already had it. `overwrites`: it replaces an answer given
        here.
        """
        number = self._numbers.setdefault(entry.annotator, len(self._names))
        if number == len(self._names):
            self._names.append(entry.annotator)
        last, place = self._last[image_id < 0], abs(image_id)
        if place >= len(last):
            last.extend([0] * (place + 1024 - len(last)))
        action = _ACTIONS.index(entry.action) | _KNOWN * known | _OVERWRITES * overwrites
        self._records += _PACKED.pack(last[place], entry.id, action, self._values.number(entry.value), number)
        last[place] = len(self._records) // _PACKED.size

    def about(self, image_id: int) -> list[tuple[Entry, bool]]:
        """The answers for the image, oldest first, each with whether it overwrote an answer."""
        return [(entry, bool(marks & _OVERWRITES)) for entry, marks, _ in reversed([*self._chain(image_id)])]

    def pending(self, image_id: int) -> list[Entry]:
        """The answers for the image that are not in the log yet, oldest first."""
        last, place = self._last[image_id < 0], abs(image_id)
        if place >= len(last) or last[place] * _PACKED.size <= self._written:
            return []
        found = [entry for entry, marks, end in self._chain(image_id) if end > self._written and not marks & _KNOWN]
        return found[::-1]

    def has(self, image_id: int, row_id: bytes) -> bool:
        """Whether an earlier row gave the same answer."""
        last, place = self._last[image_id < 0], abs(image_id)
        number = last[place] if place < len(last) else 0
        while number:
            number, found, _, _, _ = _PACKED.unpack_from(self._records, (number - 1) * _PACKED.size)
            if found == row_id:
                return True
        return False

    def knew(self, image_id: int) -> bool:
        """Whether any of its answers was in the log before this import."""
        return any(marks & _KNOWN for _, marks, _ in self._chain(image_id))

    def agrees(self, image_id: int, value: Value) -> bool:
        """Whether all answers for the image are this label and nothing was overwritten. Faster than `about`."""
        last, place = self._last[image_id < 0], abs(image_id)
        number = last[place] if place < len(last) else 0
        wanted = self._values.number(value)
        while number:
            number, _, action, said, _ = _PACKED.unpack_from(self._records, (number - 1) * _PACKED.size)
            if said != wanted or action not in _PLAIN:
                return False
        return True

    def written(self) -> None:
        """Mark all answers so far as being in the log."""
        self._written = len(self._records)

    def split(self, image_id: int) -> Split | None:
        """The split that an earlier row gave the image."""
        splits, place = self._splits[image_id < 0], abs(image_id)
        return ORDER[splits[place]] if place < len(splits) else None

    def put_split(self, image_id: int, split: Split) -> None:
        """Record that a row gives the image this split."""
        splits, place = self._splits[image_id < 0], abs(image_id)
        if place >= len(splits):
            splits.extend(bytes(place + 1024 - len(splits)))
        splits[place] = ORDER.index(split)

    def _chain(self, image_id: int) -> Iterator[tuple[Entry, int, int]]:
        """Each record of the image with its marks and its end, newest first."""
        last, place = self._last[image_id < 0], abs(image_id)
        number = last[place] if place < len(last) else 0
        while number:
            end = number * _PACKED.size
            number, row_id, action, value, annotator = _PACKED.unpack_from(self._records, end - _PACKED.size)
            yield Entry(row_id, _ACTIONS[action & 0x3F], self._values.value(value), self._names[annotator]), action, end


class ImportPlan:
    """One import. Callers hold the store's lock to ask for an image's state; `turn` is held during a post."""

    def __init__(self, post: ImportPost, log: AnnotationLog, tally: Counts, catalog: Catalog, *, adding: bool) -> None:
        self.id = uuid4()
        self.dry_run = post.dry_run
        self.policy: Conflicts = post.conflicts
        self.adding = adding  # whether unknown classes are added
        self.began = post.began
        self._vocabulary = {key(name): name for name in post.vocabulary}
        self.turn = threading.Lock()
        self.used = monotonic()
        self.said = Said()
        self.spellings = Spellings()
        self.added: dict[int, str] = {}  # classes added, or to be added: id → name
        self._log, self._tally, self._catalog = log, tally, catalog
        self._would_add: dict[str, int] = {}
        self._moves: dict[int, Split] = {}
        self._looked: dict[tuple[Root, str], int | str] = {}  # new file → its future image, or why it cannot become one
        self._contents: dict[str, int] = {}  # SHA-256 → future image
        self._sizes: dict[int, tuple[int, int]] = {}  # width and height of future images
        self._splits: dict[int, Split] = {}  # splits of images that would be added or restored

    # ------------------------------------------------------------ images and splits

    def looked(self, root: Root, uri: str) -> int | str | None:
        """In a dry run: the image that a new file would become, or why it cannot; None if it was not checked yet."""
        return self._looked.get((root, uri))

    def take_in(self, root: Root, found: list[Found], wanted: dict[str, Split | None]) -> int:
        """In a dry run: record new files and the split in each row; returns how many images would be added."""
        here = self._catalog.with_content({each.inspected.sha256 for each in found if each.inspected is not None})
        before = len(self._contents)
        for each in found:
            self._looked[root, each.uri] = self._new(each, wanted[each.uri], here)
        return len(self._contents) - before

    def _new(self, found: Found, wanted: Split | None, here: dict[str, tuple[int, Split]]) -> int | str:
        if found.inspected is None:
            return found.reason or "cannot be used"
        sha256 = found.inspected.sha256
        if sha256 in here:
            image_id, split = here[sha256]
            self._splits.setdefault(image_id, split)
            return image_id
        if sha256 not in self._contents:
            if len(self._contents) >= self._catalog.room:
                return self._catalog.full
            self._contents[sha256] = image_id = -1 - len(self._contents)
            self._sizes[image_id] = found.inspected.width, found.inspected.height
            self._splits[image_id] = wanted or self._catalog.drawing.split_of(sha256)
        return self._contents[sha256]

    def split(self, image_id: int) -> Split | None:
        """The split of the image after the rows so far; None if it was removed."""
        now = self._tally.splits.get(image_id) or self._splits.get(image_id)
        return now and (self.said.split(image_id) or now)

    def size(self, image_id: int) -> tuple[int, int] | None:
        """In a dry run: width and height of an image that would be added."""
        return self._sizes.get(image_id)

    def move(self, image_id: int, split: Split) -> None:
        """Record that a row puts the image in this split."""
        if self.split(image_id) != split:
            self._moves[image_id] = split
        self.said.put_split(image_id, split)

    def moves(self, answered: Container[int], *, last: bool) -> dict[Split, list[int]]:
        """The images to move with this post, by split. `answered` get their first answer with it.

        A held-out image that would become less held out waits for the `last` post, because a later row may name its
        current split. Otherwise it would leave and come back with each import of the file. An image that gets its first
        answer does not wait: if the import ended early, it would count as a labeled test image.
        """
        moves: dict[Split, list[int]] = {}
        waiting: dict[int, Split] = {}
        for image_id, split in self._moves.items():
            now = self._tally.splits.get(image_id)
            if last or image_id in answered or ORDER.index(split) > ORDER.index(now):
                moves.setdefault(split, []).append(image_id)
            elif split != now:
                waiting[image_id] = split
        self._moves = waiting
        return moves

    # ------------------------------------------------------------ classes

    def completed(self, rows: Sequence[ImportRow]) -> list[ImportRow]:
        """The rows, completed with a no to each class of the file where they mean that; see `NamedClasses`."""
        full: dict[NamedClasses, NamedClasses] = {}

        def complete(answer: NamedAnswer | None) -> NamedAnswer | None:
            if not isinstance(answer, NamedClasses) or not answer.rest:
                return answer
            if answer not in full:
                named = {key(name) for name in (*answer.yes, *answer.no)}
                rest = tuple(name for each, name in self._vocabulary.items() if each not in named)
                full[answer] = NamedClasses.model_construct(yes=answer.yes, no=answer.no + rest, rest=False)
            return full[answer]

        def whole(row: ImportRow) -> ImportRow:
            if row.answer is None and not any(each.answer is not None for each in row.answers):
                return row
            answers = [each.model_copy(update={"answer": complete(each.answer)}) for each in row.answers]
            return row.model_copy(update={"answer": complete(row.answer), "answers": answers})

        return [whole(row) for row in rows]

    def class_of(self, name: str) -> int | None:
        """The class with this name, or the one that a dry run would have added for it."""
        known = self._log.fold.named(name)
        return self._would_add.get(self.spellings.of(name)) if known is None else known

    def would_add(self, name: str) -> int:
        """In a dry run: the class that would be added with this name."""
        return self._would_add.setdefault(name, -1 - len(self._would_add))

    def text(self, value: Value) -> str:
        """A value of the task in words."""
        return self._log.fold.task.text(value, self.name)

    def name(self, class_id: int) -> str:
        """The name of a class."""
        return self.added[class_id] if class_id < 0 else self._log.fold.classes[class_id].name

    # ------------------------------------------------------------ answers

    def now(self, image_id: int, more: Sequence[Entry] = ()) -> tuple[ImageState, Answers]:
        """The image's state after the rows so far and these answers, and the answers by annotator."""
        fold, ahead = self._log.fold, [*self.said.pending(image_id), *more]
        if ahead:
            return fold.ahead(image_id, ahead, self._resolve)
        return fold.state(image_id), fold.answers(image_id)

    def state(self, image_id: int) -> ImageState:
        """The image's state after the rows so far."""
        pending = self.said.pending(image_id)
        return self.now(image_id)[0] if pending else self._log.fold.state(image_id)

    def _resolve(self, class_id: int | None) -> int | None:
        return class_id if class_id is not None and class_id < 0 else self._log.fold.resolve(class_id)
