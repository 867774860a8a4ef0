"""The annotation log: rows that never change, and their fold in memory.

`append` gives each row the next `seq` under the writer lock, commits, and only then updates the fold and calls the
listeners, so that nothing is answered or sent that is not on disk. It accepts any rows; `labeling.answers` and
`labeling.classes` decide which ones are valid.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, RowMapping, select

from labeler.store.database import Store
from labeler.store.tables import LOG
from shared.log import ANSWERS, IMPORT, Fold
from shared.tasks.classification import CLASSIFICATION
from shared.tasks.task import Task
from shared.web.parts import parts, text_length
from shared.wire.fields import MAX_ROWS, Split
from shared.wire.log import Action, AnnotationPage, AnsweringPage, Row
from shared.wire.review import ACCEPTED, REVIEW

UNDO_DEPTH = 1_000
"""Maximum number of steps per annotator that can be undone."""
GRID = "grid"
"""The source of answers for many images at once. Those of one post are one step."""
_TOGETHER = frozenset({GRID, ACCEPTED})
_PAGES: dict[str, AnsweringPage] = {GRID: "grid", REVIEW: "review", ACCEPTED: "review"}
_CHUNK = 500  # ids in one SQL statement
_AT_ONCE = 500  # rows in memory while the log is read: an answer may have a thousand boxes
_ROW_BYTES = 600  # size of a row in a message, without its texts


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A row before it has its `seq`; see `shared.wire.log.Row` for the fields."""

    action: Action
    id: UUID = field(default_factory=uuid4)
    image_id: int | None = None
    label: int | None = None
    name: str | None = None
    into: int | None = None
    split: Split | None = None
    annotator: str = ""
    seconds: float | None = None
    query_version: int | None = None
    target: UUID | None = None
    reason: str | None = None
    note: str | None = None
    answer: Any = None
    batch: UUID | None = None
    source: str | None = None
    confidence: float | None = None
    proposed: int | None = None
    created_at: datetime | None = None  # import: when it was given; None means now


Step = list[tuple[UUID, int]]
"""Answers that are undone together: the row id and image of each."""


@dataclass(frozen=True, slots=True)
class _Step:
    answers: Step
    page: AnsweringPage


_FIELDS = tuple(each.name for each in fields(Draft))
Listener = Callable[[Sequence[Row], set[int]], None]


