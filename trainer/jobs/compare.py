"""The job that compares two versions: both predict the same images from pixels, then `model_comparison` decides.

Images that either version learned from are left out, whatever their split is now. A sample of train images shows where
the two disagree; for images of the measured split, only counts are reported.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.images.opening import ImageProblem
from shared.wire.jobs import ComparisonRequest, Difference
from trainer.embeddings.backbones.torch_networks import device_named
from trainer.evaluation.model_comparison import Answers, compare, differences
from trainer.jobs.challenge_cost import Pace
from trainer.versions.predictor import BATCH, Classifier, in_todays_classes, load_classifier
from trainer.versions.registry import Version
from trainer.work.job_context import LabeledImage, Work

TIMED = 20
"""Number of single images whose median is the latency, after WARM_UP images."""
WARM_UP = 3
HARD = (
    "Hard test images were asked more often, so these figures are not those of a random sample. For a reliable result, "
    "compare the versions on validation images."
)


@dataclass(frozen=True)
class Predictions:
    """The predictions of two versions for the same images. The first `measured` of the `kept` images belong to the
    split that is compared on; the others are train images.
    """

    classifiers: list[Classifier]
    kept: list[LabeledImage]
    measured: int
    probabilities: list[NDArray[np.float32]]
    rates: list[float]
    latency: list[float]
    sizes: list[int]
    left_out: dict[str, int]
    learned: list[set[str]]

    def with_learners(self, each: Difference) -> Difference:
        """The difference, with the versions that learned from its image."""
        sha256 = next(image.sha256 for image in self.kept if image.image_id == each.image_id)
        names = [
            classifier.version
            for classifier, seen in zip(self.classifiers, self.learned, strict=True)
            if sha256 in seen
        ]
        return each.model_copy(update={"learned_by": names})


def run(work: Work) -> dict[str, Any]:
    """Run the comparison in the job's request; returns a Comparison as JSON. Raises ValueError without images."""
    request = ComparisonRequest.model_validate(work.job.request["comparison"])
    names = {int(each): name for each, name in work.job.request["classes"]["names"].items()}
    now = {int(each): live for each, live in work.job.request["classes"]["standing"].items()}
    both = predictions(work, request)
    answers = [
        _as_answers(classifier, said, now, rate, milliseconds, size)
        for classifier, said, rate, milliseconds, size in zip(
            both.classifiers, both.probabilities, both.rates, both.latency, both.sizes, strict=True
        )
    ]
    count = both.measured
    truth = np.array([image.class_id for image in both.kept[:count]], np.int64)
    parts = [(_rows(each, slice(0, count)), _rows(each, slice(count, None))) for each in answers]
    found = compare(truth, parts[0][0], parts[1][0], names, request)
    looked = [{"image_id": image.image_id, "class_id": image.class_id} for image in both.kept[count:]]
    differing = [both.with_learners(each) for each in differences(looked, parts[0][1], parts[1][1], names)]
    return found.model_copy(
        update={
            "differing": differing,
            "looked_at": len(looked),
            "left_out": both.left_out,
            "reason": f"{found.reason} {HARD}" if work.job.request.get("active") else found.reason,
        }
    ).model_dump(mode="json")


