"""Reviewing labels: doubtful labels, odd images, and disagreements between annotators."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from shared.wire.fields import MAX_ROWS, Confidence, Message, Name, Reply, Split


class Opinion(Reply):
    """One annotator's answer for an image."""

    id: UUID
    annotator: str
    action: Literal["label", "skip", "flag", "settle"]
    label: int | None
    name: str | None  # current name of the class
    answer: Any = None  # in tasks other than classification
    at: datetime
    reason: str | None = None
    note: str | None = None


class Choice(Reply):
    """An answer that could settle an image: one person's, or one combined from all. `name` has it in words."""

    kind: Literal["one", "majority", "all", "common"]  # all: everybody's boxes; common: the boxes that everybody drew
    annotator: str | None = None  # its author
    name: str
    answer: Any


class Disagreement(Reply):
    """An image to which annotators gave different classes. Contains nothing about the model's prediction."""

    image_id: int
    url: str
    split: Split
    label: int | None  # current label: the settled one, else the majority's; None for a tie
    name: str | None
    answer: Any = None  # the same in tasks other than classification
    open_classes: list[int] = Field(default_factory=list)  # multi-label: classes with a tie
    opinions: list[Opinion]  # oldest first, without settling answers
    settled: Opinion | None = None  # the settling answer in force
    width: int | None = None  # detection: size of the upright original, in whose pixels boxes are given
    height: int | None = None
    choices: list[Choice] = Field(default_factory=list)  # detection


class DisagreementPage(Reply):
    """`GET /api/disagreements`: ties first, then majority decisions, each by image id; or the settled ones."""

    items: list[Disagreement]
    open: int
    settled: int


class PairAgreement(Reply):
    """Cohen's kappa of two annotators on the images that both labeled; None if not defined."""

    annotators: tuple[str, str]
    images: int
    agreed: float  # share of images with the same class
    kappa: float | None
    f1: float | None = None  # detection: F1 of their boxes at IoU 0.5, mean over the images


class ClassAgreement(Reply):
    """Agreement on one class against all others. `images` counts images to which at least one annotator gave it."""

    label: int
    name: str
    images: int
    kappa: float | None


class Agreement(Reply):
    """`GET /api/agreement`: 0 is chance level, 1 is perfect; `shared.tasks.agreement` explains the measures."""

    measure: Literal["cohen", "krippendorff"] | None  # None: no image has labels from two annotators
    images: int  # number of images it is measured on
    agreed: float | None  # share of images with the same class from everybody
    kappa: float | None  # detection: agreement on the classes of boxes that people have in common
    f1: float | None = None  # detection: F1 of two people's boxes at IoU 0.5, mean over pairs and images
    pairs: list[PairAgreement]
    classes: list[ClassAgreement]


REVIEW = "review"
"""The source of answers given in the review; their `reason` is the verdict."""
ACCEPTED = "accepted"
"""The source of proposals accepted in bulk."""
Verdict = Literal["keep", "fix", "remove", "unsure"]


DoubtKind = Literal["missing", "class", "place", "missed"]
"""Why a box is doubtful: it is missing, has another class, or another place. A box that is "missed" is not doubtful: a
detector does not find it.
"""


class Place(Reply):
    """A box: top left corner, width and height in pixels of the upright original."""

    x: float
    y: float
    w: float
    h: float


class Evidence(Reply):
    """A labeled image near the doubtful one, and its cosine similarity."""

    image_id: int
    similarity: float


