"""Labels from files: the rows posted, the result, and label files given on a page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from shared.wire.fields import (
    MAX_ROWS,
    MOST_BOXES,
    BoxOrigin,
    ClassName,
    Confidence,
    Count,
    Id,
    M,
    Message,
    Name,
    Reply,
    Split,
    Time,
    Uuid,
)


def _past(told: datetime) -> datetime:
    """Read a time without a zone as UTC. Up to one day in the future is accepted, because clocks may be ahead."""
    at = told if told.tzinfo else told.replace(tzinfo=UTC)
    if not datetime(1970, 1, 2, tzinfo=UTC) <= at <= datetime.now(UTC) + timedelta(days=1):
        raise ValueError("a time between 1970 and now is needed")
    return at


GivenAt = Annotated[Time, AfterValidator(_past)]
"""When an imported answer was given."""


def _storable(row: M) -> M:
    """Refuse NUL characters, which a file may contain. This rejects one row, not the whole request."""
    if any("\0" in text for value in vars(row).values() for text in _texts(value)):
        raise ValueError("holds the character NUL")
    return row


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, NamedClasses):
        return value.yes + value.no
    if isinstance(value, NamedBoxes):
        return value.names
    return (value,) if isinstance(value, str) else ()


ClassNames = Annotated[tuple[ClassName, ...], Field(strict=False, max_length=100_000)]


class NamedClasses(Message):
    """An imported answer in a multi-label project, by class names. A class in neither list is unknown.

    With `rest`, the answer says no to every class of `ImportPost.vocabulary` that it does not name.
    """

    model_config = ConfigDict(frozen=True)

    yes: ClassNames = ()
    no: ClassNames = ()
    rest: bool = False


Number = Annotated[float, Field(ge=-1e9, le=1e9)]


class NamedBox(Message):
    """A box of an imported answer, by class name: top left corner, width and height."""

    model_config = ConfigDict(frozen=True)

    label: ClassName
    x: Number
    y: Number
    w: Number
    h: Number
    origin: BoxOrigin = "imported"


class NamedBoxes(Message):
    """An imported answer in a detection project: all objects of an image. No box means that nothing is there.

    Coordinates are pixels of the upright image, or shares of its width and height. `width` and `height` are the image's
    size according to the file, if known: boxes of an image with another size are refused.
    """

    model_config = ConfigDict(frozen=True)

    boxes: Annotated[tuple[NamedBox, ...], Field(strict=False, max_length=MOST_BOXES)]
    unit: Literal["pixel", "share"] = "pixel"
    width: Count | None = None
    height: Count | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The class of each box."""
        return tuple(box.label for box in self.boxes)


NamedAnswer = NamedClasses | NamedBoxes
"""An imported answer in tasks other than classification."""


class ImportedAnswer(Message):
    """One annotator's answer for an image, or how it was settled. Settling without a class means that no class fits."""

    action: Literal["label", "skip", "flag", "settle"]
    label: ClassName | None = None
    answer: NamedAnswer | None = None  # instead of the label, in a multi-label or detection project
    annotator: Name
    reason: str | None = Field(default=None, max_length=500)
    note: str | None = Field(default=None, max_length=5_000)
    at: GivenAt | None = None

    @property
    def given(self) -> str | NamedAnswer | None:
        """The label, the answer for each class, or the boxes."""
        return self.answer if self.label is None else self.label

    @model_validator(mode="after")
    def _has_what_it_says(self) -> Self:
        given = (self.label is not None) + (self.answer is not None)
        if given > 1 or (self.action != "settle" and (self.action == "label") != (given == 1)):
            raise ValueError("a label names its class, and a skip or a flag names none")
        return _storable(self)


