"""Compares two detectors: both detect boxes in the same images, then `model_comparison` decides.

Images that either version learned from are left out, whatever their split is now. The gain in mAP is measured in pairs:
each resample of the bootstrap draws the same images for both.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from shared.images.opening import ImageProblem
from shared.wire.evaluation import Interval
from shared.wire.jobs import Comparison, ComparisonRequest, Curve, Scores
from trainer.embeddings.backbones.torch_networks import device_named
from trainer.evaluation.box_matching import Floats, Placed
from trainer.evaluation.detection_metrics import (
    RECALLS,
    Ranked,
    average_precision,
    evaluate,
    precision_at_recalls,
    ranked,
    resamples,
)
from trainer.evaluation.model_comparison import decide, gain_of
from trainer.jobs.challenge_cost import Pace
from trainer.versions.detectors import SavedDetector
from trainer.versions.predictor import load_classifier
from trainer.versions.registry import RefusedVersion, Version
from trainer.whole_detector.networks import BoxNetwork
from trainer.work.job_context import Work

EVERY = 2
"""The report has one in this many points of a curve."""


@dataclass(frozen=True)
class Looked:
    """The boxes that one version found in the images, for current classes."""

    version: str
    found: list[Placed]
    threshold: float
    learned: frozenset[int]
    bytes: int
    latency_ms: float


def run(work: Work) -> dict[str, Any]:
    """Run the comparison in the job's request; returns a Comparison as JSON. Raises ValueError without images."""
    request = ComparisonRequest.model_validate(work.job.request["comparison"])
    names = {int(each): name for each, name in work.job.request["classes"]["names"].items()}
    now = {int(each): live for each, live in work.job.request["classes"]["standing"].items()}
    versions = [work.registry.get(name) for name in (request.base, request.candidate)]
    learned = [{row["sha256"] for row in version.dataset() if row["split"] == "train"} for version in versions]
    fresh = [image for image in work.images if not any(image.sha256 in each for each in learned)]
    device = device_named(work.settings.device)
    detectors = []
    for number, version in enumerate(versions):
        work.tell(number, len(fresh), f"Opening version {version.name}")
        detectors.append(_opened(version, work, device))
    truth: list[Placed] = []
    found: list[list[Placed]] = [[], []]
    seconds: list[list[float]] = [[], []]
    pace = Pace()
    pace.begin()
    for done, image in enumerate(fresh, 1):
        try:
            data = work.fetch(image)
            said = []
            for number, detector in enumerate(detectors):
                began = time.perf_counter()
                said.append(_look(detector, versions[number], data, work, now))
                seconds[number].append(1e3 * (time.perf_counter() - began))
        except ImageProblem:
            continue
        truth.append(Placed.of([tuple(box) for box in (image.answer or {})["boxes"]]))
        for number, each in enumerate(said):
            found[number].append(each)
        soon = pace.left(len(fresh) - done)
        work.tell(done, len(fresh), "Both versions detect boxes in the same images", seconds_left=soon)
    if not truth:
        raise ValueError(f"There is no readable labeled {request.split} image that neither version learned from.")
    base, candidate = (
        Looked(
            version.name,
            some,
            detector.threshold,
            frozenset(live for each in version.description.classes if (live := now.get(each.id)) is not None),
            version.all_bytes(work.backbones),
            float(np.median(taken)),
        )
        for version, detector, some, taken in zip(versions, detectors, found, seconds, strict=True)
    )
    work.tell(len(fresh), len(fresh), "Comparing the boxes that both found")
    told = compared(truth, base, candidate, names, request)
    left_out = {
        "learned from by a version": len(work.images) - len(fresh),
        "cannot be read": len(fresh) - len(truth),
    }
    left = {reason: images for reason, images in left_out.items() if images}
    return told.model_copy(update={"left_out": left}).model_dump(mode="json")


