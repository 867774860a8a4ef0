"""The query stream, from the trainer to the labeler: ranked lists, and the questions that a page gets."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from shared.wire.fields import Confidence, Id, Message, Name, Reply, Score, Uuid

Purpose = Literal["query", "validation", "test"]
MAX_QUERIES = 10_000
"""Queries in one push."""


class Suggestion(Message):
    """A class that the model proposes, with its probability."""

    label: Id
    confidence: Confidence


class Query(Message):
    """One image to ask about. `score` falls along the list; `reason` is a few words for the person."""

    image_id: Id
    score: Score = 0.0
    reason: str | None = Field(default=None, max_length=500)
    suggestions: list[Suggestion] = Field(default_factory=list, max_length=50)


class QueryPush(Message):
    """`POST /api/queries`: a ranked list, best first, made by a model that had seen the log up to `acked_seq`."""

    id: Uuid
    log_id: Uuid
    model_version: Name
    acked_seq: Id
    strategy: Name
    queries: list[Query] = Field(max_length=MAX_QUERIES)


class QueryReceipt(Reply):
    """The version under which the list is in force."""

    query_version: int


class SuggestionOut(Reply):
    """A suggestion as the queue hands it out: the class by id and by its name of now."""

    label: int
    name: str
    confidence: float


class QueueItem(Reply):
    """One leased image."""

    image_id: int
    url: str
    uri: str = ""  # name and folder of its file, relative to the image folder
    purpose: Purpose
    rank: int
    score: float | None = None
    reason: str | None = None
    suggestions: list[SuggestionOut] = Field(default_factory=list)
    query_version: int


class GivenAnswer(Reply):
    """An answer that its annotator may correct."""

    id: UUID
    action: Literal["label", "skip", "flag"]
    label: int | None
    note: str | None


class OpenedImage(QueueItem):
    """`GET /api/images/{id}/question`: an image opened by its own address, and what may be done with it."""

    given: GivenAnswer | None  # what the annotator answered
    label: int | None  # what it is labeled now, whoever did
    status: Literal["labeled", "skipped", "flagged", "unlabeled"]
    settles: bool  # others have answered it: a class given now overrides them
    held: bool  # on someone else's screen: to be looked at only


class QueuePage(Reply):
    """`GET /api/queue`."""

    items: list[QueueItem]
    query_version: int
    remaining: int  # images that nobody has finished yet
