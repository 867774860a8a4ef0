"""The wire types of several people at work: what each said of an image, and how far they agree."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from shared.messages import Reply, Split


class Opinion(Reply):
    """Somebody's answer about an image, as it was given."""

    id: UUID
    annotator: str
    action: Literal["label", "skip", "flag", "settle"]
    label: int | None
    name: str | None  # of the class, as it is called now
    at: datetime
    reason: str | None = None
    note: str | None = None


class Disagreement(Reply):
    """An image for which annotators gave different classes. It says nothing of what the model thinks."""

    image_id: int
    url: str
    split: Split
    label: int | None  # as it counts now: settled, else of the majority; None: a tie
    name: str | None
    opinions: list[Opinion]  # oldest first, settles left out
    settled: Opinion | None = None  # the settle in force


class DisagreementPage(Reply):
    """`GET /api/disagreements`: ties first, then what a majority decides, each by image id; or those settled."""

    items: list[Disagreement]
    open: int
    settled: int


class PairAgreement(Reply):
    """Cohen's kappa of two annotators on the images that both labeled; None where it is not defined."""

    annotators: tuple[str, str]
    images: int
    agreed: float  # share of them with the same class
    kappa: float | None


class ClassAgreement(Reply):
    """Agreement on one class against all others; `images` are those to which anybody gave it."""

    label: int
    name: str
    images: int
    kappa: float | None


class Agreement(Reply):
    """`GET /api/agreement`: 0 is what chance gives, 1 is perfect; see `labeler.agreement` for the measures."""

    measure: Literal["cohen", "krippendorff"] | None  # None: no image has labels of two annotators
    images: int  # that it is measured on
    agreed: float | None  # share of them on which everybody gave the same class
    kappa: float | None
    pairs: list[PairAgreement]
    classes: list[ClassAgreement]
