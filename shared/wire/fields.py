"""The types of fields that many messages share, and the two kinds of message: what is asked and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Split = Literal["train", "validation", "test"]
Source = Literal["default", "project", "file", "environment", "command line", "changed while running"]
Status = Literal["labeled", "skipped", "flagged", "unlabeled"]
TrainerState = Literal["waiting", "training", "paused", "stopping", "stopped", "failed"]
DiskKind = Literal["full", "quota", "read_only", "failing", "descriptors", "damaged"]

MAX_ROWS = 5_000
"""Rows in one message from the labeler to the trainer, and annotations in one post to the labeler."""

Name = Annotated[str, Field(min_length=1, max_length=200)]
ClassName = Annotated[str, Field(min_length=1, max_length=100)]
LARGEST = 2**63 - 1
"""Of an integer that SQLite, NumPy and the packed log can hold."""
Id = Annotated[int, Field(ge=0, le=LARGEST)]
"""Of an image or class, as the labeler gives it; also a place in the log, and a version of the queue."""
Stored = Annotated[int, Field(ge=-LARGEST - 1, le=LARGEST)]
"""An integer of a row that may be older than its bounds."""
Count = Id
"""How many there are of something."""
Score = Annotated[float, Field(allow_inf_nan=False)]
Confidence = Annotated[float, Field(ge=0, le=1)]


def _as_text(given: object) -> object:
    if not isinstance(given, str | datetime):
        raise ValueError("a time as ISO 8601 text is needed")  # noqa: TRY004 - pydantic takes no TypeError
    return given


Time = Annotated[datetime, Field(strict=False), BeforeValidator(_as_text)]
"""JSON has it as text; a number is none."""
Uuid = Annotated[UUID, Field(strict=False)]
"""An id that its sender makes. JSON has it as text."""


M = TypeVar("M", bound=BaseModel)


class Message(BaseModel):
    """What all wire types share: an unknown field is refused, so that a typo never passes in silence, and so is a value
    of another type: `true` is no 1 and "3" no 3. Infinity, which 1e999 means, is no number."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), strict=True, allow_inf_nan=False)


class Reply(BaseModel):
    """An answer. The reader ignores fields that it does not know, so that a newer peer can add some."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class DiskTrouble(Reply):
    """What keeps a service from writing. `message` says it to a person, with what to do."""

    kind: DiskKind
    folder: str
    free_bytes: int
    message: str
