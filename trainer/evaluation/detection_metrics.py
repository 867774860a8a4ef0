"""Metrics of a detector on test images, with confidence intervals.

Average precision is defined as in COCO: the mean of interpolated precision at 101 recalls, where boxes are matched one
to one, most confident first (`trainer.evaluation.box_matching`). mAP is its mean over the classes in the test images,
at IoU 0.5, or over IoU 0.5, 0.55 … 0.95. This is our own code, because a bootstrap needs the matches of each image,
which COCO's tools do not expose; a test compares the figures with theirs.

Intervals come from a bootstrap over images (Efron 1979), because the boxes of one image are not independent. They are
at least as wide as Wilson's interval at the bootstrap's variance. Boxes are matched only once, because matches do not
depend on which images are drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shared.wire.evaluation import ClassMetrics, ClassPair, Interval
from trainer.evaluation.box_matching import MOST_FOUND, THRESHOLDS, Bools, Floats, Ids, Placed, matched, pairing
from trainer.evaluation.measured import Measured, not_measured
from trainer.evaluation.metrics import FEW, RESAMPLES, widened

RECALLS: Floats = np.linspace(0.0, 1.0, 101)
CELLS = 60_000_000
"""Maximum of resamples × matched boxes: about a second. There are always `LEAST_RESAMPLES` resamples or more."""
LEAST_RESAMPLES = 100
AT_ONCE = 4_000_000
"""Maximum of resamples × found boxes of a class per chunk: 32 MB for each of a few arrays."""
PAIRS = 10
"""Maximum number of pairs of confused classes in the report."""


@dataclass(frozen=True)
class Ranked:
    """All found boxes of one class, most confident first: the image (D,) of each, and whether it matches a true box at
    each IoU (T, D). `true` (n,) counts the true boxes of each image.
    """

    images: Ids
    hits: Bools
    true: Ids


def ranked(truth: Sequence[Placed], found: Sequence[Placed], class_id: int, thresholds: Floats = THRESHOLDS) -> Ranked:
    """The boxes of one class in all images."""
    images, scores, hits, true = [], [], [], []
    for number, (real, said) in enumerate(zip(truth, found, strict=True)):
        mine = np.flatnonzero(said.classes == class_id)
        mine = mine[np.argsort(-said.scores[mine], kind="stable")][:MOST_FOUND]
        places = real.places[real.classes == class_id]
        images.append(np.full(len(mine), number, np.int64))
        scores.append(said.scores[mine])
        hits.append(matched(places, said.places[mine], thresholds) >= 0)
        true.append(len(places))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return Ranked(np.concatenate(images)[order], np.concatenate(hits, axis=1)[:, order], np.array(true, np.int64))


def average_precision(boxes: Ranked, weights: Floats) -> Floats:
    """The average precision (R, T) at each IoU, where image i counts `weights` (R, n) times.

    NaN where none of the images drawn has the class.
    """
    rows = max(AT_ONCE // max(len(boxes.images), 1), 1)
    return np.concatenate([_precision(boxes, weights[k : k + rows]) for k in range(0, len(weights), rows)])


def _precision(boxes: Ranked, weights: Floats) -> Floats:
    drawn = weights[:, boxes.images]  # (R, D)
    seen = np.cumsum(drawn, axis=1)
    total = weights @ boxes.true.astype(np.float64)
    found = np.full((len(weights), len(boxes.hits)), np.nan)
    some = total > 0
    for t, hits in enumerate(boxes.hits):
        right = np.cumsum(drawn[:, hits], axis=1)
        if not right.shape[1]:
            found[some, t] = 0.0
            continue
        precision = right / np.maximum(seen[:, hits], 1e-12)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = right / np.maximum(total, 1e-12)[:, None]
        reached = np.searchsorted(RECALLS, recall, side="right")
        found[some, t] = (np.diff(reached, axis=1, prepend=0) * best).sum(axis=1)[some] / len(RECALLS)
    return found


def precision_at_recalls(boxes: Ranked) -> Floats:
    """The highest precision at each of `RECALLS` or a higher recall (101,), at the first IoU; 0 if the recall is not
    reached.
    """
    hits = boxes.hits[0]
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return np.asarray(best[np.searchsorted(right / max(int(boxes.true.sum()), 1), RECALLS, side="left")])


def resamples(ranks: Sequence[Ranked], images: int) -> Floats:
    """How often each resample contains each image (R, n)."""
    cells = sum(each.hits.size // 10 + int(each.hits.sum()) for each in ranks) + images
    count = int(np.clip(CELLS // max(cells, 1), LEAST_RESAMPLES, RESAMPLES))
    drawn = np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), size=count)
    return np.asarray(drawn, np.float64)


def evaluate(
    truth: Sequence[Placed],
    found: Sequence[Placed],
    names: Mapping[int, str],
    *,
    learned: frozenset[int],
    suggested_from: float,
    iou_threshold: float = 0.5,
) -> Measured:
    """Compute all metrics of a detector that `found` boxes in n images; `truth` are the boxes that people drew. Only
    the classes in `names` count.

    Precision, recall and F1 are those of the suggested boxes, at `iou_threshold`, as is the average precision of each
    class.
    """
    n = len(truth)
    ids = sorted(names)
    limits = np.append(THRESHOLDS, iou_threshold)
    ranks = {class_id: ranked(truth, found, class_id, limits) for class_id in ids if n}
    here = {class_id: each for class_id, each in ranks.items() if each.true.any()}
    pairs, counts = _suggested(truth, found, names, suggested_from, iou_threshold)
    if not here:
        classes = [_class_metrics(each, names, counts, None, suggested_from, learned) for each in ids]
        nothing = {"map_50": not_measured(), "map_50_95": not_measured()}
        return Measured({}, details={**nothing, "iou_threshold": iou_threshold, "classes": classes})
    weights = resamples(list(here.values()), n)
    once = np.ones((1, n))
    values = {class_id: average_precision(each, once)[0] for class_id, each in here.items()}
    drawn = np.stack([average_precision(each, weights) for each in here.values()])  # (C, R, T)
    mean = np.mean(list(values.values()), axis=0)
    known = ~np.isnan(drawn)
    resampled = np.where(known, drawn, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)  # (R, T)
    few = _few(list(here.values()), n)
    map_50 = widened(float(mean[0]), resampled[:, 0], n, few=few)
    map_50_95 = widened(float(mean[:-1].mean()), resampled[:, :-1].mean(axis=1), n, few=few)
    precisions = {
        class_id: _of_class(float(values[class_id][-1]), drawn[c, :, -1], each, n)
        for c, (class_id, each) in enumerate(here.items())
    }
    return Measured(
        {"map_50": map_50.low, "map_50_95": map_50_95.low},
        details={
            "map_50": map_50,
            "map_50_95": map_50_95,
            "iou_threshold": iou_threshold,
            "classes": [
                _class_metrics(each, names, counts, precisions.get(each), suggested_from, learned) for each in ids
            ],
            "confused": pairs,
        },
    )


def mean_average_precision(
    truth: Sequence[Placed], found: Sequence[Placed], classes: Sequence[int], weights: Floats, thresholds: Floats
) -> Floats:
    """The mean over the classes and IoUs (R,), where images count `weights` (R, n) times; 0 without any true box."""
    each = [average_precision(ranked(truth, found, class_id, thresholds), weights) for class_id in classes]
    drawn = np.stack(each) if each else np.full((1, len(weights), len(thresholds)), np.nan)
    known = ~np.isnan(drawn)
    mean = np.where(known, drawn, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.asarray(mean.mean(axis=1))


def _few(ranks: Sequence[Ranked], n: int) -> bool:
    """Whether a bootstrap would be unreliable, because hardly any image has a hit, or hardly any a miss, at IoU 0.5."""
    right, missed = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    for each in ranks:
        hits = np.bincount(each.images[each.hits[0]], minlength=n)
        right |= hits > 0
        missed |= hits < each.true
    return min(int(right.sum()), int(missed.sum())) < FEW


def _of_class(value: float, resampled: Floats, boxes: Ranked, n: int) -> Interval:
    some = resampled[~np.isnan(resampled)]
    few = int((boxes.true > 0).sum()) < FEW
    return widened(value, some if len(some) else np.array([value]), n, few=few or _few([boxes], n))


def _suggested(
    truth: Sequence[Placed], found: Sequence[Placed], names: Mapping[int, str], score: float, iou: float
) -> tuple[list[ClassPair], Mapping[str, Counter[int]]]:
    """Of the suggested boxes: the most confused classes, and counts per class."""
    true: Counter[int] = Counter()
    said: Counter[int] = Counter()
    hits: Counter[int] = Counter()
    confused: Counter[tuple[int, int]] = Counter()
    for real, each in zip(truth, found, strict=True):
        shown = each.suggested(score)
        true.update(real.classes.tolist())
        said.update(shown.classes.tolist())
        pairs = pairing(real, shown, iou)
        hits.update(int(real.classes[one]) for one, _ in pairs.same)
        confused.update((int(real.classes[one]), int(shown.classes[other])) for one, other in pairs.confused)
    pairs_told = [
        ClassPair(label=one, name=names[one], other=other, other_name=names[other], images=times, among=true[one])
        for (one, other), times in confused.most_common()
        if one in names and other in names
    ]
    return pairs_told[:PAIRS], {"true": true, "said": said, "hits": hits}


def _class_metrics(
    class_id: int,
    names: Mapping[int, str],
    counts: Mapping[str, Counter[int]],
    precision: Interval | None,
    score: float,
    learned: frozenset[int],
) -> ClassMetrics:
    support, said, hits = (counts[each][class_id] for each in ("true", "said", "hits"))
    return ClassMetrics(
        label=class_id,
        name=names[class_id],
        precision=hits / said if said else None,
        recall=hits / support if support else None,
        f1=2 * hits / (said + support) if said + support else None,
        support=support,
        average_precision=precision,
        threshold=score if class_id in learned else None,
        learned=class_id in learned,
    )
