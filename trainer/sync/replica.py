"""What the trainer holds of the labeler's truth: the annotation log so far, and the catalogue of images.

It is a follower. A batch is taken only when it continues the log without a gap, and is durable before it is
acknowledged; a batch sent twice changes nothing. All of it can be had again from the labeler, so a log that is not
the one followed so far (another workspace, a restored database) sets this file aside and starts at nought: nothing is
merged, nothing guessed. It knows nothing of models; `fold` is what the rows mean, by the same code as the labeler's.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Column, Connection, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlmodel import Field, SQLModel, col

from shared.log import Fold
from shared.storage.database import open_engine, read, write
from shared.wire.evaluation import Evaluation
from shared.wire.images import ImageEntry
from shared.wire.log import AnnotationBatch, AnnotationPage, Row

logger = logging.getLogger(__name__)

KEPT_ASIDE = 3  # copies of logs that were followed before


class LogRow(SQLModel, table=True):
    """One acknowledged row of the annotation log."""

    __tablename__ = "replica_row"
    seq: int = Field(primary_key=True)
    payload: str


class CatalogRow(SQLModel, table=True):
    """One image as of its last known change."""

    __tablename__ = "replica_image"
    id: int = Field(primary_key=True)
    payload: str


class EvaluationRow(SQLModel, table=True):
    """One evaluation, kept here until the labeler has it and afterwards for `GET /evaluations`."""

    __tablename__ = "evaluation"
    number: int | None = Field(default=None, primary_key=True)
    id: str = Field(unique=True)
    payload: str
    published: bool = False


class FactRow(SQLModel, table=True):
    """A single value: `log_id`, `catalog_after`, `labeler`."""

    __tablename__ = "fact"
    key: str = Field(primary_key=True)
    value: object = Field(sa_column=Column(JSON))


TABLES = [SQLModel.metadata.tables[name] for name in ("replica_row", "replica_image", "evaluation", "fact")]


class Gap(Exception):  # noqa: N818 - it is an answer of the protocol, not a failure
    """The batch does not continue what is held; the sender should go on after `acked_seq`."""

    def __init__(self, acked_seq: int) -> None:
        super().__init__(f"Rows up to {acked_seq} are held here; send what comes after them.")
        self.acked_seq = acked_seq


class Replica:
    """A durable copy of the log and the catalogue in `folder`/replica.db. Safe to call from several threads."""

    labeler: str | None  # its address, as it said last

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "replica.db"
        self.lock = threading.RLock()
        self._open()

    @property
    def acked_seq(self) -> int:
        """The last row that is durable here."""
        return self.fold.last_seq

    def accept(self, batch: AnnotationBatch) -> list[Row]:
        """Make the batch durable and part of `fold`; returns the rows that were new.

        Raises Gap when the batch starts beyond what is held, ValueError when its rows are not dense.
        """
        for position, row in enumerate(batch.annotations, start=batch.after_seq + 1):
            if row.seq != position:
                raise ValueError(
                    f"Row {row.seq} stands where row {position} should: the log is dense from after_seq + 1."
                )
        with self.lock:
            if batch.log_id != self.log_id or batch.last_seq < self.acked_seq:
                self._follow(batch.log_id)
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
            self.leader_seq = max(batch.last_seq, self.acked_seq)
            return rows

    def follow_page(self, page: AnnotationPage) -> list[Row]:
        """Take rows that were asked for, instead of sent."""
        batch = AnnotationBatch(
            log_id=page.log_id,
            after_seq=page.annotations[0].seq - 1 if page.annotations else self.acked_seq,
            last_seq=page.last_seq,
            annotations=page.annotations,
            catalog_version=self.catalog_after,
        )
        return self.accept(batch)

    def update_catalog(self, entries: Sequence[ImageEntry], after: int) -> None:
        """Take a page of the catalogue; `after` is where the next page begins."""
        with self.lock:
            with write(self.engine) as connection:
                if entries:
                    statement = upsert(CatalogRow)
                    connection.execute(
                        statement.on_conflict_do_update(
                            index_elements=["id"], set_={"payload": statement.excluded.payload}
                        ),
                        [{"id": entry.id, "payload": entry.model_dump_json()} for entry in entries],
                    )
                _set_fact(connection, "catalog_after", after)
            for entry in entries:
                self._take(entry)
            self.catalog_after = after

    def add_evaluation(self, evaluation: Evaluation) -> None:
        """Keep an evaluation until the labeler has it, and after."""
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
        """The labeler has this evaluation."""
        with write(self.engine) as connection:
            connection.execute(
                update(EvaluationRow).where(col(EvaluationRow.id) == str(evaluation_id)).values(published=True)
            )

    def remember_labeler(self, url: str) -> None:
        """The labeler of this log has this address."""
        with self.lock:
            if url != self.labeler:
                with write(self.engine) as connection:
                    _set_fact(connection, "labeler", url)
                self.labeler = url

    def close(self) -> None:
        """Let go of the file."""
        self.engine.dispose()

    def _open(self) -> None:
        self.engine = open_engine(f"sqlite:///{self.path}")
        SQLModel.metadata.create_all(self.engine, tables=TABLES)
        self.fold = Fold()
        self.catalog: dict[int, ImageEntry] = {}
        self.removed: set[int] = set()  # of the catalogue
        with read(self.engine) as connection:
            pairs = connection.execute(select(col(FactRow.key), col(FactRow.value)))
            facts: dict[str, Any] = {pair.key: pair.value for pair in pairs}
            for payload in connection.scalars(select(col(LogRow.payload)).order_by(col(LogRow.seq))):
                self.fold.apply(Row.model_validate_json(payload))
            for payload in connection.scalars(select(col(CatalogRow.payload))):
                self._take(ImageEntry.model_validate_json(payload))
            evaluations = connection.scalars(select(col(EvaluationRow.payload)).order_by(col(EvaluationRow.number)))
            self.evaluations = [Evaluation.model_validate_json(payload) for payload in evaluations]
        self.log_id: UUID | None = UUID(facts["log_id"]) if "log_id" in facts else None
        self.catalog_after = int(facts.get("catalog_after", 0))
        self.labeler = facts.get("labeler")
        self.leader_seq = self.acked_seq

    def _take(self, entry: ImageEntry) -> None:
        self.catalog[entry.id] = entry
        if entry.removed:
            self.removed.add(entry.id)
        else:
            self.removed.discard(entry.id)

    def _follow(self, log_id: UUID) -> None:
        """Start at nought with another log; what was held is kept beside, in case it was a mistake."""
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
        self.log_id = log_id

    def _prune(self) -> None:
        """Of the copies set aside the newest stay."""
        aside = sorted(self.folder.glob("replica-*.db"), key=lambda file: file.stem.rpartition("-")[2])
        for file in aside[:-KEPT_ASIDE]:
            file.unlink(missing_ok=True)

    def forget_catalog(self) -> None:
        """Read the catalogue from its start again."""
        with self.lock:
            with write(self.engine) as connection:
                connection.execute(delete(CatalogRow))
                _set_fact(connection, "catalog_after", 0)
            self.catalog, self.removed, self.catalog_after = {}, set(), 0


def _set_fact(connection: Connection, key: str, value: object) -> None:
    statement = upsert(FactRow).values(key=key, value=value)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["key"], set_={"value": statement.excluded.value})
    )