def predictions(work: Work, request: ComparisonRequest) -> Predictions:
    """Let both versions predict the images of the measured split that neither learned from, and the train images.

    Raises ValueError if no image of the split is left.
    """
    versions = [work.registry.get(name) for name in (request.base, request.candidate)]
    measured = [image for image in work.images if image.split == request.split]
    train = [image for image in work.images if image.split == "train"]
    learned = [_learned_from(version) for version in versions]
    fresh = [image for image in measured if not any(image.sha256 in each for each in learned)]
    device = device_named(work.settings.device)
    classifiers = []
    for number, version in enumerate(versions):
        work.tell(number, len(fresh + train), f"Opening version {version.name}")
        classifiers.append(load_classifier(version, work.backbones, model_fn=work.settings.model_fn, device=device))
    probabilities, rates, unreadable = answer(work, classifiers, fresh + train)
    kept = [image for image in fresh + train if image.image_id not in unreadable]
    count = sum(image.split == request.split for image in kept)
    if count == 0:
        raise ValueError(f"There is no readable labeled {request.split} image that neither version learned from.")
    left_out = {
        "learned from by a version": len(measured) - len(fresh),
        "cannot be read": sum(image.image_id in unreadable for image in fresh),
    }
    return Predictions(
        classifiers,
        kept,
        count,
        probabilities,
        rates,
        _latency(classifiers),
        [version.all_bytes(work.backbones) for version in versions],
        {reason: images for reason, images in left_out.items() if images},
        learned,
    )


def _learned_from(version: Version) -> set[str]:
    """Content hashes of the images that the version was trained on."""
    return {row["sha256"] for row in version.dataset() if row["split"] == "train"}


def answer(
    work: Work, classifiers: Sequence[Classifier], images: Sequence[LabeledImage]
) -> tuple[list[NDArray[np.float32]], list[float], set[int]]:
    """Probabilities (n, K) of each version for readable images, its images per second, and the ids of unreadable
    images.
    """
    said: list[list[NDArray[np.float32]]] = [[] for _ in classifiers]
    seconds, unreadable = [0.0 for _ in classifiers], set()

    def prepared(image: LabeledImage) -> list[NDArray[np.uint8]] | None:
        try:
            data = work.fetch(image)
            return [classifier.preprocessing.read(data, work.photos.limits) for classifier in classifiers]
        except ImageProblem:
            return None

    pace = Pace()
    pace.begin()
    with ThreadPoolExecutor(2, thread_name_prefix="reading") as threads:
        for start in range(0, len(images), BATCH):
            some = images[start : start + BATCH]
            inputs = list(threads.map(prepared, some))
            unreadable |= {image.image_id for image, each in zip(some, inputs, strict=True) if each is None}
            opened = [each for each in inputs if each is not None]
            for number, classifier in enumerate(classifiers):
                began = time.perf_counter()
                said[number].append(classifier.predict_proba([each[number] for each in opened]))
                seconds[number] += time.perf_counter() - began
            done = start + len(some)
            left = pace.left((len(images) - done) / BATCH)
            work.tell(done, len(images), "Both versions predict the same images", seconds_left=left)
    readable = len(images) - len(unreadable)
    return [np.concatenate(each) for each in said], [readable / max(each, 1e-9) for each in seconds], unreadable


def _latency(classifiers: Sequence[Classifier]) -> list[float]:
    """Median milliseconds per image of each version, taken in turn, so that a busy machine affects both."""
    inputs = [np.zeros((3, each.needs.size, each.needs.size), np.uint8) for each in classifiers]
    taken: list[list[float]] = [[] for _ in classifiers]
    for turn in range(WARM_UP + TIMED):
        for number, classifier in enumerate(classifiers):
            began = time.perf_counter()
            classifier.predict_proba([inputs[number]])
            if turn >= WARM_UP:
                taken[number].append((time.perf_counter() - began) * 1e3)
    return [float(np.median(each)) for each in taken]


def _as_answers(
    classifier: Classifier,
    said: NDArray[np.float32],
    now: Mapping[int, int | None],
    rate: float,
    latency: float,
    size: int,
) -> Answers:
    ids, probabilities = in_todays_classes(said, [now.get(each.id) for each in classifier.classes])
    return Answers(classifier.version, ids, probabilities, size, latency_ms=latency, images_per_second=rate)


def _rows(answers: Answers, rows: slice) -> Answers:
    return Answers(
        answers.version,
        answers.classes,
        answers.probabilities[rows],
        answers.bytes,
        answers.latency_ms,
        answers.images_per_second,
    )
