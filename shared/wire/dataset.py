"""Snapshots of labels and splits, new splits, and downloads under way."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from shared.wire.fields import Id, Message, Name, Reply, Split, Stored, Uuid

MOST_GROUPED = 2_000_000  # images in one request to split by group
Share = Annotated[float, Field(ge=0, lt=1)]
SnapshotName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f/]+$")]

Groups = Annotated[
    dict[Annotated[Id, Field(strict=False)], Annotated[str, Field(max_length=4_096)]],
    Field(json_schema_extra={"propertyNames": {"pattern": "^[0-9]{1,18}$"}}),
]
"""Image id → group. The names of a JSON object are texts."""


class SnapshotPost(Message):
    """`POST /api/snapshots`: name the labels and splits of now."""

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
    """One image that differs; a label is None where there is none."""

    image_id: int
    label: tuple[str | None, str | None]  # before and after
    split: tuple[Split | None, Split | None]


class SnapshotDiff(Reply):
    """`GET /api/snapshots/{name}/diff`: from the snapshot to another, or to now."""

    differences: list[Difference]  # the first of them
    labels: int  # images whose label differs
    splits: int  # images whose split differs


class RestorePost(Message):
    """`POST /api/snapshots/{name}/restore`."""

    annotator: Name = "me"
    dry_run: bool = False  # count, and write nothing


class Restored(Reply):
    """What was written to bring a snapshot back, or in a dry run would be; the log keeps all that was there."""

    undone: int
    repeated: int  # answers that had been taken back and count again
    moved: int
    lost: int  # labels of classes that were deleted since


class SplitPost(Message):
    """`POST /api/splits`: draw the splits anew.

    `by`: every image by itself, each class in the same shares, or the images of a folder or group together. `groups`
    are by image id, an image without one stands alone; `how` says what they are, for the log.
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
            raise ValueError("groups go with by = group, which needs some")
        return self

    def _has_groups(self) -> bool:
        return bool(self.groups)


class SplitPart(SplitPost):
    """`POST /api/splits`, all of it or a part: as many groups as one request can carry.

    The first part says `more`, its receipt has the `groups_id` that the others give, and the last one does not say
    `more`: then it is drawn. A dry run keeps the groups for another post with their `groups_id`.
    """

    groups_id: Uuid | None = None
    more: bool = False

    def _has_groups(self) -> bool:
        return bool(self.groups) or self.groups_id is not None


class SplitReceipt(Reply):
    """Images in each split now, how many moved, and how many stayed because somebody answered them here.

    `torn` are folders or groups that are in several splits, because images of theirs were answered in each.
    """

    splits: dict[Split, int]
    moved: int
    kept: int
    torn: int = 0
    groups_id: UUID | None = None  # where further groups follow, and of those that a dry run kept


ModelFormat = Literal["safetensors", "json", "csv", "onnx", "torch", "zip", "fastai", "card"]
"""In which a saved version can be taken away."""
DownloadState = Literal["making", "writing", "done", "failed"]


class Download(Reply):
    """One file: `making` it has begun, or it is being sent. `done` of `total` are images, or bytes of a model."""

    id: int
    name: str
    state: DownloadState
    unit: Literal["image", "byte"]
    done: int = 0
    total: int | None = None
    seconds: float = 0.0  # since it began
    seconds_left: float | None = None
    error: str | None = None  # of one that failed


class DownloadList(Reply):
    """`GET /api/downloads`: newest first; those that ended a minute ago are left out."""

    downloads: list[Download]


class ExportCount(Reply):
    """`GET /api/export/count`: images that an export would hold, and how many of them have a label."""

    images: int
    labeled: int


class Prepared(Reply):
    """A model file that is there to be downloaded."""

    name: str
    bytes: int