class AnnotationLog:
    """The log of one workspace. `fold` is its state; read and change both under the store's lock."""

    def __init__(self, store: Store, task: Task = CLASSIFICATION) -> None:
        self._store = store
        self._listeners: list[Listener] = []
        self._steps: dict[str, deque[_Step]] = defaultdict(lambda: deque(maxlen=UNDO_DEPTH))
        self._batches: dict[str, object] = {}  # annotator → key of their last answers to many images
        self.log_id = UUID(store.settled("log_id", str(uuid4())))
        self.fold = Fold(task=task)

    @property
    def last_seq(self) -> int:
        """The `seq` of the last row; 0 if there are none."""
        return self.fold.last_seq

    def load(self, observe: Callable[[Row], None]) -> None:
        """Read the log from disk, once, before any other call. `observe` gets each row before the fold does."""
        with self._store.lock, self._store.read() as connection:
            for row in _rows(connection):
                observe(row)
                self.fold.apply(row)
                self._remember(row)

    def listen(self, listener: Listener) -> None:
        """Call `listener(rows, changed image ids)` after each append, under the lock."""
        self._listeners.append(listener)

    def append(self, drafts: Sequence[Draft]) -> list[Row]:
        """Write all rows or none; returns them as written."""
        if not drafts:
            return []
        with self._store.lock:
            now = datetime.now(UTC)
            rows = [
                Row(seq=seq, **{"created_at": now} | _content(draft))
                for seq, draft in enumerate(drafts, start=self.last_seq + 1)
            ]
            with self._store.write() as connection:
                connection.execute(LOG.insert(), [row.model_dump() for row in rows])
            changed: set[int] = set()
            for row in rows:
                changed |= self.fold.apply(row)
                self._remember(row)
            for listener in self._listeners:
                listener(rows, changed)
            return rows

    def page(self, after: int, limit: int) -> AnnotationPage:
        """Up to `limit` rows after `after`, in order. Fewer if they are long, so that they fit one request."""
        with self._store.read() as connection, closing(_rows(connection, after=after, limit=limit)) as found:
            rows = next(parts(found, _length, most=limit), [])
        end = max(self.last_seq, after + len(rows))
        return AnnotationPage(log_id=self.log_id, task=self.fold.task.name, annotations=rows, last_seq=end)

    def id_at(self, seq: int) -> UUID | None:
        """The id of a row; None if there is no such row."""
        with self._store.read() as connection:
            return connection.execute(select(LOG.c.id).where(LOG.c.seq == seq)).scalar()

    def find(self, ids: Collection[UUID]) -> dict[UUID, Row]:
        """The rows with these ids that exist."""
        wanted = list(ids)
        found: dict[UUID, Row] = {}
        with self._store.read() as connection:
            for start in range(0, len(wanted), _CHUNK):
                statement = select(LOG).where(LOG.c.id.in_(wanted[start : start + _CHUNK]))
                found |= {row["id"]: _row(row) for row in connection.execute(statement).mappings()}
        return found

    def known(self, ids: Sequence[UUID]) -> set[UUID]:
        """The ids among `ids` that exist, without their rows."""
        known: set[UUID] = set()
        with self._store.read() as connection:
            for start in range(0, len(ids), _CHUNK):
                statement = select(LOG.c.id).where(LOG.c.id.in_(ids[start : start + _CHUNK]))
                known.update(connection.execute(statement).scalars())
        return known

    def answers_about(self, image_ids: Collection[int]) -> dict[int, list[Row]]:
        """The answers in force for each image, oldest first."""
        found = self.rows_about(image_ids)
        with self._store.lock:
            standing = {image_id: set(self.fold.standing(image_id)) for image_id in found}
        return {image_id: [row for row in rows if row.id in standing[image_id]] for image_id, rows in found.items()}

    def rows_about(self, image_ids: Collection[int]) -> dict[int, list[Row]]:
        """All rows about each image, oldest first, including undone ones."""
        wanted = list(image_ids)
        found: dict[int, list[Row]] = {}
        with self._store.read() as connection:
            for start in range(0, len(wanted), _CHUNK):
                statement = select(LOG).where(LOG.c.image_id.in_(wanted[start : start + _CHUNK])).order_by(LOG.c.seq)
                for row in map(_row, connection.execute(statement).mappings()):
                    if row.image_id is not None:
                        found.setdefault(row.image_id, []).append(row)
        return found

    def latest(self, action: Action, limit: int) -> list[Row]:
        """The newest rows with this action, newest first, including undone ones."""
        statement = select(LOG).where(LOG.c.action == action).order_by(LOG.c.seq.desc()).limit(limit)
        with self._store.read() as connection:
            return [_row(row) for row in connection.execute(statement).mappings()]

    def answered_since(self, seq: int, image_ids: Collection[int]) -> dict[int, dict[str, int]]:
        """Image → annotator → `seq` of their newest row about it after `seq`, including undone ones."""
        wanted = list(image_ids)
        found: dict[int, dict[str, int]] = {}
        with self._store.read() as connection:
            for start in range(0, len(wanted), _CHUNK):
                statement = select(LOG.c.image_id, LOG.c.annotator, LOG.c.seq).where(
                    LOG.c.image_id.in_(wanted[start : start + _CHUNK]), LOG.c.seq > seq
                )
                for image_id, annotator, at in connection.execute(statement.order_by(LOG.c.seq)):
                    found.setdefault(image_id, {})[annotator] = at
        return found

    def last_step(self, annotator: str, page: AnsweringPage | None = None) -> tuple[Step, AnsweringPage]:
        """The annotator's newest step, overall or on one page: its answers in force, and its page. Empty if there is
        none.
        """
        steps = self._steps[annotator]
        while steps and not self._standing(steps[-1].answers):
            steps.pop()
        for step in reversed(steps):
            if page in (None, step.page) and (standing := self._standing(step.answers)):
                return standing, step.page
        return [], page or "label"

    def step_of(self, annotator: str, row_id: UUID) -> Step:
        """The step of an answer: its answers in force."""
        steps = (step.answers for step in self._steps[annotator] if any(row_id == each for each, _ in step.answers))
        return self._standing(next(steps, []))

    def written_with(self, row: Row) -> list[Row]:
        """The rows of the same request as `row`, from that row on."""
        batch = _batch(row)
        with self._store.read() as connection:
            return [each for each in _rows(connection, after=row.seq - 1, limit=MAX_ROWS) if _batch(each) == batch]

    def _standing(self, step: Step) -> Step:
        fold = self.fold
        return [
            (row_id, image_id)
            for row_id, image_id in step
            if image_id not in fold.removed and row_id in fold.standing(image_id)
        ]

    def _remember(self, row: Row) -> None:
        if row.image_id is None or row.source == IMPORT or not (row.action in ANSWERS or row.action == "settle"):
            return
        steps = self._steps[row.annotator]
        together = row.source in _TOGETHER and self._batches.get(row.annotator) == _batch(row)
        if together and steps:
            steps[-1].answers.append((row.id, row.image_id))
        else:
            steps.append(_Step([(row.id, row.image_id)], _PAGES.get(row.source or "", "label")))
        if row.source in _TOGETHER:
            self._batches[row.annotator] = _batch(row)


def _length(row: Row) -> int:
    """Approximate bytes of a row in a message."""
    answer = 0 if row.answer is None else len(json.dumps(row.answer))
    return _ROW_BYTES + text_length(row.name, row.annotator, row.reason, row.note, row.source) + answer


def _batch(row: Row) -> object:
    """A key shared by the rows of one request. Rows of earlier versions have no batch id, but share their time."""
    return row.batch or row.created_at


def _content(draft: Draft) -> dict[str, Any]:
    return {name: value for name in _FIELDS if (value := getattr(draft, name)) is not None}


def _rows(connection: Connection, *, after: int = 0, limit: int | None = None) -> Generator[Row, None, None]:
    """Yield rows in order. Close the generator if not all are read, because a server keeps a cursor for them."""
    statement = select(LOG).where(LOG.c.seq > after).order_by(LOG.c.seq).limit(limit)
    with closing(connection.execute(statement.execution_options(yield_per=_AT_ONCE))) as found:
        yield from map(_row, found.mappings())


def _row(stored: RowMapping) -> Row:
    return Row.model_validate(dict(stored))