def compared(
    truth: Sequence[Placed], base: Looked, candidate: Looked, names: Mapping[int, str], request: ComparisonRequest
) -> Comparison:
    """Compare both versions' boxes in n > 0 images with the boxes that people drew."""
    iou = request.iou_threshold or 0.5
    one, other = (_scores(truth, each, names, iou) for each in (base, candidate))
    gain = _gain(truth, base.found, candidate.found, names, np.array([0.5]))
    return decide(one, other, request, pairs=None, images=len(truth), map_gain=gain)


def _scores(truth: Sequence[Placed], looked: Looked, names: Mapping[int, str], iou: float) -> Scores:
    measured = evaluate(
        truth, looked.found, names, learned=looked.learned, suggested_from=looked.threshold, iou_threshold=iou
    )
    curves = [_curve(ranked(truth, looked.found, each, np.array([iou])), each, names[each]) for each in sorted(names)]
    areas = [each.auc for each in curves if each.auc is not None]
    mean = Curve(auc=float(np.mean(areas)) if areas else None, support=len(truth))
    heights = [each.precision for each in curves if each.precision]
    if heights:
        told = [round(float(each), 4) for each in np.mean(heights, axis=0)]
        mean = mean.model_copy(update={"recall": curves_at(), "precision": told})
    return Scores(
        version=looked.version,
        auc_pr=mean.auc,
        map_50=measured.details["map_50"],
        map_50_95=measured.details["map_50_95"],
        latency_ms=looked.latency_ms,
        bytes=looked.bytes,
        classes=measured.details["classes"],
        curves=[mean, *curves],
    )


def curves_at() -> list[float]:
    """The recalls of a curve."""
    return [round(float(each), 4) for each in RECALLS[::EVERY]]


def _curve(boxes: Ranked, class_id: int, name: str) -> Curve:
    support = int(boxes.true.sum())
    if not support:
        return Curve(label=class_id, name=name, auc=None, support=0)
    precision = precision_at_recalls(boxes)[::EVERY]
    return Curve(
        label=class_id,
        name=name,
        auc=float(average_precision(boxes, np.ones((1, len(boxes.true))))[0, 0]),
        support=support,
        recall=curves_at(),
        precision=[round(float(each), 4) for each in precision],
    )


def _gain(
    truth: Sequence[Placed],
    base: Sequence[Placed],
    candidate: Sequence[Placed],
    names: Mapping[int, str],
    thresholds: Floats,
) -> Interval:
    """The gain in mAP, with its 95 % bootstrap interval."""
    here = [each for each in names if any((real.classes == each).any() for real in truth)]
    n = len(truth)
    if not here:
        return Interval(value=0.0, low=-1.0, high=1.0, n=0)
    both = [[ranked(truth, found, each, thresholds) for each in here] for found in (base, candidate)]
    weights = np.concatenate([np.ones((1, n)), resamples([*both[0], *both[1]], n)])
    one, other = (_mean([average_precision(each, weights) for each in some]) for some in both)
    return gain_of(other - one, images=n, differing=n)  # hardly ever do two detectors draw the same box


def _mean(each: Sequence[Floats]) -> Floats:
    """The mean over classes and thresholds (R,) of precisions (R, T); classes without a box do not count."""
    drawn = np.stack(each)
    known = ~np.isnan(drawn)
    found = np.where(known, drawn, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.asarray(found.mean(axis=1))


def _opened(version: Version, work: Work, device: torch.device) -> SavedDetector:
    opened = load_classifier(version, work.backbones, model_fn=work.settings.model_fn, device=device)
    if not isinstance(opened.network, BoxNetwork):
        raise RefusedVersion(f"Version {version.name!r} finds no boxes.")
    return SavedDetector(opened.network, opened.needs, opened.device)


def _look(detector: SavedDetector, version: Version, data: bytes, work: Work, now: Mapping[int, int | None]) -> Placed:
    """Boxes by today's class ids, without those of deleted classes."""
    found = detector.detect(data, work.photos.limits)
    live = [now.get(each.id) for each in version.description.classes]
    classes = np.array([-1 if (each := live[int(k)]) is None else each for k in found.classes], np.int64)
    kept = classes >= 0
    return Placed(classes[kept], found.boxes[kept].astype(np.float64), found.scores[kept].astype(np.float64))
