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
    """An answer that could settle an image: that of a person, or one made of all. `name` has it in words."""

    kind: Literal["one", "majority", "all", "common"]  # all: every box of anybody; common: those that everybody drew
    annotator: str | None = None  # whose it is
    name: str
    answer: Any


class Disagreement(Reply):
    """An image to which annotators gave different classes. Contains nothing about the model's prediction."""

    image_id: int
    url: str
    split: Split
    label: int | None  # current label: settled, else the majority's; None: a tie
    name: str | None
    answer: Any = None  # the same in tasks other than classification
    open_classes: list[int] = Field(default_factory=list)  # multi-label: as many say yes as no
    opinions: list[Opinion]  # oldest first, without settles
    settled: Opinion | None = None  # the settle in force
    width: int | None = None  # detection: of the upright original, in whose pixels boxes are given
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
    agreed: float  # share of them with the same class
    kappa: float | None
    f1: float | None = None  # detection: of their boxes at IoU 0.5, mean over the images


class ClassAgreement(Reply):
    """Agreement on one class against all others; `images` were given it by at least one annotator."""

    label: int
    name: str
    images: int
    kappa: float | None


class Agreement(Reply):
    """`GET /api/agreement`: 0 is chance level, 1 is perfect; `shared.tasks.agreement` explains the measures."""

    measure: Literal["cohen", "krippendorff"] | None  # None: no image has labels from two annotators
    images: int  # on which it is measured
    agreed: float | None  # share of them with the same class from everybody
    kappa: float | None  # detection: on the classes of the boxes that people have in common
    f1: float | None = None  # detection: of the boxes of each two people at IoU 0.5, mean over pairs and images
    pairs: list[PairAgreement]
    classes: list[ClassAgreement]


REVIEW = "review"
"""The source of answers given in the review; their `reason` is the verdict."""
ACCEPTED = "accepted"
"""The source of proposals that were accepted in bulk."""
Verdict = Literal["keep", "fix", "remove", "unsure"]


DoubtKind = Literal["missing", "class", "place"]
"""Of a box: nobody drew it, it has another class, or another place."""


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
    """A doubtful label. `quality` 0 … 1 is low for a bad label; `agreeing` of `neighbours` have the proposed class.

    In a multi-label project, one class of an image is doubtful: `label` and `proposed` are that class, `given` says
    whether it was answered with yes, and the opposite is proposed. An image may be listed once per class.

    In a detection project, one box is doubtful: `kind` says why, `box` is the place proposed, and `at` the box drawn (a
    missing box has none, and `label` is then the class proposed). An image may be listed several times.
    """

    image_id: int
    label: int
    label_name: str
    proposed: int
    proposed_name: str
    quality: float
    confidence: float  # in the proposed label
    confident: bool  # judged an error, and the model or most neighbours clearly say another class
    agreeing: int
    neighbours: int
    evidence: list[Evidence]  # neighbours that agree, nearest first
    given: bool | None = None  # multi-label: whether the class was answered with yes
    kind: DoubtKind | None = None  # detection, and the following
    box: Place | None = None
    at: Place | None = None


class LabelIssues(Reply):
    """`GET /label-issues`: worst first. About `expected` of the unconfirmed labels are wrong (95 % interval
    `expected_low` to `expected_high`); unless `enough`, there are too few labels to tell."""

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


class NearDuplicates(Reply):
    """`GET /near-duplicates`, most similar first: pairs of train images with different labels, and train images with
    the split of their near copy."""

    differing: list[tuple[int, int]]
    across: dict[int, Split]


class Oddities(Reply):
    """`GET /api/oddities`: train images to check, by image id, oddest first; `measured` of `total` so far."""

    differing: list[tuple[int, int]]  # near copies with different labels
    across: list[int]  # with a near copy among the held-out images
    dark: list[int]
    blurred: list[int]
    tiny: list[int]
    extreme: list[int]  # extreme aspect ratio
    measured: int
    total: int


class Picture(Reply):
    """An image near the doubtful one, as shown on the page."""

    image_id: int
    url: str
    similarity: float


class ReviewItem(Reply):
    """A label to judge. Classes are ids, with their current names; `given`, `kind`, `box` and `at` are as in
    `LabelIssue`. In a detection project, `answer` is the answer with what is proposed, `kept` the one of now, and
    `width` and `height` are those of the upright original."""

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
    """`GET /api/review`: labels that nobody has judged yet, worst first.

    `errors` were found so far, of about `expected` (95 % interval `expected_low` to `expected_high`); unless `enough`,
    there are too few labels to tell. Of the last `recent` judged labels, `recent_errors` were errors.
    """

    items: list[ReviewItem]
    as_of: int  # the log's end at that time; answers should name it
    open: int  # open doubts among those that the trainer listed
    acceptable: dict[str, int]  # confidence → number of confident proposals at or above it
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
    missing: int  # minimum labels still needed before any can be judged
    coming: int = 0  # labeled images without a vector yet, for which judging waits
    labels: int  # judged by the trainer so far


class AcceptPost(Message):
    """`POST /api/review/accept`: accept all confident proposals of at least this confidence, as one step.

    At most `most`, the number announced to the person; most doubtful labels first.
    """

    annotator: Name
    session: Name | None = None
    confidence: Confidence
    most: int = Field(default=MAX_ROWS, ge=1, le=MAX_ROWS)
