"""The labeler's refusals: one hierarchy of exceptions, raised by the domain and turned into HTTP answers by `api`.

Each message tells the person in one sentence what to do; `fields` are sent beside `detail`.
"""

from __future__ import annotations

from typing import Any

from shared.storage.disk_errors import status_of
from shared.wire.fields import DiskTrouble
from shared.wire.images import Rejection


class Problem(Exception):  # noqa: N818 - a refusal is not a program error
    """A request that the labeler refuses."""

    status = 400

    def __init__(self, detail: str, **fields: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.fields = fields


class Forbidden(Problem):
    """It belongs to somebody else."""

    status = 403


class Missing(Problem):
    """It does not exist."""

    status = 404


class Conflict(Problem):
    """It conflicts with the current state: done already, or meant for another workspace."""

    status = 409


class Gone(Problem):
    """It existed, but has been removed or changed."""

    status = 410


class Invalid(Problem):
    """The request is invalid."""

    status = 422


class Unreachable(Problem):
    """The trainer did not answer."""

    status = 503


class NotSaved(Problem):
    """The disk refuses writes. Nothing of the request was written."""

    def __init__(self, trouble: DiskTrouble) -> None:
        super().__init__(trouble.message, disk=trouble.model_dump())
        self.status = status_of(trouble)


class DatabaseAway(Problem):
    """The database server does not answer, or another labeler writes to it now."""

    status = 503

    def __init__(
        self, detail: str = "The database server does not answer, so this could not be done. It is tried again."
    ) -> None:
        super().__init__(detail)


class Busy(Problem):
    """It will be available in a while."""

    status = 503


class AnnotationRefused(Invalid):
    """Some annotations of a post are invalid, so none of it was written."""

    def __init__(self, invalid: list[dict[str, str]]) -> None:
        first = f"the first: {invalid[0]['reason']}"
        super().__init__(
            f"{len(invalid)} of the annotations are not valid ({first}). Send the others again.", invalid=invalid
        )
        self.invalid = invalid


class ImagesRefused(Invalid):
    """No image could be taken."""

    def __init__(self, rejected: list[Rejection]) -> None:
        super().__init__("None of the images could be taken.", rejected=[item.model_dump() for item in rejected])
