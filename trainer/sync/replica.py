"""The trainer's durable copy of the labeler's data: the annotation log so far, and the catalogue of images.

The trainer is a follower. It takes a batch only if it continues the log without a gap, and makes it durable before
acknowledging it. A batch sent twice changes nothing. Everything can be fetched from the labeler again. So if the
labeler has another log (another workspace, a restored database), this file is set aside and the copy starts empty:
nothing is merged or guessed. The replica knows no models; `fold` interprets the rows with the labeler's own code.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Column, Connection, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlmodel import Field, SQLModel, col

from shared.log import Fold
from shared.storage.database import open_engine, read, write
from shared.tasks.classification import CLASSIFICATION
from shared.tasks.registry import task_named
from shared.tasks.task import Task
from shared.wire.evaluation import Evaluation
from shared.wire.images import ImageEntry
from shared.wire.log import AnnotationBatch, AnnotationPage, Row
from trainer.columns.hash_index import as_text
from trainer.sync.catalog import Catalog

logger = logging.getLogger(__name__)

KEPT_ASIDE = 3  # copies of logs that were followed before


class LogRow(SQLModel, table=True):
    """One acknowledged row of the annotation log."""

    __tablename__ = "replica_row"
    seq: int = Field(primary_key=True)
    payload: str


class EvaluationRow(SQLModel, table=True):
    """One evaluation, kept until the labeler has it, and then for `GET /evaluations`."""

    __tablename__ = "evaluation"
    number: int | None = Field(default=None, primary_key=True)
    id: str = Field(unique=True)
    payload: str
    published: bool = False


class FactRow(SQLModel, table=True):
    """A single value: `log_id`, `task`, `catalog_after`, `labeler`, `test_at_random`, `test_order`, `test_chances`."""

    __tablename__ = "fact"
    key: str = Field(primary_key=True)
    value: object = Field(sa_column=Column(JSON))


TABLES = [SQLModel.metadata.tables[name] for name in ("replica_row", "replica_entry", "evaluation", "fact")]


class Gap(Exception):  # noqa: N818 - it is an answer of the protocol, not a failure
    """The batch does not continue the log. The sender should continue after `acked_seq`."""

    def __init__(self, acked_seq: int) -> None:
        super().__init__(f"The trainer has rows up to {acked_seq}; send the rows after that.")
        self.acked_seq = acked_seq


class Replica:
    """A durable copy of log and catalogue in `folder`/replica.db. Thread-safe."""

    labeler: str | None  # its address, as reported last
    test_at_random: bool  # whether the test images asked so far are a random sample of all, as reported last
    test_order: str  # random or active, as reported last
    test_chances: dict[int, float]  # asked test image → its probability of being asked; empty: equal

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "replica.db"
        self.lock = threading.RLock()
        self.copies = 0  # begun since the start: each is of another log, or of one that was set back
        self._open()

    @property
    def acked_seq(self) -> int:
        """The number of the last durable row."""
        return self.fold.last_seq

    def accept(self, batch: AnnotationBatch) -> list[Row]:
        """Make the batch durable and apply it to `fold`; returns the new rows.

        Raises Gap if the batch starts beyond the last row here, and ValueError if its rows are not consecutive or its
        task is unknown.
        """
        for position, row in enumerate(batch.annotations, start=batch.after_seq + 1):
            if row.seq != position:
                raise ValueError(
                    f"Found row {row.seq} where row {position} belongs: rows must be consecutive from after_seq + 1."
                )
        task = task_named(batch.task)
        with self.lock:
            if batch.log_id != self.log_id or batch.last_seq < self.acked_seq or self._contradicts(batch):
                self._follow(batch.log_id, task)
            if batch.after_seq > self.acked_seq:
                raise Gap(self.acked_seq)
            rows = [row for row in batch.annotations if row.seq > self.acked_seq]
            if rows:
                with write(self.engine) as connection:
                    connection.execute(
                        insert(LogRow), [{"seq": row.seq, "payload": row.model_dump_json()} for row in rows]
                    )
                for row in rows:
                    self.fold.apply(row)
            if batch.test_at_random is not None:
                chances = {each.image_id: each.chance for each in batch.test_chances}
                self._learn_of_tests(batch.test_at_random, batch.test_order, chances)
            self.leader_seq = max(batch.last_seq, self.acked_seq)
            return rows

    def follow_page(self, page: AnnotationPage) -> list[Row]:
        """Accept rows that the trainer requested."""
        batch = AnnotationBatch(
            log_id=page.log_id,
            after_seq=page.annotations[0].seq - 1 if page.annotations else self.acked_seq,
            last_seq=page.last_seq,
            annotations=page.annotations,
            task=page.task,
            catalog_version=self.catalog_after,
        )
        return self.accept(batch)

    def update_catalog(self, entries: Sequence[ImageEntry], after: int) -> None:
        """Store a page of the catalogue; the next page begins at `after`."""
        with self.lock:
            with write(self.engine) as connection:
                self.catalog.store(connection, entries)
                _set_fact(connection, "catalog_after", after)
            self.catalog.take(entries)
            self.catalog_after = after

    def removed(self) -> set[int]:
        """The removed images, according to the log or the catalogue.

        Both say the same in the end, but either may come first. An image is back once both have it again.
        """
        with self.lock:
            return self.fold.removed | self.catalog.removed

    def hash_of(self, image_id: int) -> str | None:
        """The content hash of an image that is not gone. From memory: a round asks for hundreds."""
        with self.lock:
            place = self.catalog.places.get(image_id)
            if place is None or image_id in self.fold.removed or image_id in self.catalog.removed:
                return None
            return as_text(self.catalog.hashes[place : place + 1])[0]

    def images(self, image_ids: Sequence[int] | None = None) -> list[ImageEntry]:
        """The existing images of the catalogue, or those among the given ones, each with its current split."""
        with self.lock:
            removed, splits = self.removed(), self.fold.splits
            entries = self.catalog.entries() if image_ids is None else self.catalog.some(image_ids)
            return [
                entry.model_copy(update={"split": splits[entry.id]}) if entry.id in splits else entry
                for entry in entries
                if entry.id not in removed
            ]

    @property
    def image_count(self) -> int:
        """The number of existing images."""
        with self.lock:
            return len(self.catalog) - sum(map(self.catalog.__contains__, self.removed()))

    def add_evaluation(self, evaluation: Evaluation) -> None:
        """Store an evaluation, for the labeler and for later."""
        with self.lock:
            with write(self.engine) as connection:
                connection.execute(
                    insert(EvaluationRow), [{"id": str(evaluation.id), "payload": evaluation.model_dump_json()}]
                )
            self.evaluations.append(evaluation)

    def unpublished(self) -> list[Evaluation]:
        """Evaluations that the labeler has not confirmed, oldest first."""
        with read(self.engine) as connection:
            query = select(col(EvaluationRow.payload)).where(col(EvaluationRow.published).is_(False))
            found = connection.scalars(query.order_by(col(EvaluationRow.number)))
            return [Evaluation.model_validate_json(payload) for payload in found]

    def mark_published(self, evaluation_id: UUID) -> None:
        """Record that the labeler has this evaluation."""
        with write(self.engine) as connection:
            connection.execute(
                update(EvaluationRow).where(col(EvaluationRow.id) == str(evaluation_id)).values(published=True)
            )

    def remember_labeler(self, url: str) -> None:
        """Record the address of the labeler of this log."""
        with self.lock:
            if url != self.labeler:
                with write(self.engine) as connection:
                    _set_fact(connection, "labeler", url)
                self.labeler = url

    def close(self) -> None:
        """Close the database."""
        self.engine.dispose()

    def _open(self) -> None:
        self.engine = open_engine(f"sqlite:///{self.path}")
        SQLModel.metadata.create_all(self.engine, tables=TABLES)
        self.catalog = Catalog(self.engine)
        with read(self.engine) as connection:
            pairs = connection.execute(select(col(FactRow.key), col(FactRow.value)))
            facts: dict[str, Any] = {pair.key: pair.value for pair in pairs}
            self.fold = Fold(task=task_named(facts.get("task", CLASSIFICATION.name)))
            for payload in connection.scalars(select(col(LogRow.payload)).order_by(col(LogRow.seq))):
                self.fold.apply(Row.model_validate_json(payload))
            evaluations = connection.scalars(select(col(EvaluationRow.payload)).order_by(col(EvaluationRow.number)))
            self.evaluations = [Evaluation.model_validate_json(payload) for payload in evaluations]
        self.log_id: UUID | None = UUID(facts["log_id"]) if "log_id" in facts else None
        self.catalog_after = int(facts.get("catalog_after", 0))
        self.labeler = facts.get("labeler")
        self.test_at_random = bool(facts.get("test_at_random"))
        self.test_order = facts.get("test_order", "random")
        self.test_chances = {int(key): chance for key, chance in facts.get("test_chances", {}).items()}
        self.leader_seq = self.acked_seq

    def _learn_of_tests(self, at_random: bool, order: str, chances: dict[int, float]) -> None:
        if (at_random, order, chances) == (self.test_at_random, self.test_order, self.test_chances):
            return
        with write(self.engine) as connection:
            _set_fact(connection, "test_at_random", at_random)
            _set_fact(connection, "test_order", order)
            _set_fact(connection, "test_chances", {str(image_id): chance for image_id, chance in chances.items()})
        self.test_at_random, self.test_order, self.test_chances = at_random, order, chances

    def _contradicts(self, batch: AnnotationBatch) -> bool:
        """Whether the row before the batch is another one here: an older copy of the labeler's database was put back by
        hand, and has grown past what this copy has."""
        if batch.after_id is None or not 0 < batch.after_seq <= self.acked_seq:
            return False
        with read(self.engine) as connection:
            payload = connection.scalar(select(col(LogRow.payload)).where(col(LogRow.seq) == batch.after_seq))
        return payload is not None and Row.model_validate_json(payload).id != batch.after_id

    def _follow(self, log_id: UUID, task: Task) -> None:
        """Start an empty copy for another log; the old copy is set aside in case this was a mistake."""
        if self.log_id is not None:
            aside = self.folder / f"replica-{self.log_id}-{time.time_ns()}.db"
            logger.warning("The labeler has another log: the replica of %s is set aside as %s", self.log_id, aside.name)
            with self.engine.connect() as connection:
                connection.exec_driver_sql("ROLLBACK")
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
                connection.exec_driver_sql("BEGIN")
            self.engine.dispose()
            self.path.replace(aside)
            self._prune()
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            self._open()
        with write(self.engine) as connection:
            _set_fact(connection, "log_id", str(log_id))
            _set_fact(connection, "task", task.name)
        self.log_id = log_id
        self.fold = Fold(task=task)
        self.copies += 1

    def _prune(self) -> None:
        """Delete all but the newest copies that were set aside."""
        aside = sorted(self.folder.glob("replica-*.db"), key=lambda file: file.stem.rpartition("-")[2])
        for file in aside[:-KEPT_ASIDE]:
            file.unlink(missing_ok=True)

    def forget_catalog(self) -> None:
        """Forget the catalogue, so that it is read from the start again."""
        with self.lock:
            with write(self.engine) as connection:
                self.catalog.forget(connection)
                _set_fact(connection, "catalog_after", 0)
            self.catalog, self.catalog_after = Catalog(self.engine), 0


def _set_fact(connection: Connection, key: str, value: object) -> None:
    statement = upsert(FactRow).values(key=key, value=value)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["key"], set_={"value": statement.excluded.value})
    )
