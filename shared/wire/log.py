"""The annotation stream, from the labeler to the trainer: rows of the log, and the answers that a browser posts."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, JsonValue

from shared.wire.fields import LARGEST, MAX_ROWS, Id, Message, Name, Reply, Split, Stored, Time, Uuid
from shared.wire.queries import QueueItem

TestOrder = Literal["random", "active"]
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
    """One row of the annotation log; `shared.log` explains what the rows mean together."""

    model_config = ConfigDict(strict=True)

    seq: int = Field(ge=1, le=LARGEST)
    id: Uuid
    action: Action
    image_id: Id | None = None
    label: Id | None = None  # class id of the label, or of the class in a class_* row
    name: str | None = None  # class_added, class_renamed: the new name
    into: Id | None = None  # class_merged: the class merged into
    split: Split | None = None  # split_changed
    annotator: str = ""
    seconds: float | None = None  # time from showing the image to the answer
    query_version: Stored | None = None  # of the queue that asked the question
    target: Uuid | None = None  # undo: id of the undone row
    reason: str | None = None
    note: str | None = None
    answer: Any = None  # the answer as JSON, in tasks other than classification
    batch: Uuid | None = None  # shared by the rows of one request, which are undone together
    source: str | None = None  # "late", "import", "grid", "review", …; None for a person at the card
    confidence: float | None = None  # import: from the file
    proposed: Stored | None = None  # review: the class id proposed instead
    created_at: Time  # import: from the file, if given


class TestChance(Message):
    """The probability with which a test image that was asked had been drawn by then."""

    __test__ = False  # for pytest

    image_id: Id
    chance: float = Field(gt=0, le=1)


class AnnotationBatch(Message):
    """Labeler → trainer `POST /annotations`: the log's rows after `after_seq`, in order and without gaps."""

    log_id: Uuid
    after_seq: Id
    last_seq: Id  # the log's end, which may be beyond this batch
    after_id: Uuid | None = None  # id of the row `after_seq`: a trainer with another row there has another history
    annotations: list[Row] = Field(max_length=MAX_ROWS)
    catalog_version: Id
    task: Name = "classification"
    leased: list[Id] = Field(default_factory=list, max_length=100_000)
    test_at_random: bool | None = None  # the test images asked so far are a random sample; None: unchanged
    test_order: TestOrder = "random"  # this and the next only with `test_at_random`
    test_chances: list[TestChance] = Field(default_factory=list, max_length=100_000)  # empty: all equal


class Acknowledgement(Reply):
    """The trainer's answer: everything up to `acked_seq` is durable there."""

    acked_seq: int


class AnnotationPage(Reply):
    """`GET /api/annotations`: a page of the log; `last_seq` is the log's end, not the page's."""

    log_id: UUID
    task: str = "classification"
    annotations: list[Row]
    last_seq: int


class Annotation(Message):
    """One answer, or an `undo` of the answer `target`.

    In classification `label` is a class id (int) or a class name (str). Other tasks answer with `answer`.

    In a multi-label project it is `{"yes": [3, "dog"], "no": [1]}`, by class ids or names. A class in neither is
    In a multi-label project it is `{"yes": [3, "dog"], "no": [1]}`, by class ids or names. A class in neither list is
    unknown, and `{"yes": [], "no": [all]}` is "none of these". With `"merge": true` it changes only the classes that it
    names. It then changes the annotator's own current answer, or with the action `settle` the image's current label.

    In a detection project it is `{"boxes": [{"label": 3, "x": 10.5, "y": 20, "w": 30, "h": 40, "origin": "drawn"}]}`:
    the class by id or name, the top left corner, width and height in pixels of the upright original (after EXIF
    rotation, before any downscaling). It states that all objects are boxed; `{"boxes": []}` states that there is none.
    `origin` is `drawn` (the default), `accepted` or `corrected` for a suggestion, or `imported`.
    """

    id: Uuid
    image_id: Id
    action: Literal["label", "skip", "flag", "settle", "undo"]
    label: Stored | str | None = None
    answer: JsonValue = None
    annotator: Name
    session: Name | None = None  # the session that holds the lease; by default the annotator's
    seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    query_version: Id | None = None
    target: Uuid | None = None
    reason: str | None = Field(default=None, max_length=500)
    note: str | None = Field(default=None, max_length=5_000)
    source: str | None = Field(default=None, max_length=100)
    as_of: Id | None = None  # the end of the log that the sender has seen, see `AnnotationReceipt`
    proposed: Id | None = None  # in a review, the class id proposed instead


class Person(Reply):
    """An annotator: number of answers so far, and labels per minute over the last minutes of work."""

    name: str
    answers: int
    per_minute: float


class AnnotationPost(Message):
    """`POST /api/annotations`: either all annotations are written or none."""

    annotations: list[Annotation] = Field(max_length=MAX_ROWS)


class AnnotationReceipt(Reply):
    """What was written. A duplicate is an id that the log already has with the same content.

    With `as_of`, an annotation is not written but listed here if others have answered its image since then, or if the
    image is on their screen.
    """

    last_seq: int
    accepted: int
    duplicates: int
    answered: list[int] = Field(default_factory=list)  # images answered by others since
    held: list[int] = Field(default_factory=list)  # images on others' screens


AnsweringPage = Literal["label", "grid", "review"]
"""Where an answer was given: in the grid, in the review, or on the card, which includes programs."""


class Undo(Message):
    """`POST /api/undo`: undo `target`, or the annotator's last answer in force, except imported ones.

    Answers of one post from the grid are one step: naming one of them undoes all. With `page`, only answers given on
    that page count. With `ask`, a step is not undone if it has several answers, or comes from a page other than the
    asking one (`page`, else `label`). The response is then 409 with `undone`, `page` and the `target` to send.
    """

    id: Uuid
    annotator: Name
    session: Name | None = None
    target: Uuid | None = None
    page: AnsweringPage | None = None
    ask: bool = False


class UndoReceipt(QueueItem):
    """The image to answer again, the first of the `undone` ones."""

    undone: int = 1
