"""Snapshots of labels and splits, new splits, and running downloads."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, model_validator

from shared.wire.fields import Id, Message, Name, Reply, Split, Stored, Uuid

MOST_GROUPED = 2_000_000  # images in one request
Share = Annotated[float, Field(ge=0, lt=1)]


def _nameable(name: str) -> str:
    """Refuse in words what the pattern in the schema excludes."""
    if re.search(_NAMELESS, name):
        raise ValueError("a name has no slash and no line break")
    return name


_NAMELESS = r"[\x00-\x1f/]"
SnapshotName = Annotated[
    str,
    Field(min_length=1, max_length=100, json_schema_extra={"pattern": r"^[^\x00-\x1f/]+$"}),
    AfterValidator(_nameable),
]

Groups = Annotated[
    dict[Annotated[Id, Field(strict=False)], Annotated[str, Field(max_length=4_096)]],
    Field(json_schema_extra={"propertyNames": {"pattern": "^[0-9]{1,18}$"}}),
]
"""Image id → group. JSON object keys are text."""


class SnapshotPost(Message):
    """`POST /api/snapshots`: name the current labels and splits."""

    name: SnapshotName
    annotator: Name = "me"


class SnapshotEntry(Reply):
    """A name for the labels and splits as of row `seq` of the log."""

    name: str
    seq: int
    annotator: str
    at: datetime


class SnapshotList(Reply):
    """`GET /api/snapshots`, oldest first."""

    snapshots: list[SnapshotEntry]


class Difference(Reply):
    """One image that differs. A label is None if there is none."""

    image_id: int
    label: tuple[str | None, str | None]  # before and after
    split: tuple[Split | None, Split | None]


class SnapshotDiff(Reply):
    """`GET /api/snapshots/{name}/diff`: changes from the snapshot to another one, or to the current state."""

    differences: list[Difference]  # only the first ones
    labels: int  # images whose label differs
    splits: int  # images whose split differs


class RestorePost(Message):
    """`POST /api/snapshots/{name}/restore`."""

    annotator: Name = "me"
    dry_run: bool = False  # only count


class Restored(Reply):
    """What was written to restore a snapshot, or would be in a dry run. The log keeps all earlier rows."""

    undone: int
    repeated: int  # answers that had been undone and count again
    moved: int
    lost: int  # labels of classes that have been deleted since


class SplitPost(Message):
    """`POST /api/splits`: draw new splits.

    `by`: draw each image by itself, draw equal shares of each class, or keep all images of a folder or group together.
    `groups` maps image ids to groups; an image without one is drawn alone. `how` describes the groups in the log.
    """

    test: Share
    validation: Share = 0.0
    by: Literal["image", "class", "folder", "group"] = "image"
    groups: Groups = Field(default_factory=dict, max_length=MOST_GROUPED)
    how: str = Field(default="", max_length=300)
    seed: Stored = 0
    annotator: Name = "me"
    dry_run: bool = False

    @model_validator(mode="after")
    def _leaves_some(self) -> Self:
        if self.test + self.validation >= 1:
            raise ValueError("test and validation together leave nothing to learn from")
        if (self.by == "group") != self._has_groups():
            raise ValueError("groups must be given exactly if by = group")
        return self

    def _has_groups(self) -> bool:
        return bool(self.groups)


class SplitPart(SplitPost):
    """`POST /api/splits`, whole or in parts of as many groups as one request can carry.

    The first part sets `more`, and its receipt has the `groups_id` that further parts must give. The last part does not
    set `more`; then the splits are drawn. A dry run keeps the groups for another post with their `groups_id`.
    """

    groups_id: Uuid | None = None
    more: bool = False

    def _has_groups(self) -> bool:
        return bool(self.groups) or self.groups_id is not None


class SplitReceipt(Reply):
    """The number of images in each split, how many moved, and how many stayed because somebody has answered them.

    `torn`: folders or groups in several splits, because each split has images of them that were answered.
    """

    splits: dict[Split, int]
    moved: int
    kept: int
    torn: int = 0
    groups_id: UUID | None = None  # if more groups follow, or a dry run kept them


ModelFormat = Literal["safetensors", "json", "csv", "onnx", "torch", "zip", "fastai", "card"]
"""The formats in which a saved version can be downloaded."""
DownloadState = Literal["making", "writing", "done", "failed"]


class Download(Reply):
    """One file that is being created (`making`) or sent. `done` and `total` count images, or bytes of a model."""

    id: int
    name: str
    state: DownloadState
    unit: Literal["image", "byte"]
    done: int = 0
    total: int | None = None
    seconds: float = 0.0  # since the start
    seconds_left: float | None = None
    error: str | None = None  # if it failed


class DownloadList(Reply):
    """`GET /api/downloads`: newest first, without those that ended more than a minute ago."""

    downloads: list[Download]


class ExportCount(Reply):
    """`GET /api/export/count`: images that an export would contain, and how many of them are labeled."""

    images: int
    labeled: int


class Prepared(Reply):
    """A model file that can be downloaded."""

    name: str
    bytes: int