class ImportRow(Message):
    """A label in a file, or the statement that there is none. `line` is its position in the file, for error messages.

    If `answers` are given, they are written instead, each under its annotator's name, and the label only states their
    result. `open` marks an image without a result or without answers; only its split is imported.
    """

    line: Count
    uri: Annotated[str, Field(min_length=1, max_length=4_096)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = (
        None  # of the image's bytes; preferred over the name to find the image
    )
    action: Literal["label", "skip", "flag", "open"] = "label"
    label: ClassName | None = None  # only for the action `label`
    answer: NamedAnswer | None = None  # instead of the label, in a multi-label or detection project
    split: Split | None = None
    annotator: Name | None = None
    confidence: Confidence | None = None  # of the annotator
    labeled_at: GivenAt | None = None
    answers: list[ImportedAnswer] = Field(default_factory=list, max_length=1_000)

    @property
    def given(self) -> str | NamedAnswer | None:
        """The label, the answer for each class, or the boxes."""
        return self.answer if self.label is None else self.label

    @model_validator(mode="after")
    def _has_what_it_says(self) -> Self:
        given = (self.label is not None) + (self.answer is not None)
        if given > 1 or (self.action == "label") != (given == 1):
            raise ValueError("a label names its class, and a skip or a flag names none")
        if self.action == "open" and not self.answers and self.split is None:
            raise ValueError("an open image needs answers or a split")
        return _storable(self)


Conflicts = Literal["keep", "overwrite", "review"]
"""What to do if an image already has a different answer: keep it, replace it, or leave the image open until somebody
decides.
"""


class ImportPost(Message):
    """`POST /api/import`: all rows of an import, or a part of them. Sending the same rows again changes nothing.

    A larger import is sent in parts, one after another. The first part sets `more`, its receipt has the `import_id`
    that the others must give, and the last part does not set `more`. Together they have the effect of one post with all
    rows. The options below are taken from the first part.
    """

    rows: list[ImportRow] = Field(max_length=MAX_ROWS)
    import_id: Uuid | None = None  # the import that this part continues
    more: bool = False  # more parts follow
    conflicts: Conflicts = "keep"
    dry_run: bool = False  # only check, write nothing
    vocabulary: ClassNames = ()  # multi-label: the classes that the file covers, see `NamedClasses`
    add_classes: bool = False  # add unknown classes; else their rows are rejected, unless the project has no class
    began: Id | None = None  # without `import_id`: the log's end when the import began; by default now


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


Printable = Annotated[str, AfterValidator(_printable)]
"""Text from a file. Lone surrogates, which terminals and databases refuse, are replaced."""


class ImportIssue(Reply):
    """A problem with one row, in words."""

    line: int
    uri: Printable
    reason: Printable

    def __str__(self) -> str:
        return f"line {self.line}: {' '.join(filter(None, (self.uri, self.reason)))}"


class CellIssue(ImportIssue):
    """An unreadable optional cell. Its row is imported without it."""


class ImportReceipt(Reply):
    """The result of an import."""

    import_id: UUID | None = None  # while more parts may follow, see `ImportPost`
    labels: int = 0  # rows written to the log (dry run: to be written), including skips and flags
    known: int = 0  # already imported earlier
    images: int = 0  # added to the catalogue
    held_out: int = 0  # labels skipped, because the image is held out and will be asked about here
    new_classes: dict[str, int] = Field(default_factory=dict)  # rows per new class
    counted_as: dict[str, str] = Field(default_factory=dict)  # other spelling or old name → class
    conflicts: list[ImportIssue] = Field(
        default_factory=list
    )  # rows that contradict an answer, each counted in one of:
    kept: int = 0  # not written: the existing answer stays
    overwritten: int = 0  # written, and replaces the existing answer
    reopened: int = 0  # both answers are kept: the image stays open until somebody decides
    rejected: list[ImportIssue] = Field(default_factory=list)
    matched: dict[str, int] = Field(default_factory=dict)  # rows whose file has another name, by the difference
    matched_as: dict[str, tuple[str, str]] = Field(default_factory=dict)  # first example of each: given name, file
    cells: list[ImportIssue] = Field(default_factory=list)  # optional cells skipped by the reader of the file


LabelFileState = Literal["waiting", "looking", "looked", "importing", "imported", "failed"]
BUSY: frozenset[LabelFileState] = frozenset({"waiting", "looking", "importing"})


class LabelFile(Reply):
    """A label file: what importing it would do (`looked`), or what it did (`imported`).

    Counts have the meaning of `ImportReceipt`, over all rows so far.
    """

    id: str
    name: str
    state: LabelFileState
    folder: bool = False  # a folder per class instead of a file
    rows: int = 0  # read so far
    total: int | None = None  # approximate, if known
    seconds_left: float | None = None
    labels: int = 0
    known: int = 0
    images: int = 0
    held_out: int = 0
    conflicts: int = 0  # rows that contradict an answer, which are counted in one of:
    kept: int = 0
    overwritten: int = 0
    reopened: int = 0
    rejected: int = 0
    cells: int = 0  # optional cells that were skipped; their rows count
    told: list[str] = Field(default_factory=list)  # sentences on how a table is read and what was skipped
    new_classes: dict[str, int] = Field(default_factory=dict)
    misspelled: dict[str, list[str]] = Field(default_factory=dict)  # new class → existing classes with a similar name
    issues: list[ImportIssue] = Field(default_factory=list)  # the first rejected rows and conflicts
    error: str | None = None  # if it failed


class LabelFileList(Reply):
    """`GET /api/label-files`: all since the labeler started, newest first."""

    files: list[LabelFile]


class FolderPost(Message):
    """`POST /api/label-files` as JSON: use the folders of uploaded photos as their classes."""

    folder: Annotated[str, Field(max_length=4_096)] = ""  # of the uploads; "": all


class ColumnsPost(Message):
    """`POST /api/label-files/{id}/columns`: for example `image=NAME,label=NAME`; numbers for a table without a header,
    a layout such as `split/class` for a folder.
    """

    columns: Annotated[str, Field(max_length=4_096)]


class LabelFileImport(Message):
    """`POST /api/label-files/{id}/import`."""

    add_classes: bool = True  # else rows of unknown classes are rejected
    conflicts: Conflicts = "keep"
