"""Doubtful labels, worst first, with a proposed label and the neighbours that support it.

An image is judged by a model that has not seen its label, and by its nearest neighbours as that model predicts them; a
neighbour with a confirmed label votes for that label. `cleanlab` ranks labels by self-confidence, the probability of
the given label (Northcutt, Jiang & Chuang 2021), and flags errors. Images chosen by active learning are hard, so a flag
counts as confident only if an error is likely, and the model is sure of another class or most neighbours have it.
`trainer.review.label_noise` estimates which labels are doubtful and how many are wrong: if labels are correct, few or
none are listed.

Judging takes seconds, ranking takes milliseconds. Judgements are cached and renewed on a background thread while
somebody reviews, and each fix changes the ranking at once. Judging waits for the vectors of all labeled images: a label
that few others can speak for is doubted for no reason. A judgement stays until the next one takes its place.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from shared.wire.review import Evidence, LabelIssue, LabelIssues
from trainer.embeddings.space import Space
from trainer.evaluation.cross_validation import OutOfFold, lacking, out_of_fold
from trainer.review.label_noise import Errors, count_errors
from trainer.sync.background import Worker
from trainer.sync.snapshot import Snapshot
from trainer.tasks.targets import train_targets

NEIGHBOURS_SHARE = 1 / 3  # weight of the neighbours
NEARNESS = 0.2  # cosine distance at which a neighbour's weight falls to 1/e
DOUBTFUL = 0.05  # minimum error probability of a doubtful label; about 5 % of the errors lie below it
LIKELY = 0.2  # minimum error probability for a confident verdict
SURE = 0.8  # probability of another class that makes a verdict confident …
MOST = 0.6  # … or share of neighbours with that class
SHOWN = 5  # neighbours shown as evidence
STALE = 0.01  # share of changed labels after which all are judged again
STALE_LEAST = 10
REST = 3.0  # minimum pause between judgements, as a multiple of the last duration, so that learning has priority


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
        return _none()
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


class Reviewer:
    """Caches judgements of one trainer's labels; `look` returns the current doubts."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._known: OutOfFold | None = None
        self._geometry = -1
        self._log_id: UUID | None = None  # of the judgement
        self._wanted: tuple[Space, Snapshot] | None = None
        self._found: tuple[OutOfFold, UUID, int, Doubts] | None = None  # doubts at the log position seen last
        self._took = 0.0  # seconds of the last judgement
        self._at = float("-inf")  # its end
        self._progress = 0.0  # of the running judgement
        self._too_alike = False  # the last judgement failed: the images are copies of too few different ones
        self.worker = Worker("label-issues", self._judge)

    def look(self, space: Space, snapshot: Snapshot, limit: int, coming: int = 0) -> LabelIssues:
        """The `limit` worst labels; new labels are judged with the next judgement.

        `coming` labeled images will have a vector soon. If they are many, no judgement begins.
        """
        with self._lock:
            known = self._known if self._log_id == snapshot.log_id else None
            another = self._geometry != space.version
        if coming <= max(STALE_LEAST, int(STALE * len(snapshot.labels))):
            coming = 0
        stale = not coming and (another or self._is_stale(known, space, snapshot))
        rested = time.monotonic() - self._at > REST * self._took
        if stale and rested:
            with self._lock:
                self._wanted = (space, snapshot)
            self.worker.wake()
        if known is None:
            given = np.array(
                [label for image, label in snapshot.labels.items() if image in space.train.row_of], np.int64
            )
            missing = 0 if coming else max(lacking(given), int(self._too_alike))
            return LabelIssues(
                issues=[],
                judged=0,
                expected=0,
                enough=False,
                renewing=missing == 0,
                progress=self._progress,
                missing=missing,
                coming=coming,
                acked_seq=snapshot.acked_seq,
            )
        now = np.array([snapshot.labels.get(int(image), -1) for image in known.ids], np.int64)
        doubts = self._doubts(known, now, snapshot)
        return LabelIssues(
            issues=_told(known, doubts, now, snapshot.names, limit),
            judged=len(known.ids),
            expected=doubts.errors.count,
            expected_low=doubts.errors.low,
            expected_high=doubts.errors.high,
            enough=doubts.errors.enough,
            renewing=stale and rested,
            progress=self._progress,
            coming=coming,
            acked_seq=snapshot.acked_seq,
        )

    def _doubts(self, known: OutOfFold, now: NDArray[np.int64], snapshot: Snapshot) -> Doubts:
        """Computed once per position of the log."""
        found = self._found
        if found is not None and found[0] is known and found[1:3] == (snapshot.log_id, snapshot.acked_seq):
            return found[3]
        trusted = np.isin(known.ids, np.fromiter(snapshot.settled, np.int64))
        before = np.array([snapshot.before.get(int(image), -1) for image in known.ids], np.int64)
        doubts = find_doubts(known, now, trusted, before)
        self._found = (known, snapshot.log_id, snapshot.acked_seq, doubts)
        return doubts

    def _is_stale(self, known: OutOfFold | None, space: Space, snapshot: Snapshot) -> bool:
        labels = {image: label for image, label in snapshot.labels.items() if image in space.train.row_of}
        if known is None:
            return len(labels) > 0
        before = dict(zip(known.ids.tolist(), known.given.tolist(), strict=True))
        changed: int = sum(before.get(image) != label for image, label in labels.items()) + len(before.keys() - labels)
        return changed > max(STALE_LEAST, int(STALE * len(labels)))

    def _judge(self) -> None:
        with self._lock:
            wanted, self._wanted = self._wanted, None
        if wanted is None:
            return
        began = time.monotonic()
        space, snapshot = wanted
        rows, given = train_targets(space, snapshot)
        images = space.train.ids[rows]
        trusted = np.isin(images, np.fromiter(snapshot.settled, np.int64))
        import_module("cleanlab.filter")  # takes a second or two, so it is not imported in a request
        known = out_of_fold(images, space.train.rows[rows], given, trusted, seed=self._seed, progress=self._advance)
        with self._lock:
            self._progress, self._too_alike = 0.0, known is None and lacking(given) <= 0
            self._took, self._at = time.monotonic() - began, time.monotonic()
            if known is not None:
                self._known, self._geometry, self._log_id = known, space.version, snapshot.log_id

    def _advance(self, share: float) -> None:
        self._progress = share


