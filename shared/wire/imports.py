"""Labels from files: the rows that are posted, what became of them, and label files given on a page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, model_validator

from shared.wire.fields import MAX_ROWS, ClassName, Confidence, Count, Id, M, Message, Name, Reply, Split, Time, Uuid


def _past(told: datetime) -> datetime:
    """A time without a zone is taken as UTC; a day is for clocks that are ahead."""
    at = told if told.tzinfo else told.replace(tzinfo=UTC)
    if not datetime(1970, 1, 2, tzinfo=UTC) <= at <= datetime.now(UTC) + timedelta(days=1):
        raise ValueError("a time between 1970 and now is needed")
    return at


GivenAt = Annotated[Time, AfterValidator(_past)]
"""When an answer was given that is brought along."""


def _storable(row: M) -> M:
    """A file may hold the character NUL: a fault of this row, and of none that it is sent with."""
    if any("\0" in text for text in vars(row).values() if isinstance(text, str)):
        raise ValueError("holds the character NUL")
    return row


class ImportedAnswer(Message):
    """What one annotator said of an image, or what it was settled on: without a class, as belonging to none."""

    action: Literal["label", "skip", "flag", "settle"]
    label: ClassName | None = None
    annotator: Name
    reason: str | None = Field(default=None, max_length=500)
    note: str | None = Field(default=None, max_length=5_000)
    at: GivenAt | None = None

    @model_validator(mode="after")
    def _has_what_it_says(self) -> Self:
        if self.action != "settle" and (self.action == "label") != (self.label is not None):
            raise ValueError("a label names its class, and a skip or a flag names none")
        return _storable(self)


class ImportRow(Message):
    """A label as a file gives it, or that there is none. `line` is where it stands there, for whoever mends it.

    Where `answers` are given, it is they that are written, each under its annotator's name, and the label only tells
    what follows from them; `open` is an image of which nothing follows, or that nobody answered, with its split.
    """

    line: Count
    uri: Annotated[str, Field(min_length=1, max_length=4_096)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None  # of the image's bytes, found by them first
    action: Literal["label", "skip", "flag", "open"] = "label"
    label: ClassName | None = None  # of a `label` alone
    split: Split | None = None
    annotator: Name | None = None
    confidence: Confidence | None = None  # the annotator's own
    labeled_at: GivenAt | None = None
    answers: list[ImportedAnswer] = Field(default_factory=list, max_length=1_000)

    @model_validator(mode="after")
    def _has_what_it_says(self) -> Self:
        if (self.action == "label") != (self.label is not None):
            raise ValueError("a label names its class, and a skip or a flag names none")
        if self.action == "open" and not self.answers and self.split is None:
            raise ValueError("an image that is open has answers or a split")
        return _storable(self)


Conflicts = Literal["keep", "overwrite", "review"]
"""What becomes of an image that has another answer than its row: the answer stays, the row counts instead, or the image
is open until somebody decides."""


class ImportPost(Message):
    """`POST /api/import`: all rows of an import, or a part of it. Sent again, they change nothing.

    An import of more rows comes in parts: the first one says `more`, its receipt has the `import_id` that the others
    give, and the last one does not say `more`. Together they do what one post with all rows would do. The three
    choices below are those of the first part. Parts are sent one after the other.
    """

    rows: list[ImportRow] = Field(max_length=MAX_ROWS)
    import_id: Uuid | None = None  # of the import that this is a further part of
    more: bool = False  # further parts follow
    conflicts: Conflicts = "keep"
    dry_run: bool = False  # look, and write nothing
    add_classes: bool = False  # an unknown class is added; without, its rows are rejected if the project has classes
    began: Id | None = None  # the log's end when an import began that is sent without `import_id`; now by default


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


Printable = Annotated[str, AfterValidator(_printable)]
"""Text out of a file, which may hold half a surrogate pair: no terminal and no store takes that."""


class ImportIssue(Reply):
    """What is the matter with one row, in words for a person."""

    line: int
    uri: Printable
    reason: Printable

    def __str__(self) -> str:
        return f"line {self.line}: {' '.join(filter(None, (self.uri, self.reason)))}"


class CellIssue(ImportIssue):
    """An optional cell that cannot be read: its row counts without it."""


class ImportReceipt(Reply):
    """What became of the rows."""

    import_id: UUID | None = None  # while more parts may follow: see `ImportPost`
    labels: int = 0  # written to the log, skips and flags too, or in a dry run: that would be
    known: int = 0  # imported before
    images: int = 0  # new in the catalogue
    held_out: int = 0  # labels left out: the project drew the image to measure with, and will ask for it
    new_classes: dict[str, int] = Field(default_factory=dict)  # rows of each
    counted_as: dict[str, str] = Field(default_factory=dict)  # another spelling, or an old name → the class
    conflicts: list[ImportIssue] = Field(default_factory=list)  # rows that contradict an answer; each is one of:
    kept: int = 0  # not written: the answer that there is stays
    overwritten: int = 0  # written, and counts instead of it
    reopened: int = 0  # written beside it: the image is open until somebody decides
    rejected: list[ImportIssue] = Field(default_factory=list)
    matched: dict[str, int] = Field(default_factory=dict)  # rows whose file is called otherwise, by what differs
    matched_as: dict[str, tuple[str, str]] = Field(default_factory=dict)  # of each the first: as it is named, the file
    cells: list[ImportIssue] = Field(default_factory=list)  # optional cells left out, by whoever reads the file


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
