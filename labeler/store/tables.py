"""The tables of the labeler's database, one SQLModel class each.

`annotation` is the log and the only source of truth about labels; `query` is the current order. The tables have their
own metadata, so that the trainer's replica can choose its table names freely. Changing a table requires a new revision
in `migrations`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Table, TypeDecorator, UniqueConstraint
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class UtcTime(TypeDecorator[datetime]):
    """A point in time, in UTC. SQLite does not store the zone, so reading adds it."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class LabelerTable(SQLModel, registry=registry()):
    """Base of all tables here."""


class Meta(LabelerTable, table=True):
    """Values fixed for the workspace: its log_id, the salt and the shares of the splits."""

    __tablename__ = "meta"

    key: str = Field(primary_key=True)
    value: str


class Image(LabelerTable, table=True):
    """One content, wherever its file is. `split` is the drawn one; the log may have changed it since."""

    __tablename__ = "image"

    id: int = Field(primary_key=True)
    root: str  # the folder to which `uri` is relative: images, test or uploads
    uri: str
    sha256: str = Field(unique=True)
    width: int
    height: int
    format: str
    split: str
    place: float  # salted hash in [0, 1): decides the split, and orders images that no list names
    changed: int = Field(index=True)  # the catalogue's version at the last change


class File(LabelerTable, table=True):
    """One file. Several files may contain one image (duplicates). A file with a `reason` was rejected."""

    __tablename__ = "file"
    __table_args__ = (UniqueConstraint("root", "uri"),)

    id: int = Field(primary_key=True)
    root: str
    uri: str
    size: int = Field(sa_type=BigInteger)
    mtime_ns: int = Field(sa_type=BigInteger)
    image_id: int | None = Field(default=None, foreign_key="image.id", index=True)
    reason: str | None = Field(default=None, index=True)


class LogRow(LabelerTable, table=True):
    """A stored `shared.wire.log.Row`."""

    __tablename__ = "annotation"

    seq: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    id: UUID = Field(unique=True)
    action: str
    image_id: int | None = Field(default=None, index=True)
    label: int | None = None
    name: str | None = None
    into: int | None = None
    split: str | None = None
    annotator: str = ""
    seconds: float | None = None
    query_version: int | None = None
    target: UUID | None = None
    reason: str | None = None
    note: str | None = None
    answer: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)
    batch: UUID | None = None
    source: str | None = None
    confidence: float | None = None
    proposed: int | None = None
    created_at: datetime = Field(sa_type=UtcTime)


class ClassLook(LabelerTable, table=True):
    """The appearance of a class on the pages, see `labeler.labeling.class_appearance`. Its name is in the log."""

    __tablename__ = "class_properties"

    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    colour: str | None = None
    description: str | None = None
    hotkey: str | None = None
    place: int | None = None


class Ranked(LabelerTable, table=True):
    """The position of an image in the newest list that names it."""

    __tablename__ = "query"

    image_id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    query_version: int
    position: int
    score: float
    reason: str | None = None
    suggestions: list[Any] = Field(sa_type=JSON)
    boxes: list[Any] | None = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)  # detection
    model_version: str


class Held(LabelerTable, table=True):
    """An image leased to a page, see `labeler.asking.kept_leases`."""

    __tablename__ = "lease"

    session: str = Field(primary_key=True)
    image_id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    annotator: str
    expires: datetime = Field(sa_type=UtcTime)


class Push(LabelerTable, table=True):
    """A list that was pushed. Stored so that a repeated push gets the same version."""

    __tablename__ = "push"

    id: UUID = Field(primary_key=True)
    query_version: int = Field(unique=True)
    log_id: UUID
    acked_seq: int
    model_version: str
    strategy: str
    created_at: datetime = Field(sa_type=UtcTime)


class Evaluated(LabelerTable, table=True):
    """An evaluation pushed by the trainer, in order of arrival."""

    __tablename__ = "evaluation"

    position: int = Field(primary_key=True)
    id: UUID = Field(unique=True)
    body: dict[str, Any] = Field(sa_type=JSON)


def table(model: type[LabelerTable]) -> Table:
    """The table behind a class, for statements over many rows."""
    return model.metadata.tables[str(model.__tablename__)]


META = table(Meta)
IMAGE = table(Image)
FILE = table(File)
LOG = table(LogRow)
CLASS_PROPERTIES = table(ClassLook)
RANKED = table(Ranked)
LEASE = table(Held)
PUSH = table(Push)
EVALUATED = table(Evaluated)
