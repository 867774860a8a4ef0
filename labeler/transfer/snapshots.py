"""Named versions of labels and splits.

The log is never rewritten, so a snapshot is a name for a position in it: its content follows from the rows up to there.
Restoring appends rows that undo later answers and repeat undone ones. Classes keep their current state, and images
added after the snapshot lose their answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

from sqlalchemy import select

from labeler.errors import Conflict, Missing
from labeler.images.catalog import Catalog
from labeler.store.annotation_log import AnnotationLog, Draft
from labeler.store.database import Store
from labeler.store.tables import META
from shared.figures import choice
from shared.log import ANSWERS, Fold
from shared.tasks.detection import Boxes
from shared.web import audit
from shared.wire.dataset import Difference, Restored, SnapshotDiff, SnapshotEntry, SnapshotPost
from shared.wire.fields import MAX_ROWS, Split
from shared.wire.log import Row

RESTORE = "restore"
"""The source of rows that restore a snapshot."""
_KEY = "snapshot/"
_NOBODY = UUID(int=0)


class Snapshots:
    """The snapshots of one workspace."""

    def __init__(self, store: Store, log: AnnotationLog, catalog: Catalog) -> None:
        self._store = store
        self._log = log
        self._catalog = catalog

    def entries(self) -> list[SnapshotEntry]:
        """All snapshots, oldest first."""
        with self._store.read() as connection:
            found = connection.execute(select(META.c.value).where(META.c.key.startswith(_KEY, autoescape=True)))
            entries = [SnapshotEntry.model_validate_json(value) for value in found.scalars()]
        return sorted(entries, key=lambda entry: (entry.seq, entry.at))

    def save(self, post: SnapshotPost) -> SnapshotEntry:
        """Name the current state. Raises Conflict if the name is taken."""
        with self._store.lock:
            entry = SnapshotEntry(
                name=post.name, seq=self._log.last_seq, annotator=post.annotator, at=datetime.now(UTC)
            )
            kept = self._store.settled(_KEY + post.name, entry.model_dump_json())
        if SnapshotEntry.model_validate_json(kept) != entry:
            raise Conflict(f"There is already a snapshot {post.name!r}: choose another name.")
        return entry

    def get(self, name: str) -> SnapshotEntry:
        """One snapshot. Raises Missing."""
        found = next((entry for entry in self.entries() if entry.name == name), None)
        if found is None:
            raise Missing(f"There is no snapshot {name!r}. {choice(entry.name for entry in reversed(self.entries()))}")
        return found

    def fold(self, name: str) -> Fold:
        """The log's state at the snapshot. Raises Missing."""
        return Fold(self._rows(self.get(name).seq), self._log.fold.task)

    def diff(self, name: str, other: str | None, limit: int) -> SnapshotDiff:
        """The differences between the snapshot and another one, or the current state. Raises Missing."""
        before = self.fold(name)
        after = self._log.fold if other is None else self.fold(other)
        labels = splits = 0
        differences: list[Difference] = []
        with self._store.lock:
            ids = sorted(before.labels.keys() | after.labels.keys() | before.splits.keys() | after.splits.keys())
            drawn = self._catalog.drawn(ids)
            for image_id in ids:
                label = (_name(before, image_id), _name(after, image_id))
                if label[0] == label[1] and _moved(before, after, image_id):
                    label = (label[0], f"{label[1]}, with other boxes")
                own = drawn.get(image_id)
                split = (before.splits.get(image_id, own), after.splits.get(image_id, own))
                labels += label[0] != label[1]
                splits += split[0] != split[1]
                if (label[0] != label[1] or split[0] != split[1]) and len(differences) < limit:
                    differences.append(Difference(image_id=image_id, label=label, split=split))
        return SnapshotDiff(differences=differences, labels=labels, splits=splits)

    def restore(self, name: str, annotator: str, *, dry_run: bool = False) -> Restored:
        """Restore the snapshot's labels and splits, or only count with `dry_run`. Raises Missing."""
        then = Fold(task=self._log.fold.task)
        stood: dict[int, list[Row]] = {}
        for row in self._rows(self.get(name).seq):  # these rows never change, so this needs no lock
            then.apply(row)
            if row.image_id is not None and (row.action in ANSWERS or row.action == "settle"):
                stood.setdefault(row.image_id, []).append(row)
        with self._store.lock:
            now = self._log.fold
            changed = [
                image_id
                for image_id in sorted(now.images.keys() | stood.keys())
                if set(then.standing(image_id)) != set(now.standing(image_id))
            ]
            answers = self._log.answers_about(changed)
            drafts: list[Draft] = []
            for image_id in changed:
                standing = set(then.standing(image_id))
                brought = [row for row in stood.get(image_id, []) if row.id in standing]
                drafts += _brought_back(image_id, answers.get(image_id, []), brought, annotator, name)
            moves = self._moves(then)
            if not dry_run:
                self._log.append(drafts)
                for split, image_ids in moves.items():
                    self._catalog.move(image_ids, split, annotator=annotator, reason=f"snapshot {name}")
                audit.note("snapshot restored", by=annotator, snapshot=name)
            moved = sum(map(len, moves.values()))
            lost = sum(now.live(then.labels[image_id]) is None for image_id in then.labels.keys() - now.removed)
        undone = sum(draft.action == "undo" for draft in drafts)
        return Restored(undone=undone, repeated=len(drafts) - undone, moved=moved, lost=lost)

    def _moves(self, then: Fold) -> dict[Split, list[int]]:
        moves: dict[Split, list[int]] = {}
        now = self._log.fold
        changed = sorted((then.splits.keys() | now.splits.keys()) - now.removed)
        drawn = self._catalog.drawn(changed)
        for image_id in changed:
            split = then.splits.get(image_id, drawn.get(image_id))
            if split is not None and split != now.splits.get(image_id, drawn.get(image_id)):
                moves.setdefault(split, []).append(image_id)
        return moves

    def _rows(self, seq: int) -> Iterator[Row]:
        after = 0
        while after < seq:
            page = self._log.page(after, min(MAX_ROWS, seq - after)).annotations
            yield from page
            after = page[-1].seq


