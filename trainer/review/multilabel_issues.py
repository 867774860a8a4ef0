"""Doubtful answers where an image can have several classes: a yes or a no to one class of one image.

Each class is judged separately, by models that have not seen the image's answer. A yes and a no are its two labels, and
they are judged as in `trainer.review.label_issues`. They are ranked by `cleanlab`'s self-confidence, from which its
multi-label scores are computed. An answer that leaves the class out is neither judged nor learned from.

A model that knows little about an image says no to each of its rare classes. So probabilities are evened, as if yes and
no were equally frequent. Otherwise, nearly all doubtful answers would be a yes: 86 % of the list on 300 strips of
digits with 3 % wrong answers. There, evening raises the average precision for wrong answers from 0.14 to 0.24.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.tasks.multilabel import Classes
from shared.wire.review import LabelIssue
from trainer.evaluation.cross_validation import DISBELIEVED, FOLDS, PASSES, OutOfFold, deal, nearest_groups
from trainer.learners.sigmoid_head import NO, UNKNOWN, YES, fit_sigmoids
from trainer.review.label_issues import Doubts, find_doubts, issue
from trainer.review.label_noise import Errors
from trainer.sync.snapshot import Snapshot
from trainer.tasks.multilabel import Multilabel

Ids = NDArray[np.int64]
Rows = NDArray[np.float32]
Answers = NDArray[np.int8]

MULTILABEL = Multilabel()
EACH = 2
"""Answers with yes, and with no, before the answers to a class can be judged."""


@dataclass(frozen=True)
class SeveralOutOfFold:
    """`probabilities` (n, K) of `classes` (K,) for the images `ids` (n,), each by a model that has not seen its answer,
    and evened.

    `neighbours` (n, k) are positions in `ids`, nearest first, with cosines `similarity` (n, k). `judged` (n, K) is
    False where nobody answered, or where no model could know the class. `first` (n, K) is the first pass.
    """

    ids: Ids
    values: list[Classes]
    classes: Ids
    probabilities: Rows
    neighbours: Ids
    similarity: Rows
    judged: NDArray[np.bool_]
    first: Rows


@dataclass(frozen=True)
class SeveralDoubts:
    """The doubts about each class that has any (by column of `SeveralOutOfFold`), and the errors among all answers."""

    of_class: Mapping[int, Doubts]
    errors: Errors


class SeveralJudge:
    """Judges answers about several classes. See `trainer.review.reviewer.Judge`."""

    def lacking(self, values: Sequence[Classes]) -> int:
        """Requires ten answers, and a class that two images have and two lack."""
        targets = targets_of(values)
        missing = (np.maximum(EACH - (targets == side).sum(axis=0), 0) for side in (YES, NO))
        return max(2 * FOLDS - len(values), int(sum(missing).min(initial=2 * EACH)))

    def trusted(self, ids: Ids, snapshot: Snapshot) -> NDArray[np.bool_]:
        """The classes that were settled (n, C). Settling one says nothing about the others of the image."""
        classes = snapshot.settled_classes
        width = 1 + max((max(each, default=-1) for each in classes.values()), default=-1)
        found = np.zeros((len(ids), width), np.bool_)
        for row, image_id in zip(found, ids.tolist(), strict=True):
            row[list(classes.get(image_id, ()))] = True
        return found

    def judge(
        self,
        ids: Ids,
        rows: Rows,
        values: Sequence[Classes],
        trusted: NDArray[np.bool_],
        *,
        seed: int,
        progress: Callable[[float], None],
    ) -> SeveralOutOfFold | None:
        """As `cross_validation.out_of_fold`: folds that keep near-duplicates together, and three passes."""
        if self.lacking(values) > 0:
            return None
        targets = targets_of(values)
        classes = _judgeable(targets)
        said = targets[:, classes]
        trusted = _of_classes(trusted, classes)
        neighbours, similarity, groups = nearest_groups(rows, _rarest(said), seed)
        fold = deal(groups, _rarest(said), seed)
        weights = np.ones(said.shape)
        first = np.zeros(said.shape, np.float32)
        for number in range(PASSES):
            probabilities = np.full(said.shape, np.nan, np.float32)
            for done, k in enumerate(np.unique(fold)):
                progress((number + done / FOLDS) / PASSES)
                out = fold == k
                try:
                    head = fit_sigmoids(rows[~out], said[~out], weights=weights[~out], seed=seed, calibrated=False)
                except ValueError:  # no class is left to learn
                    continue
                probabilities[np.ix_(out, head.classes)] = head.predict_proba(rows[out])
            first = probabilities if number == 0 else first
            evened = _evened(probabilities, said)
            own = np.where(said == YES, evened, 1 - evened)
            belief = (own >= 0.5).astype(np.float64) if number == 0 else own / np.maximum(own, 1 - own)
            weights = np.where(trusted | np.isnan(own), 1.0, np.maximum(belief, DISBELIEVED))
        judged = (said != UNKNOWN) & ~np.isnan(probabilities)
        if not judged.any():
            return None
        return SeveralOutOfFold(
            ids, list(values), classes, evened, neighbours, similarity, judged, _evened(first, said)
        )

    def doubts(
        self,
        known: SeveralOutOfFold,
        now: Sequence[Classes | None],
        trusted: NDArray[np.bool_],
        before: Sequence[Classes | None],
    ) -> SeveralDoubts:
        """The doubts about each class, see `label_issues.find_doubts`."""
        width = int(known.classes.max(initial=-1)) + 1
        says, said = (
            targets_of([each or Classes() for each in some], width)[:, known.classes] for some in (now, before)
        )
        confirmed = _of_classes(trusted, known.classes) & (says != UNKNOWN)
        found = {}
        for column in range(len(known.classes)):
            doubts = find_doubts(
                one_class(known, column),
                says[:, column].astype(np.int64),
                confirmed[:, column],
                said[:, column].astype(np.int64),
            )
            if known.judged[:, column].any():
                found[column] = doubts
        return SeveralDoubts(found, _together([each.errors for each in found.values()]))

    def missed(
        self, known: SeveralOutOfFold, found: SeveralDoubts, names: Mapping[int, str], limit: int
    ) -> list[LabelIssue]:
        """A class has no place that could be shown."""
        return []

    def told(
        self,
        known: SeveralOutOfFold,
        found: SeveralDoubts,
        now: Sequence[Classes | None],
        names: Mapping[int, str],
        limit: int,
    ) -> list[LabelIssue]:
        """The worst of all classes first."""
        places = [
            (float(doubts.quality[place]), column, place)
            for column, doubts in found.of_class.items()
            if int(known.classes[column]) in names
            for place in range(len(doubts.rows))
        ]
        says = targets_of([each or Classes() for each in now], int(known.classes.max(initial=-1)) + 1)
        return [
            _issue(known, found.of_class[column], column, place, says[:, known.classes[column]], names)
            for _, column, place in sorted(places)[:limit]
        ]


def targets_of(values: Sequence[Classes], width: int = 0) -> Answers:
    """The answers (n, C) as 1, 0 and −1, by class id, for at least `width` ids."""
    found: Answers = MULTILABEL.targets(values)
    more = width - found.shape[1]
    return np.pad(found, ((0, 0), (0, more)), constant_values=UNKNOWN) if more > 0 else found


def _of_classes(trusted: NDArray[np.bool_], classes: Ids) -> NDArray[np.bool_]:
    """Of (n, ids) the columns `classes` (K,): (n, K)."""
    width = int(classes.max(initial=-1)) + 1
    return np.pad(trusted, ((0, 0), (0, max(width - trusted.shape[1], 0))))[:, classes]


def one_class(known: SeveralOutOfFold, column: int) -> OutOfFold:
    """The findings for one class, as for labels that are no (0) and yes (1)."""
    given = targets_of(known.values, int(known.classes.max()) + 1)[:, known.classes[column]]
    pair, first = (_pair(each[:, column]) for each in (known.probabilities, known.first))
    return OutOfFold(
        known.ids,
        given.astype(np.int64),
        np.array([NO, YES], np.int64),
        pair,
        known.neighbours,
        known.similarity,
        known.judged[:, column],
        first,
    )


def _pair(p: Rows) -> Rows:
    """Probabilities of no and yes (n, 2). Where no model knew the class, the mean of the others."""
    filled = np.where(np.isnan(p), np.nanmean(p) if (~np.isnan(p)).any() else 0.5, p)
    return np.stack([1 - filled, filled], axis=1).astype(np.float32)


def _judgeable(targets: Answers) -> Ids:
    """Class ids with enough answers of both kinds."""
    return np.flatnonzero(((targets == YES).sum(axis=0) >= EACH) & ((targets == NO).sum(axis=0) >= EACH))


def _evened(probabilities: Rows, said: Answers) -> Rows:
    """Probabilities (n, K) of yes, as if yes and no were equally frequent among the answers `said` (n, K)."""
    has, lacks = ((said == side).sum(axis=0) for side in (YES, NO))
    yes, no = probabilities * lacks, (1 - probabilities) * has
    return np.asarray(yes / (yes + no), np.float32)


def _rarest(said: Answers) -> Ids:
    """The rarest class (column) of each image (n,), so that folds spread each class evenly; K for an image without."""
    has = said == YES
    rarest = np.where(has, has.sum(axis=0), np.inf).argmin(axis=1)
    return np.unique(np.where(has.any(axis=1), rarest, said.shape[1]), return_inverse=True)[1].astype(np.int64)


def _together(each: Sequence[Errors]) -> Errors:
    """The errors of all classes with enough answers. The classes are judged independently, so the squared
    distances to the ends of the intervals add up.
    """
    each = [one for one in each if one.enough]
    if not each:
        return Errors(np.empty(0), 0, 0, 0, enough=False)
    count = sum(one.count for one in each)
    below = np.sqrt(sum((one.count - one.low) ** 2 for one in each))
    above = np.sqrt(sum((one.high - one.count) ** 2 for one in each))
    return Errors(
        np.concatenate([one.wrong for one in each]),
        count,
        max(0, int(np.floor(count - below))),
        int(np.ceil(count + above)),
        enough=True,
    )


def _issue(
    known: SeveralOutOfFold, doubts: Doubts, column: int, place: int, says: Answers, names: Mapping[int, str]
) -> LabelIssue:
    class_id = int(known.classes[column])
    name = names.get(class_id, str(class_id))
    return issue(
        known,
        doubts,
        place,
        says == doubts.proposed[place],
        label=class_id,
        label_name=name,
        proposed=class_id,
        proposed_name=name,
        given=bool(doubts.given[place] == YES),
    )
