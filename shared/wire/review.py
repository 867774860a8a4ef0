"""Reviewing labels: doubtful ones, odd images, and where annotators disagree."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from shared.wire.fields import MAX_ROWS, Confidence, Message, Name, Reply, Split


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
    """`GET /api/agreement`: 0 is what chance gives, 1 is perfect; see `labeler.people.agreement` for the measures."""

    measure: Literal["cohen", "krippendorff"] | None  # None: no image has labels of two annotators
    images: int  # that it is measured on
    agreed: float | None  # share of them on which everybody gave the same class
    kappa: float | None
    pairs: list[PairAgreement]
    classes: list[ClassAgreement]


REVIEW = "review"
"""The source of answers that were given while reviewing; their `reason` is the verdict."""
ACCEPTED = "accepted"
"""The source of proposals that were taken many at once."""
Verdict = Literal["keep", "fix", "remove", "unsure"]


class Evidence(Reply):
    """A labeled image near the doubtful one, and its cosine similarity to it."""

    image_id: int
    similarity: float


class LabelIssue(Reply):
    """A label in doubt. `quality` 0 … 1 is low where it is bad; `agreeing` of the `neighbours` are as proposed."""

    image_id: int
    label: int
    label_name: str
    proposed: int
    proposed_name: str
    quality: float
    confidence: float  # in the label proposed
    confident: bool  # called an error, and the model is sure of another class or most neighbours are of it
    agreeing: int
    neighbours: int
    evidence: list[Evidence]  # of those that agree, nearest first


class LabelIssues(Reply):
    """`GET /label-issues`: worst first. About `expected` of the labels that nobody has confirmed are wrong, with 95 %
    confidence `expected_low` to `expected_high`; unless `enough`, there are too few labels to tell."""

    issues: list[LabelIssue]
    judged: int  # labels
    expected: int
    expected_low: int = 0
    expected_high: int = 0
    enough: bool = False
    renewing: bool  # labels are being judged, for the first time or anew
    progress: float = 0.0  # share of that which is done, 0 … 1
    missing: int = 0  # labels that are needed, at least, before any can be judged
    acked_seq: int


class NearDuplicates(Reply):
    """`GET /near-duplicates`, the most alike first: pairs of train images with different labels, and train images with
    the split that a near copy of theirs is in."""

    differing: list[tuple[int, int]]
    across: dict[int, Split]


class Oddities(Reply):
    """`GET /api/oddities`: train images to look at, by image id, the oddest first; `measured` of `total` so far."""

    differing: list[tuple[int, int]]  # near copies with different labels
    across: list[int]  # a near copy is held out to measure with
    dark: list[int]
    blurred: list[int]
    tiny: list[int]
    extreme: list[int]  # much longer than wide, or the other way round
    measured: int
    total: int


class Picture(Reply):
    """An image near the doubtful one, as the page shows it."""

    image_id: int
    url: str
    similarity: float


class ReviewItem(Reply):
    """A label to judge. Classes are ids, with their names of now."""

    image_id: int
    url: str
    label: int
    label_name: str
    proposed: int
    proposed_name: str
    confidence: float
    confident: bool
    agreeing: int
    neighbours: int
    evidence: list[Picture]


class ReviewPage(Reply):
    """`GET /api/review`: what nobody has judged yet, worst first.

    `errors` of about `expected` were found so far (with 95 % confidence of `expected_low` to `expected_high`); unless
    `enough`, there are too few labels to tell. Of the last `recent` judged, `recent_errors` were errors.
    """

    items: list[ReviewItem]
    as_of: int  # the log's end that they were seen at, which answers should name
    open: int  # doubts that wait, as far as the trainer named them
    acceptable: dict[str, int]  # confidence → how many of the confident ones are at least that sure
    judged: int
    errors: int
    expected: int
    expected_low: int
    expected_high: int
    enough: bool
    recent: int
    recent_errors: int
    renewing: bool
    progress: float  # of judging them, 0 … 1
    missing: int  # labels that are needed, at least, before any can be judged
    labels: int  # that the trainer has judged; 0: none so far


class AcceptPost(Message):
    """`POST /api/review/accept`: take all confident proposals of at least this confidence, as one step.

    At most `most` of them, the most doubtful labels first: so many were announced to whoever asks for it.
    """

    annotator: Name
    session: Name | None = None
    confidence: Confidence
    most: int = Field(default=MAX_ROWS, ge=1, le=MAX_ROWS)
