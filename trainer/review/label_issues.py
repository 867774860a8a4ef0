"""Doubtful labels, worst first, with a proposed label and the neighbours that support it.

An image is judged by a model that has not seen its label, and by its nearest neighbours as that model predicts them; a
neighbour with a confirmed label votes for that label. `cleanlab` ranks labels by self-confidence, the probability of
the given label (Northcutt, Jiang & Chuang 2021), and flags errors. Images chosen by active learning are hard, so a flag
counts as confident only if an error is likely, and the model is sure of another class or most neighbours have it.
`trainer.review.label_noise` estimates which labels are doubtful and how many are wrong: if labels are correct, few or
none are listed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.wire.review import Evidence, LabelIssue
from trainer.evaluation.cross_validation import OutOfFold, lacking, out_of_fold
from trainer.review.label_noise import Errors, count_errors
from trainer.sync.snapshot import Snapshot

NEIGHBOURS_SHARE = 1 / 3  # weight of the neighbours
NEARNESS = 0.2  # cosine distance at which a neighbour's weight falls to 1/e
DOUBTFUL = 0.05  # minimum error probability of a doubtful label; about 5 % of the errors lie below it
LIKELY = 0.2  # minimum error probability for a confident verdict
SURE = 0.8  # probability of another class that makes a verdict confident …
MOST = 0.6  # … or share of neighbours with that class
SHOWN = 5  # neighbours shown as evidence


@dataclass(frozen=True)
class Doubts:
    """Doubtful labels, worst first: rows of `OutOfFold` (m,), with class positions and scores.

    `errors` estimates the errors among unconfirmed labels.
    """

    rows: NDArray[np.int64]
    given: NDArray[np.int64]
    proposed: NDArray[np.int64]
    quality: NDArray[np.float64]  # 0 … 1, low is bad
    confidence: NDArray[np.float64]  # in the proposed class
    confident: NDArray[np.bool_]
    errors: Errors


def blended(known: OutOfFold, at: NDArray[np.int64], trusted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mix the model's probabilities (n, K) with the neighbours'. `at` (n,) are class positions, `trusted` (n,) bool."""
    said = known.probabilities.astype(np.float64)
    said[trusted] = np.eye(said.shape[1])[at[trusted]]
    say = np.exp((known.similarity - known.similarity[:, :1]) / NEARNESS)
    say /= say.sum(axis=1, keepdims=True)
    around = np.einsum("nk,nkc->nc", say, said[known.neighbours])
    mixed = (1 - NEIGHBOURS_SHARE) * known.probabilities + NEIGHBOURS_SHARE * around
    return np.asarray(mixed / mixed.sum(axis=1, keepdims=True))


def find_doubts(
    known: OutOfFold, now: NDArray[np.int64], trusted: NDArray[np.bool_], before: NDArray[np.int64] | None = None
) -> Doubts:
    """Find doubtful labels in `now` (n,): class ids, −1 for none. `trusted` (n,) are confirmed by a person.

    `before` (n,) is the label before the confirmation, −1 where unknown.
    """
    from cleanlab.filter import find_label_issues  # takes a second, and only a review needs it
    from cleanlab.rank import get_label_quality_scores

    at = np.clip(np.searchsorted(known.classes, now), 0, len(known.classes) - 1)
    labeled = known.judged & (known.classes[at] == now)
    mixed = blended(known, at, trusted & labeled)
    rows = np.flatnonzero(labeled)
    if len(np.unique(at[rows])) < 2:
        return no_doubts()
    given, said = at[rows], mixed[rows]
    quality = get_label_quality_scores(given, said, method="self_confidence")
    called = find_label_issues(given, said, n_jobs=1)
    others = said.copy()
    others[np.arange(len(rows)), given] = -1
    proposed, confidence = others.argmax(axis=1), others.max(axis=1)
    likely = known.probabilities[rows, proposed] >= SURE
    agreeing = (at[known.neighbours[rows]] == proposed[:, None]) & labeled[known.neighbours[rows]]
    errors = _errors(known, rows, given, trusted[rows], None if before is None else before[rows])
    confident = called & (likely | (agreeing.mean(axis=1) >= MOST)) & (errors.wrong >= LIKELY)
    order = np.argsort(quality, kind="stable")
    order = order[errors.wrong[order] >= DOUBTFUL]
    return Doubts(
        rows[order], given[order], proposed[order], quality[order], confidence[order], confident[order], errors
    )


