"""The comparison of two versions that predict several classes per image, on the same images.

Images that either version learned from are left out, whatever their split is now. The gain in macro F1 is measured in
pairs: each resample of the bootstrap draws the same images for both. If an answer says nothing about a class, its image
does not count for that class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.tasks.multilabel import NONE_OF_THESE
from shared.wire.jobs import Comparison, ComparisonRequest, Difference, Scores
from trainer.evaluation import multilabel_metrics
from trainer.evaluation.model_comparison import curves_of, decide
from trainer.evaluation.multilabel_metrics import Answered
from trainer.jobs.compare import predictions
from trainer.learners.sigmoid_head import NO, UNKNOWN, YES
from trainer.versions.predictor import several_in_todays_classes
from trainer.versions.registry import RefusedVersion
from trainer.work.job_context import LabeledImage, Work


@dataclass(frozen=True)
class SeveralAnswers:
    """Predictions of one version for the live classes `classes` (L,): probabilities (n, L) and decisions (n, L). Also
    its speed and its size.
    """

    version: str
    classes: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    chosen: NDArray[np.bool_]
    bytes: int
    latency_ms: float | None = None
    images_per_second: float | None = None

    def rows(self, rows: slice) -> SeveralAnswers:
        """The predictions for some of the images."""
        return SeveralAnswers(
            self.version,
            self.classes,
            self.probabilities[rows],
            self.chosen[rows],
            self.bytes,
            self.latency_ms,
            self.images_per_second,
        )

    def names_of(self, row: int, names: Mapping[int, str]) -> str:
        """The names of the predicted classes, in one cell."""
        return _cell(names[int(each)] for each in self.classes[self.chosen[row]])


def run(work: Work) -> dict[str, Any]:
    """Run the comparison in the job's request; returns a Comparison as JSON. Raises ValueError without images."""
    request = ComparisonRequest.model_validate(work.job.request["comparison"])
    names = {int(each): name for each, name in work.job.request["classes"]["names"].items()}
    now = {int(each): live for each, live in work.job.request["classes"]["standing"].items()}
    both = predictions(work, request)
    answers = []
    for classifier, said, rate, milliseconds, size in zip(
        both.classifiers, both.probabilities, both.rates, both.latency, both.sizes, strict=True
    ):
        if classifier.thresholds is None:
            raise RefusedVersion(f"Version {classifier.version!r} predicts one class per image.")
        standing = [now.get(each.id) for each in classifier.classes]
        found = several_in_todays_classes(said, classifier.thresholds, standing)
        answers.append(SeveralAnswers(classifier.version, *found, size, milliseconds, rate))
    measured, looked = both.kept[: both.measured], both.kept[both.measured :]
    one, other = (each.rows(slice(0, both.measured)) for each in answers)
    told = compared(targets(measured), one, other, names, request)
    one, other = (each.rows(slice(both.measured, None)) for each in answers)
    return told.model_copy(
        update={
            "differing": [both.with_learners(each) for each in differences(looked, one, other, names)],
            "looked_at": len(looked),
            "left_out": both.left_out,
        }
    ).model_dump(mode="json")


def targets(images: Sequence[LabeledImage]) -> NDArray[np.int8]:
    """The answers for each class id (n, C): 1, 0, or −1 if unknown."""
    said = [image.answer or {} for image in images]
    width = 1 + max((class_id for each in said for side in each.values() for class_id in side), default=-1)
    found = np.full((len(said), width), UNKNOWN, np.int8)
    for row, each in zip(found, said, strict=True):
        row[each.get("no", [])] = NO
        row[each.get("yes", [])] = YES
    return found


def compared(
    truth: NDArray[np.int8],
    base: SeveralAnswers,
    candidate: SeveralAnswers,
    names: Mapping[int, str],
    request: ComparisonRequest,
) -> Comparison:
    """Compare predictions for the same n > 0 images with the answers `truth` (n, ids)."""
    one, other = (_answered(truth, each, names) for each in (base, candidate))
    return decide(
        _scores(one, base, names),
        _scores(other, candidate, names),
        request,
        pairs=None,
        images=len(truth),
        macro_f1_gain=multilabel_metrics.macro_f1_gain(one, other)[0],
    )


def differences(
    images: Sequence[LabeledImage], base: SeveralAnswers, candidate: SeveralAnswers, names: Mapping[int, str]
) -> list[Difference]:
    """The images for which the versions predict different classes, largest difference in probability first."""
    ids = np.array(sorted(names), np.int64)
    (p, yes), (q, also) = (_by_class(each, ids) for each in (base, candidate))
    rows = np.flatnonzero((yes != also).any(axis=1))
    apart = np.where(yes != also, np.abs(p - q), 0).max(axis=1, initial=0)
    return [
        Difference(
            image_id=images[row].image_id,
            label=_given(images[row], names),
            base=base.names_of(row, names),
            candidate=candidate.names_of(row, names),
        )
        for row in rows[np.argsort(-apart[rows], kind="stable")].tolist()
    ]


def _answered(truth: NDArray[np.int8], said: SeveralAnswers, names: Mapping[int, str]) -> Answered:
    limits = np.zeros(len(said.classes), np.float32)  # unknown: merged classes have no single threshold
    return multilabel_metrics.aligned(truth, said.probabilities, limits, said.classes, names, chosen=said.chosen)


def _scores(answered: Answered, said: SeveralAnswers, names: Mapping[int, str]) -> Scores:
    measured = multilabel_metrics.evaluate(answered, names)
    found = [
        (int(class_id), answered.yes[known, c], answered.probabilities[known, c])
        for c, class_id in enumerate(answered.ids)
        for known in [answered.known[:, c]]
    ]
    curves = curves_of(found, names, images=len(answered.yes))
    return Scores(
        version=said.version,
        accuracy=measured.accuracy,
        macro_f1=measured.details.get("macro_f1"),
        micro_f1=measured.details["micro_f1"],
        auc_pr=curves[0].auc,
        log_loss=measured.details.get("log_loss"),
        latency_ms=said.latency_ms,
        images_per_second=said.images_per_second,
        bytes=said.bytes,
        classes=[each.model_copy(update={"threshold": None}) for each in measured.details["classes"]],
        curves=curves,
    )


def _by_class(said: SeveralAnswers, ids: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Probabilities and decisions (n, C) for all live classes `ids` (C,); an unknown class is never predicted."""
    shape = (len(said.probabilities), len(ids))
    p, yes = np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
    columns = np.searchsorted(ids, said.classes)
    p[:, columns], yes[:, columns] = said.probabilities, said.chosen
    return p, yes


def _given(image: LabeledImage, names: Mapping[int, str]) -> str | None:
    """The names of the classes that people gave it, in one cell; None without a label."""
    return None if image.answer is None else _cell(names[each] for each in image.answer.get("yes", []))


def _cell(names: Iterable[str]) -> str:
    return "; ".join(names) or NONE_OF_THESE
