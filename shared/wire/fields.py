"""Field types that many messages share, and the two kinds of message: requests and answers."""

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

BoxOrigin = Literal["drawn", "accepted", "corrected", "imported"]
"""Where a box comes from: drawn by a person, suggested and accepted as it was, suggested and then corrected in place or
class, or imported."""
MOST_BOXES = 1_000
"""Maximum boxes of an image."""
MAX_ROWS = 5_000
"""Maximum rows per message from labeler to trainer, and maximum annotations per post to the labeler."""

Name = Annotated[str, Field(min_length=1, max_length=200)]
ClassName = Annotated[str, Field(min_length=1, max_length=100)]
LARGEST = 2**63 - 1
"""The largest integer that SQLite, NumPy and the packed log can hold."""
Id = Annotated[int, Field(ge=0, le=LARGEST)]
"""Id of an image or class, given by the labeler; also a position in the log, and a queue version."""
Stored = Annotated[int, Field(ge=-LARGEST - 1, le=LARGEST)]
"""An integer of a stored row, which may be older than its bounds."""
Count = Id
"""A number of things."""
Score = Annotated[float, Field(allow_inf_nan=False)]
Confidence = Annotated[float, Field(ge=0, le=1)]


def _as_text(given: object) -> object:
    if not isinstance(given, str | datetime):
        raise ValueError("a time as ISO 8601 text is needed")  # noqa: TRY004 - pydantic takes no TypeError
    return given


Time = Annotated[datetime, Field(strict=False), BeforeValidator(_as_text)]
"""JSON has it as text; a number is refused."""
Uuid = Annotated[UUID, Field(strict=False)]
"""An id made by the sender. JSON has it as text."""


M = TypeVar("M", bound=BaseModel)


class Message(BaseModel):
    """Base of all messages. Refuses unknown fields, so that a typo is noticed, and values of another type: `true` is
    not 1 and "3" is not 3. Also refuses infinity, which 1e999 means in JSON."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), strict=True, allow_inf_nan=False)


class Reply(BaseModel):
    """An answer. Readers ignore unknown fields, so that a newer service can add some."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class DiskTrouble(Reply):
    """What keeps a service from writing. `message` tells a person what is wrong and what to do."""

    kind: DiskKind
    folder: str
    free_bytes: int
    message: str
