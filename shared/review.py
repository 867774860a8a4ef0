"""The wire types of reviewing labels: what the trainer doubts, and what the labeler shows of it."""

from __future__ import annotations

from shared.messages import Reply

REVIEW = "review"
"""The source of answers that were given while reviewing."""


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
    """`GET /label-issues`: worst first. `expected` is about how many labels that nobody has confirmed are wrong."""

    issues: list[LabelIssue]
    judged: int  # labels
    expected: int
    renewing: bool  # labels are being judged anew
    acked_seq: int