def _told(
    known: OutOfFold, doubts: Doubts, now: NDArray[np.int64], names: Mapping[int, str], limit: int
) -> list[LabelIssue]:
    issues = []
    for place in range(min(limit, len(doubts.rows))):
        row, proposed = int(doubts.rows[place]), int(known.classes[doubts.proposed[place]])
        given = int(known.classes[doubts.given[place]])
        near = known.neighbours[row]
        speaking = [k for k in range(len(near)) if now[near[k]] == proposed]
        issues.append(
            LabelIssue(
                image_id=int(known.ids[row]),
                label=given,
                label_name=names.get(given, str(given)),
                proposed=proposed,
                proposed_name=names.get(proposed, str(proposed)),
                quality=float(doubts.quality[place]),
                confidence=float(doubts.confidence[place]),
                confident=bool(doubts.confident[place]),
                agreeing=len(speaking),
                neighbours=len(near),
                evidence=[
                    Evidence(image_id=int(known.ids[near[k]]), similarity=float(known.similarity[row, k]))
                    for k in speaking[:SHOWN]
                ],
            )
        )
    return issues


def _none() -> Doubts:
    ids, numbers = np.empty(0, np.int64), np.empty(0)
    return Doubts(ids, ids, ids, numbers, numbers, np.empty(0, np.bool_), Errors(numbers, 0, 0, 0, enough=False))