def _brought_back(image_id: int, now: list[Row], then: list[Row], annotator: str, name: str) -> Iterator[Draft]:
    """Rows that make `then` the image's answers again, in that order; none if they already are."""
    if [_content(row) for row in now] == [_content(row) for row in then]:
        return
    kept = {row.id for row in then}
    kept = kept if kept <= {row.id for row in now} else set()  # undone answers must be repeated, in order
    for row in now:
        if row.id not in kept:
            yield Draft(
                action="undo", image_id=image_id, target=row.id, annotator=annotator, source=RESTORE, reason=name
            )
    for row in then if not kept else []:
        yield replace(_content(row), id=uuid4())


def _content(row: Row) -> Draft:
    """A row's content without its place in the log: rows with equal content are equal."""
    return Draft(
        action=row.action,
        id=_NOBODY,
        image_id=row.image_id,
        label=row.label,
        annotator=row.annotator,
        seconds=row.seconds,
        reason=row.reason,
        note=row.note,
        answer=row.answer,
        source=row.source,
        confidence=row.confidence,
        proposed=row.proposed,
    )


def _moved(before: Fold, after: Fold, image_id: int) -> bool:
    """In a detection project: whether the counts per class are equal, but boxes differ in place."""
    if not before.task.by_box:
        return False
    then, now = (fold.live(fold.labels.get(image_id)) for fold in (before, after))
    return then is not None and now is not None and _placed(then) != _placed(now)


def _placed(boxes: Boxes) -> list[tuple[int, ...]]:
    return sorted((label, *boxes.steps[4 * k : 4 * k + 4]) for k, label in enumerate(boxes.labels))


def _name(fold: Fold, image_id: int) -> str | None:
    """The label in words. In a multi-label project it includes the classes that the image lacks, because an unknown
    class is a different label.
    """
    label = None if image_id in fold.removed else fold.labels.get(image_id)
    text, answer = fold.text(label), fold.shown_answer(label) if fold.task.by_class else None
    lacks = [*map(fold.name_of, answer["no"])] if answer is not None and answer["yes"] else []
    return f"{text} (not {', '.join(lacks)})" if lacks else text
