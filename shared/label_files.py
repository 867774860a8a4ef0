"""The wire types of label files that are given on a page: looked at first, then imported."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.messages import Conflicts, ImportIssue, Message, Reply

LabelFileState = Literal["waiting", "looking", "looked", "importing", "imported", "failed"]
BUSY: frozenset[LabelFileState] = frozenset({"waiting", "looking", "importing"})


class LabelFile(Reply):
    """A label file: what importing it would do once it is `looked`, what it did once it is `imported`.

    Counts are as in `ImportReceipt`, over all rows so far.
    """

    id: str
    name: str
    state: LabelFileState
    folder: bool = False  # whose folders are classes, rather than a file
    rows: int = 0  # read so far
    total: int | None = None  # about so many, if that is known
    seconds_left: float | None = None
    labels: int = 0
    known: int = 0
    images: int = 0
    held_out: int = 0
    conflicts: int = 0  # rows that contradict an answer; each is one of:
    kept: int = 0
    overwritten: int = 0
    reopened: int = 0
    rejected: int = 0
    cells: int = 0  # optional cells left out, whose rows count
    told: list[str] = Field(default_factory=list)  # how a table is read, and what was left out of it
    new_classes: dict[str, int] = Field(default_factory=dict)
    misspelled: dict[str, list[str]] = Field(default_factory=dict)  # new class → those here that it may mean
    issues: list[ImportIssue] = Field(default_factory=list)  # the first of those rejected, and of the conflicts
    error: str | None = None  # of one that failed


class LabelFileList(Reply):
    """`GET /api/label-files`: newest first, since the labeler started."""

    files: list[LabelFile]


class FolderPost(Message):
    """`POST /api/label-files` as JSON: the folders that photos were uploaded in are their classes."""

    folder: Annotated[str, Field(max_length=4_096)] = ""  # among the uploads; "": all of them


class ColumnsPost(Message):
    """`POST /api/label-files/{id}/columns`: as `image=NAME,label=NAME`, by number for a table without a header; for a
    folder its layout, as `split/class`."""

    columns: Annotated[str, Field(max_length=4_096)]


class LabelFileImport(Message):
    """`POST /api/label-files/{id}/import`."""

    add_classes: bool = True  # without, rows of classes that are not here are rejected
    conflicts: Conflicts = "keep"