def _errors(
    known: OutOfFold,
    rows: NDArray[np.int64],
    given: NDArray[np.int64],
    trusted: NDArray[np.bool_],
    before: NDArray[np.int64] | None,
) -> Errors:
    was = np.full(len(rows), -1, np.int64)
    if before is not None:
        at = np.clip(np.searchsorted(known.classes, before), 0, len(known.classes) - 1)
        was = np.where(known.classes[at] == before, at, -1)
    models = [known.probabilities[rows]]
    if known.first is not None:
        models.append(known.first[rows])
    return count_errors(models, given, trusted, was)


class ClassJudge:
    """Judges labels that are class ids. See `trainer.review.reviewer.Judge`."""

    def lacking(self, values: Sequence[int]) -> int:
        """See `cross_validation.lacking`."""
        return lacking(np.array(values, np.int64))

    def trusted(self, ids: NDArray[np.int64], snapshot: Snapshot) -> NDArray[np.bool_]:
        """Mask (n,) of the settled images."""
        return settled(ids, snapshot)

    def judge(
        self,
        ids: NDArray[np.int64],
        rows: NDArray[np.float32],
        values: Sequence[int],
        trusted: NDArray[np.bool_],
        *,
        seed: int,
        progress: Callable[[float], None],
    ) -> OutOfFold | None:
        """See `cross_validation.out_of_fold`."""
        return out_of_fold(ids, rows, np.array(values, np.int64), trusted, seed=seed, progress=progress)

    def doubts(
        self,
        known: OutOfFold,
        now: Sequence[int | None],
        trusted: NDArray[np.bool_],
        before: Sequence[int | None],
    ) -> Doubts:
        """See `find_doubts`."""
        return find_doubts(known, _ids(now), trusted, _ids(before))

    def told(
        self, known: OutOfFold, found: Doubts, now: Sequence[int | None], names: Mapping[int, str], limit: int
    ) -> list[LabelIssue]:
        """The first of the doubtful labels."""
        return _told(known, found, _ids(now), names, limit)

    def missed(self, known: OutOfFold, found: Doubts, names: Mapping[int, str], limit: int) -> list[LabelIssue]:
        """A class has no place that could be shown."""
        return []


def settled(ids: NDArray[np.int64], snapshot: Snapshot) -> NDArray[np.bool_]:
    """Mask (n,) of the images `ids` that were settled."""
    return np.isin(ids, np.fromiter(snapshot.settled, np.int64))


def _ids(values: Sequence[int | None]) -> NDArray[np.int64]:
    return np.array([-1 if each is None else each for each in values], np.int64)


def _told(
    known: OutOfFold, doubts: Doubts, now: NDArray[np.int64], names: Mapping[int, str], limit: int
) -> list[LabelIssue]:
    issues = []
    for place in range(min(limit, len(doubts.rows))):
        given, proposed = int(known.classes[doubts.given[place]]), int(known.classes[doubts.proposed[place]])
        issues.append(
            issue(
                known,
                doubts,
                place,
                now == proposed,
                label=given,
                label_name=names.get(given, str(given)),
                proposed=proposed,
                proposed_name=names.get(proposed, str(proposed)),
            )
        )
    return issues


class Neighbourhood(Protocol):
    """Judged images and the nearest neighbours of each."""

    @property
    def ids(self) -> NDArray[np.int64]:
        """The images (n,)."""

    @property
    def neighbours(self) -> NDArray[np.int64]:
        """Their nearest neighbours (n, k), as positions in `ids`."""

    @property
    def similarity(self) -> NDArray[np.float32]:
        """The cosine similarity to each of them (n, k)."""


def issue(
    known: Neighbourhood, doubts: Doubts, place: int, agrees: NDArray[np.bool_], **classes: int | str | bool
) -> LabelIssue:
    """The doubt at this place of the list, about these `classes`. `agrees` (n,): the images with the proposed label."""
    row = int(doubts.rows[place])
    near = known.neighbours[row]
    speaking = np.flatnonzero(agrees[near])
    return LabelIssue.model_validate(
        {
            "image_id": int(known.ids[row]),
            "quality": float(doubts.quality[place]),
            "confidence": float(doubts.confidence[place]),
            "confident": bool(doubts.confident[place]),
            "agreeing": len(speaking),
            "neighbours": len(near),
            "evidence": [
                Evidence(image_id=int(known.ids[near[k]]), similarity=float(known.similarity[row, k]))
                for k in speaking[:SHOWN]
            ],
            **classes,
        }
    )


def no_doubts() -> Doubts:
    """No doubtful labels, because none can be judged."""
    ids, numbers = np.empty(0, np.int64), np.empty(0)
    return Doubts(ids, ids, ids, numbers, numbers, np.empty(0, np.bool_), Errors(numbers, 0, 0, 0, enough=False))
