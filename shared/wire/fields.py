"""Field types that many messages share, and the two base classes: requests and answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from shared import class_names

Split = Literal["train", "validation", "test"]
Source = Literal["default", "project", "file", "environment", "command line", "changed while running"]
Status = Literal["labeled", "skipped", "flagged", "unlabeled"]
TrainerState = Literal["waiting", "training", "paused", "stopping", "stopped", "failed"]
DiskKind = Literal["full", "quota", "read_only", "failing", "descriptors", "damaged"]

BoxOrigin = Literal["drawn", "accepted", "corrected", "imported"]
"""Origin of a box: drawn by a person, suggested and accepted unchanged, suggested and then moved or given another
class, or imported.
"""
MOST_BOXES = 1_000
"""Maximum boxes per image."""
MAX_ROWS = 5_000
"""Maximum rows per message from labeler to trainer, and maximum annotations per post to the labeler."""

Name = Annotated[str, Field(min_length=1, max_length=200)]
ClassName = Annotated[str, Field(min_length=1, max_length=class_names.MOST), BeforeValidator(class_names.checked)]
LARGEST = 2**63 - 1
"""The largest integer that SQLite, NumPy and the packed log can hold."""
Id = Annotated[int, Field(ge=0, le=LARGEST)]
"""Id of an image or class, given by the labeler; also a position in the log, and a queue version."""
Stored = Annotated[int, Field(ge=-LARGEST - 1, le=LARGEST)]
"""An integer of a stored row. Not bounded, because rows may be older than the bounds."""
Count = Id
"""A count."""
Score = Annotated[float, Field(allow_inf_nan=False)]
Confidence = Annotated[float, Field(ge=0, le=1)]


def _as_text(given: object) -> object:
    if not isinstance(given, str | datetime):
        raise ValueError("a time as ISO 8601 text is needed")  # noqa: TRY004 - pydantic takes no TypeError
    return given


Time = Annotated[datetime, Field(strict=False), BeforeValidator(_as_text)]
"""A UUID, which JSON carries as text; a number is refused."""
Uuid = Annotated[UUID, Field(strict=False)]
"""An id created by the sender, as text in JSON."""


M = TypeVar("M", bound=BaseModel)


class Message(BaseModel):
    """Base of all requests. Refuses unknown fields, to reveal typos, and values of another type: `true` is not 1, and
    "3" is not 3. Also refuses infinity, which is how JSON parsers read 1e999.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), strict=True, allow_inf_nan=False)


class Reply(BaseModel):
    """Base of all answers. Readers ignore unknown fields, so a newer service can add some."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class DiskTrouble(Reply):
    """Why a service cannot write. `message` tells a person what is wrong and what to do."""

    kind: DiskKind
    folder: str
    free_bytes: int
    message: str
