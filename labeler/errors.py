"""What the labeler refuses, and why: one hierarchy, raised where it is known and turned into an HTTP answer in `api`.

Each message is a sentence for the person that says what to do; `fields` are what the contract adds beside `detail`.
"""

from __future__ import annotations

from typing import Any

from shared.storage.disk_errors import status_of
from shared.wire.fields import DiskTrouble
from shared.wire.images import Rejection


class Problem(Exception):  # noqa: N818 - what is refused is no error of the program
    """Something asked of the labeler that it does not do."""

    status = 400

    def __init__(self, detail: str, **fields: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.fields = fields


class Forbidden(Problem):
    """Somebody else's."""

    status = 403


class Missing(Problem):
    """There is no such thing."""

    status = 404


class Conflict(Problem):
    """True once, or true of another workspace, but not of this one now."""

    status = 409


class Gone(Problem):
    """It was there, and is no longer what it was."""

    status = 410


class Invalid(Problem):
    """It cannot be like that."""

    status = 422


class Unreachable(Problem):
    """The trainer did not answer."""

    status = 503


class NotSaved(Problem):
    """The disk refuses. Nothing of what was asked was written."""

    def __init__(self, trouble: DiskTrouble) -> None:
        super().__init__(trouble.message, disk=trouble.model_dump())
        self.status = status_of(trouble)


class Busy(Problem):
    """It can be had in a while."""

    status = 503


class AnnotationRefused(Invalid):
    """Some annotations of a post are invalid, so that none of it was written."""

    def __init__(self, invalid: list[dict[str, str]]) -> None:
        first = f"the first: {invalid[0]['reason']}"
        super().__init__(
            f"{len(invalid)} of the annotations cannot be taken ({first}). Send the rest.", invalid=invalid
        )
        self.invalid = invalid


class ImagesRefused(Invalid):
    """No image could be taken."""

    def __init__(self, rejected: list[Rejection]) -> None:
        super().__init__("None of the images could be taken.", rejected=[item.model_dump() for item in rejected])