class LabelIssue(Reply):
    """A doubtful label. `quality` (0 … 1) is low for a bad label. `agreeing` of `neighbours` have the proposed class.

    In a multi-label project, one class of an image is doubtful: `label` and `proposed` are that class, `given` says
    whether it was answered with yes, and the opposite is proposed. An image may be listed once per class.

    In a detection project, one box is doubtful: `kind` says why, `box` is the proposed place, and `at` the drawn box.
    For a missing box, `at` is None and `label` is the proposed class. An image may be listed several times.
    """

    image_id: int
    label: int
    label_name: str
    proposed: int
    proposed_name: str
    quality: float
    confidence: float  # in the proposed label
    confident: bool  # an error, on which the model or most neighbours clearly propose another class
    agreeing: int
    neighbours: int
    evidence: list[Evidence]  # neighbours that agree, nearest first
    given: bool | None = None  # multi-label: whether the class was answered with yes
    kind: DoubtKind | None = None  # this and the following: detection only
    box: Place | None = None
    at: Place | None = None


class LabelIssues(Reply):
    """`GET /label-issues`: worst first. About `expected` of the unconfirmed labels are wrong (95 % interval
    `expected_low` to `expected_high`). If `enough` is false, there are too few labels for this estimate.
    """

    issues: list[LabelIssue]
    judged: int  # number of labels
    expected: int
    expected_low: int = 0
    expected_high: int = 0
    enough: bool = False
    renewing: bool  # labels are being judged right now
    progress: float = 0.0  # progress of judging, 0 … 1
    missing: int = 0  # minimum labels still needed before any can be judged
    coming: int = 0  # labeled images without a vector yet, for which judging waits
    acked_seq: int
    missed: list[LabelIssue] = Field(default_factory=list)  # detection: boxes that are not found, least certain first


class NearDuplicates(Reply):
    """`GET /near-duplicates`, most similar first: pairs of train images with different labels, and train images with
    the split of their near copy.
    """

    differing: list[tuple[int, int]]
    across: dict[int, Split]


class Oddities(Reply):
    """`GET /api/oddities`: train images to check, by image id, oddest first. `measured` of `total` images so far."""

    differing: list[tuple[int, int]]  # near copies with different labels
    across: list[int]  # train images with a near copy among the held-out images
    dark: list[int]
    blurred: list[int]
    tiny: list[int]
    extreme: list[int]  # extreme aspect ratio
    measured: int
    total: int


class Picture(Reply):
    """An image similar to the doubtful one, as shown on the page."""

    image_id: int
    url: str
    similarity: float


class ReviewItem(Reply):
    """A label to check. Classes are ids, with their current names; `given`, `kind`, `box` and `at` are as in
    `LabelIssue`. In a detection project, `answer` is the answer with the proposal, `kept` the current one, and `width`
    and `height` are those of the upright original.
    """

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
    given: bool | None = None
    kind: DoubtKind | None = None
    box: Place | None = None
    at: Place | None = None
    answer: Any = None
    kept: Any = None
    width: int | None = None
    height: int | None = None


class ReviewPage(Reply):
    """`GET /api/review`: labels that nobody has checked yet, worst first.

    So far `errors` were found, of about `expected` (95 % interval `expected_low` to `expected_high`). If `enough` is
    false, there are too few labels for this estimate. Of the last `recent` checked labels, `recent_errors` were errors.
    """

    items: list[ReviewItem]
    as_of: int  # the end of the log at that time, to send with answers
    open: int  # number of listed doubts that are still open
    acceptable: dict[str, int]  # confidence → number of confident proposals with at least this confidence
    judged: int
    errors: int
    expected: int
    expected_low: int
    expected_high: int
    enough: bool
    recent: int
    recent_errors: int
    renewing: bool
    progress: float  # progress of judging, 0 … 1
    missing: int  # minimum labels still needed before any can be judged
    coming: int = 0  # labeled images without a vector yet, for which judging waits
    labels: int  # labels judged by the trainer so far
    missed: list[ReviewItem] = Field(default_factory=list)  # detection: drawn boxes that a detector does not find


class AcceptPost(Message):
    """`POST /api/review/accept`: accept all confident proposals with at least this confidence, as one step.

    `most` is the maximum number, which the page has shown to the person. The most doubtful labels come first.
    """

    annotator: Name
    session: Name | None = None
    confidence: Confidence
    most: int = Field(default=MAX_ROWS, ge=1, le=MAX_ROWS)
