"""The query stream, from the trainer to the labeler: ranked lists, and the questions on the page."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from shared.wire.fields import Confidence, Id, Message, Name, Reply, Score, Uuid

Purpose = Literal["query", "validation", "test"]
MAX_QUERIES = 10_000
"""Maximum queries per push."""
MAX_BOXES = 300
"""Maximum suggested boxes per image."""
MAX_TEST_RATES = 20_000
"""Maximum number of test images with their own rate."""


class Suggestion(Message):
    """A class that the model suggests, with its probability. `chosen`, only in a multi-label project: whether the
    probability is above the threshold of the class, so that the model predicts it.
    """

    label: Id
    confidence: Confidence
    chosen: bool | None = None


class SuggestedBox(Message):
    """An object that the model found: class, probability, top left corner, width and height in pixels of the upright
    original.
    """

    label: Id
    confidence: Confidence
    x: Score
    y: Score
    w: Annotated[float, Field(gt=0)]
    h: Annotated[float, Field(gt=0)]


class Query(Message):
    """One image to ask about. `score` decreases along the list. `reason` explains the choice in a few words."""

    image_id: Id
    score: Score = 0.0
    reason: str | None = Field(default=None, max_length=500)
    suggestions: list[Suggestion] = Field(default_factory=list, max_length=50)
    boxes: list[SuggestedBox] = Field(default_factory=list, max_length=MAX_BOXES)  # detection: instead of suggestions


class QueryPush(Message):
    """`POST /api/queries`: a ranked list, best first, from a model that has seen the log up to `acked_seq`."""

    id: Uuid
    log_id: Uuid
    model_version: Name
    acked_seq: Id
    strategy: Name
    queries: list[Query] = Field(max_length=MAX_QUERIES)


class QueryReceipt(Reply):
    """The queue version of the accepted list."""

    query_version: int


class TestRate(Message):
    """The sampling rate of a test image, relative to the mean of all test images."""

    __test__ = False  # for pytest

    image_id: Id
    rate: float = Field(ge=0.01, le=1_000)


class TestRates(Message):
    """`POST /api/test-rates`: with `test_order` active, the sampling rate of each test image from now on.

    Images without a rate get the mean rate.
    """

    __test__ = False  # for pytest

    log_id: Uuid
    model_version: Name
    rates: list[TestRate] = Field(max_length=MAX_TEST_RATES)


class SuggestionOut(Reply):
    """A suggestion in the queue's answer: the class by id and current name."""

    label: int
    name: str
    confidence: float
    chosen: bool | None = None  # multi-label: whether the model predicts the class


class SuggestedBoxOut(Reply):
    """A suggested box in the queue's answer: the class by id and current name, clipped to the image."""

    label: int
    name: str
    confidence: float
    x: float
    y: float
    w: float
    h: float


class QueueItem(Reply):
    """One leased image."""

    image_id: int
    url: str
    uri: str = ""  # path of its file, relative to the image folder
    purpose: Purpose
    rank: int
    score: float | None = None
    reason: str | None = None
    suggestions: list[SuggestionOut] = Field(default_factory=list)
    width: int | None = None  # detection: size of the upright original, in whose pixels boxes are given
    height: int | None = None
    boxes: list[SuggestedBoxOut] = Field(default_factory=list)  # detection: instead of suggestions
    query_version: int


class GivenAnswer(Reply):
    """An answer that its annotator may change."""

    id: UUID
    action: Literal["label", "skip", "flag"]
    label: int | None
    note: str | None
    answer: Any = None  # in tasks other than classification, as posted, with current classes


class OpenedImage(QueueItem):
    """`GET /api/images/{id}/question`: an image opened by its URL, and what a person can do with it."""

    given: GivenAnswer | None  # the annotator's own answer
    label: int | None  # the image's current label
    answer: Any = None  # the same in tasks other than classification
    status: Literal["labeled", "skipped", "flagged", "unlabeled"]
    settles: bool  # others have answered, and a new answer overrides them
    held: bool  # on somebody else's screen, so read-only


class QueuePage(Reply):
    """`GET /api/queue`."""

    items: list[QueueItem]
    query_version: int
    remaining: int  # images not finished yet
