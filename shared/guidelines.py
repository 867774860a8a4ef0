"""The wire types of a project's guidelines: what its annotators should know, in Markdown."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from shared.messages import Message, Name, Reply


class GuidelinesView(Reply):
    """`GET /api/project/guidelines`. `html` is the text rendered, without markup or images of its own."""

    text: str = ""
    html: str = ""
    mark: str = ""  # changes with the text; empty while there is none
    annotator: str | None = None  # who wrote it last,
    changed_at: datetime | None = None  # and when


class GuidelinesPatch(Message):
    """`PATCH /api/project/guidelines`. `as_of`: the mark of the text that was edited; 409 if it changed since."""

    text: Annotated[str, Field(max_length=20_000)]
    annotator: Name = "api"
    as_of: Annotated[str, Field(max_length=100)] | None = None
