"""The annotation stream, from the labeler to the trainer: rows of the log, and the answers that a browser posts."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from shared.wire.fields import LARGEST, MAX_ROWS, Id, Message, Name, Reply, Split, Stored, Time, Uuid
from shared.wire.queries import QueueItem

Action = Literal[
    "label",
    "skip",
    "flag",
    "undo",
    "settle",
    "class_added",
    "class_renamed",
    "class_merged",
    "class_deleted",
    "split_changed",
    "image_removed",
]


class Row(Reply):
    """One fact of the annotation log, as it was written; see `shared.log` for what the rows mean together."""

    model_config = ConfigDict(strict=True)

    seq: int = Field(ge=1, le=LARGEST)
    id: Uuid
    action: Action
    image_id: Id | None = None
    label: Id | None = None  # a class id: of the label given, or of the class that a class_* row is about
    name: str | None = None  # class_added, class_renamed: the name from here on
    into: Id | None = None  # class_merged: the class id that takes over
    split: Split | None = None  # split_changed
    annotator: str = ""
    seconds: float | None = None  # from image on screen to answer
    query_version: Stored | None = None  # of the queue that asked
    target: Uuid | None = None  # undo: the row that vanishes
    reason: str | None = None
    note: str | None = None
    source: str | None = None  # "late", "import", "grid", "review", …; None for a person at the card
    confidence: float | None = None  # import: as the file gives it
    proposed: Stored | None = None  # review: the class id that was proposed instead
    created_at: Time  # import: when it was given, where the file tells


class AnnotationBatch(Message):
    """Labeler → trainer `POST /annotations`: the log's rows after `after_seq`, dense and in order."""

    log_id: Uuid
    after_seq: Id
    last_seq: Id  # the log's end, which may lie beyond this batch
    annotations: list[Row] = Field(max_length=MAX_ROWS)
    catalog_version: Id
    leased: list[Id] = Field(default_factory=list, max_length=100_000)


class Acknowledgement(Reply):
    """Trainer's answer: everything up to `acked_seq` is durable there."""

    acked_seq: int


class AnnotationPage(Reply):
    """`GET /api/annotations`: a page of the log; `last_seq` is the log's end, not the page's."""

    log_id: UUID
    annotations: list[Row]
    last_seq: int


class Annotation(Message):
    """One answer, or an `undo` of the answer `target`. `label` is a class id (int) or a class name (str)."""

    id: Uuid
    image_id: Id
    action: Literal["label", "skip", "flag", "settle", "undo"]
    label: Stored | str | None = None
    annotator: Name
    session: Name | None = None  # whose lease the answer came under; the annotator's own by default
    seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    query_version: Id | None = None
    target: Uuid | None = None
    reason: str | None = Field(default=None, max_length=500)
    note: str | None = Field(default=None, max_length=5_000)
    source: str | None = Field(default=None, max_length=100)
    as_of: Id | None = None  # the log's end that the sender had seen, see `AnnotationReceipt`
    proposed: Id | None = None  # in a review, the class id that was proposed instead


class Person(Reply):
    """An annotator: answers given so far, and labels a minute over the last minutes of work."""

    name: str
    answers: int
    per_minute: float


class AnnotationPost(Message):
    """`POST /api/annotations`: all of it is written, or nothing."""

    annotations: list[Annotation] = Field(max_length=MAX_ROWS)


class AnnotationReceipt(Reply):
    """What was written. A duplicate is an id that the log already holds with the same content.

    What came `as_of` a moment since which others have answered its image, or while it is on their screen, is not
    written but named here.
    """

    last_seq: int
    accepted: int
    duplicates: int
    answered: list[int] = Field(default_factory=list)  # images that others have answered since
    held: list[int] = Field(default_factory=list)  # images on the screen of others


AnsweringPage = Literal["label", "grid", "review"]
"""Where an answer was given: many at once in the grid, as a verdict on a doubt, or one by one, as programs do too."""


class Undo(Message):
    """`POST /api/undo`: take back `target`, or the annotator's last answer that still stands; imported ones are none.

    Answers given in one post from the grid are one step: whichever is named, all of them are taken back. With `page`
    only what was answered there counts. With `ask` a step of several answers, or of another page than the one that
    asks (`page`, else `label`), is not taken back but named: 409 with `undone`, `page` and the `target` to send then.
    """

    id: Uuid
    annotator: Name
    session: Name | None = None
    target: Uuid | None = None
    page: AnsweringPage | None = None
    ask: bool = False


class UndoReceipt(QueueItem):
    """The image given back, the first of `undone` ones."""

    undone: int = 1
