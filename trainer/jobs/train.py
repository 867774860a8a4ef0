"""The job that trains a version: chooses images, initial network and weights, and records the result.

All current labels count. Train images are trained on, validation images choose the epoch, and test images are used
once, when nothing is left to choose. Without enough validation labels, a part of the train labels replaces them; if
even that would be too small, all are learned and no epoch is chosen. The version records this.

Where an image can have several classes, their thresholds are chosen on labels that the network has not learned. So a
small part of the train labels is reserved for them even if no epoch is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import torch
from numpy.typing import NDArray

from shared.images.opening import ImageProblem
from shared.tasks import registry as shared_tasks
from shared.wire.evaluation import Evaluation
from shared.wire.models import Description, ModelClass, Trained, TrainRequest
from trainer.embeddings.backbones.preparation import Preprocessing
from trainer.embeddings.backbones.torch_networks import device_named
from trainer.jobs.challenge_cost import Pace
from trainer.learners.batch_norm import Statistics
from trainer.learners.fine_tuner import Plan, Step, fine_tune, logits_of
from trainer.learners.sigmoid_head import UNKNOWN, YES
from trainer.learners.thresholds import Calibration, calibrate
from trainer.objectives.objective import objective_of
from trainer.tasks.network_task import NetworkTask
from trainer.tasks.registry import network_task
from trainer.tasks.task import Ids, Targets
from trainer.versions.networks import FineTunedNetwork, FineTunedSigmoids
from trainer.versions.predictor import Classifier
from trainer.versions.saved_learners import holds_whole_network
from trainer.work.job_context import LabeledImage, Work
from trainer.work.starting_weights import begin, classifier_of
from trainer.work.stopwatch import Stopwatch

ENOUGH_VALIDATION = 50
"""Labels needed to choose an epoch. If the validation split has fewer, a part of the train labels is held out. If that
part would have fewer, too, none is: 15 labels say nothing and are worth more for training
(docs/measurements/experiments.md).
"""
HELD_OUT = 0.15
STATISTICS: dict[str, Statistics] = {"pretrained": "kept", "file": "kept", "base": "renewed"}
"""Batch normalisation statistics, by the source of the weights; shrink and perturb changes all layers."""
CACHE_BYTES = 2 * 2**30
"""Memory for decoded images; the rest is decoded again in each epoch."""
MEASURED_AT_ONCE = 256
"""Test images in memory at a time."""
DEFAULTS = {"batch_size": 32, "flip": True, "seed": 0}
EPOCHS = (20, 200)
"""Limits for the default number of epochs for all layers."""
STEPS = 400
"""Minimum training steps by default, within those limits: 100 labels are two batches, and 20 × 2 steps do little."""
PATIENT = 6
"""Default patience in epochs, or three quarters of all epochs if that is more. In a cycle, the last epochs are the
best, and those at the highest learning rates are often worse than the start.
"""


@dataclass
class Photographs:
    """Labeled images at one size, decoded once as far as memory allows."""

    work: Work
    images: Sequence[LabeledImage]
    targets: Targets
    size: int
    _kept: dict[int, NDArray[np.uint8]]
    _room: int

    def pixels(self, number: int) -> NDArray[np.uint8]:
        """The image (3, S, S) uint8. Raises ImageProblem."""
        known = self._kept.get(number)
        if known is None:
            known = self.work.read(self.images[number], Preprocessing(self.size))
            if len(self._kept) < self._room:
                self._kept[number] = known
        return known


def run(work: Work) -> dict[str, Any]:
    """Train as the job's request says and save the version; returns a `Trained` as JSON. Raises ValueError."""
    name = str(work.job.request["name"])
    again = work.trained_before(name)
    if again is not None:
        return again
    request = _with_base(work, TrainRequest.model_validate(work.job.request["train"]))
    names = {int(each): said for each, said in work.job.request["classes"]["names"].items()}
    task, values = tasks_of(work)
    notes: list[str] = []
    parts, chooses = _parts(work, task, values, notes)
    known = task.learnable(task.targets([values(each) for each in parts["train"]]))
    if not task.enough(task.targets([values(each) for each in parts["train"]])):
        raise ValueError(f"Training needs {task.to_train}, which are not held out.")
    network, begun, needs, architecture = begin(work, request, len(known))
    frozen = 0 if begun == "none" else 1
    request = _with_length(request, len(parts["train"]), frozen)
    if (request.weights, begun) == ("auto", "none"):
        notes.append(f"No published weights of {architecture!r} were available: it was trained from scratch.")
    classifier = classifier_of(network)
    learned = photographs(work, parts["train"], known, needs.size, notes)
    spared = _spared(work, parts["validation"], known, needs.size, notes)
    chooses = chooses and spared is not None
    judges = spared if chooses else None
    plan = Plan(
        objective=objective_of(several=task.several),
        epochs=request.epochs or 1,
        batch_size=request.batch_size or 1,
        learning_rate=request.learning_rate,
        patience=request.patience or 1,
        flip=bool(request.flip),
        seed=request.seed or 0,
        frozen=frozen,
        statistics=STATISTICS.get(begun, "followed"),
        classifier=classifier,
        mean=needs.mean,
        std=needs.std,
    )
    device, watch, pace = device_named(work.settings.device), Stopwatch(work.folder), Pace()

    def show(step: Step) -> None:
        left = pace.left(step.total - step.done) if step.done else None  # without the first step, which takes long
        work.tell(step.done, step.total, step.message, seconds_left=left, **step.metrics)

    checkpoint = work.folder / "checkpoint.safetensors"
    done = fine_tune(network, learned, judges, plan, checkpoint=checkpoint, device=device, on_step=show)
    module: FineTunedNetwork = FineTunedNetwork(network, needs)
    more: dict[str, NDArray[np.float32]] = {}
    if task.several:
        found = _calibration(logits_of(network, spared, plan, done.batch_size, device), spared) if spared else None
        found = found or Calibration.plain(len(known))
        more = {"thresholds": found.thresholds, "temperature": np.array([found.temperature], np.float32)}
        module = FineTunedSigmoids(network, needs, **more)
    classes = [ModelClass(id=k, name=names[k]) for k in known.tolist()]
    tested = Classifier(name, classes, needs, module.eval().to(device), device, thresholds=more.get("thresholds"))
    work.tell(0, 1, "Measuring on the test images")
    evaluation = _measure(work, task, tested, parts["test"], names, len(parts["train"]))
    trained = Trained(
        version=name,
        epochs=done.epoch,
        best_epoch=done.best_epoch,
        seconds=watch.stop(),
        images_per_second=done.images / max(done.seconds, 1e-9),
        history=done.history,
        notes=[*notes, *done.notes],
    )
    config = {
        **request.model_dump(exclude={"base"}),
        "weights": begun,
        "learning_rate": done.learning_rate,
        "batch_size": done.batch_size,
        f"validation_{plan.objective.measure}": done.best_score if chooses else None,
        "validation_images": len(parts["validation"]),
        "job": work.job.id,
        "trained": trained.model_dump(),
    }
    given = [values(each) for each in parts["train"]]
    description = Description(
        parent=request.base,
        learner=task.network,
        architecture=architecture,
        config=config,
        classes=tested.classes,
        input=needs,
        log_id=work.job.request["log_id"],
        acked_seq=work.job.request["acked_seq"],
        labels=len(given),
        labels_by_class=task.counts(given, names),
        metrics=evaluation,
        seconds=trained.seconds,
        reason=f"trained by job {work.job.id}",
        how_to_use=HOW_TO_USE[task.several],
    )
    tensors = {key: tensor.detach().cpu().numpy() for key, tensor in network.state_dict().items()} | more
    rows = [{**each.cells, **task.cells(values(each), names)} for images in parts.values() for each in images]
    work.registry.save(name, tensors, description, rows)
    return trained.model_dump(mode="json")


_LOGITS = (
    "Divide the prepared values by 255, subtract mean, divide by std, "
    "apply the timm network `architecture` with as many classes as there are (for a module:function: the network that "
    "it returns, and a linear layer on its vectors), then "
)
HOW_TO_USE = {
    False: f"{_LOGITS}softmax.",
    True: f"{_LOGITS}divide by temperature; probabilities are 1 / (1 + exp(-logits)), one for each class; a class is "
    "predicted from its threshold on.",
}
"""By whether an image can have several classes."""


def tasks_of(work: Work) -> tuple[NetworkTask, Callable[[LabeledImage], Any]]:
    """The task of the job, and a function that returns a labeled image's label as the task represents it."""
    name = str(work.job.request.get("task", "classification"))  # absent in a job of an older version
    return network_task(name), shared_tasks.task_named(name).of_row


def _parts(
    work: Work, task: NetworkTask, values: Callable[[LabeledImage], Any], notes: list[str]
) -> tuple[dict[str, list[LabeledImage]], bool]:
    """The images of each part, and whether the validation part chooses the epoch."""
    parts = {split: [each for each in work.images if each.split == split] for split in ("train", "validation", "test")}
    if len(parts["validation"]) >= ENOUGH_VALIDATION:
        return parts, True

    def spare() -> int:
        everything = task.targets([values(each) for each in parts["train"]])
        parts["train"], parts["validation"] = hold_out(parts["train"], task.kinds(everything))
        _give_back(parts, task, values, task.learnable(everything))
        return len(parts["validation"])

    if HELD_OUT * len(parts["train"]) >= ENOUGH_VALIDATION:
        notes.append(f"The epoch was chosen on {spare()} held-out train labels: there are too few validation labels.")
        return parts, True
    if task.several:
        notes.append(f"No epoch was chosen: too few validation labels. {spare()} train labels chose the thresholds.")
        return parts, False
    parts["validation"] = []
    notes.append("All train labels were learned and no epoch was chosen: there are too few validation labels.")
    return parts, False


def _give_back(
    parts: dict[str, list[LabeledImage]], task: NetworkTask, values: Callable[[LabeledImage], Any], learnable: Ids
) -> None:
    """Learn held-out images after all, if they alone say yes, or no, to a class, which could not be learned then."""
    left = task.learnable(task.targets([values(each) for each in parts["train"]]))
    lost = np.setdiff1d(learnable, left)
    if lost.size:
        kept, held = (
            task.outputs(task.targets([values(each) for each in parts[name]]), lost)[0]
            for name in ("train", "validation")
        )
        new = [~np.isin(held[:, k], kept[:, k]) & (held[:, k] != UNKNOWN) for k in range(len(lost))]
        back = {parts["validation"][row].image_id for row in np.flatnonzero(np.any(new, axis=0)).tolist()}
        parts["train"] += [each for each in parts["validation"] if each.image_id in back]
        parts["validation"] = [each for each in parts["validation"] if each.image_id not in back]


def _spared(work: Work, images: Sequence[LabeledImage], known: Ids, size: int, notes: list[str]) -> Photographs | None:
    """Those of the images that are not learned; None if none of them can be read and says something about `known`."""
    try:
        return photographs(work, images, known, size, notes) if images else None
    except ValueError:
        notes.append("No epoch and no threshold was chosen: the answers for that do not mention the classes.")
        return None


def _calibration(logits: torch.Tensor, judged: Photographs) -> Calibration:
    """The thresholds and the temperature that suit logits (n, K) of labels that were not learned."""
    return calibrate(logits.numpy().astype(np.float64), judged.targets == YES, judged.targets != UNKNOWN)


def _with_base(work: Work, request: TrainRequest) -> TrainRequest:
    """The request, completed by the configuration of the cloned version and by the defaults."""
    settings, given = work.settings, request.model_dump(exclude_none=True)
    values: dict[str, Any] = {**DEFAULTS}
    if request.base is not None:
        base = work.registry.get(request.base).description
        kept = {"epochs", "patience", "flip", "seed"} if holds_whole_network(base) else set()
        values |= {key: value for key, value in base.config.items() if key in kept}
        known = ":" not in base.architecture or base.architecture == settings.model_fn
        if base.architecture not in ("pixels", "vectors") and known and base.input:
            values |= {"architecture": base.architecture, "input_size": base.input.size}
    if request.architecture is not None and request.architecture != values.get("architecture"):
        values.pop("input_size", None)
    if request.architecture is None and "architecture" not in values:
        named = settings.model_fn or settings.backbone
        values |= {"architecture": named} if named not in ("auto", "pixels") else {}
    return TrainRequest.model_validate({**values, **given})


def _with_length(request: TrainRequest, images: int, frozen: int) -> TrainRequest:
    """The request with default epochs and patience for this number of train images; the first `frozen` epochs are
    extra.
    """
    batches = max(images // (request.batch_size or 1), 1)
    epochs = request.epochs or frozen + int(np.clip(-(-STEPS // batches), *EPOCHS))
    return request.model_copy(update={"epochs": epochs, "patience": request.patience or max(PATIENT, 3 * epochs // 4)})


def hold_out(images: list[LabeledImage], kinds: Ids) -> tuple[list[LabeledImage], list[LabeledImage]]:
    """Split train images into those kept and those held out: HELD_OUT of each of the `kinds` (n,), by content hash, but
    never all."""
    held: set[int] = set()
    for kind in np.unique(kinds):
        mine = sorted((images[row] for row in np.flatnonzero(kinds == kind).tolist()), key=lambda each: each.sha256)
        held |= {each.image_id for each in mine[: min(max(round(HELD_OUT * len(mine)), 1), len(mine) - 1)]}
    return [each for each in images if each.image_id not in held], [each for each in images if each.image_id in held]


def photographs(work: Work, images: Sequence[LabeledImage], known: Ids, size: int, notes: list[str]) -> Photographs:
    """The readable `images` whose labels say something about the classes `known`, decoded ahead as far as memory
    allows. Raises ValueError if none.
    """
    room = CACHE_BYTES // (3 * size * size)
    task, values = tasks_of(work)
    targets, says = task.outputs(task.targets([values(each) for each in images]), known)
    wanted = [images[row] for row in np.flatnonzero(says).tolist()]
    targets = targets[says]
    kept: dict[str, NDArray[np.uint8]] = {}
    readable: list[int] = []

    def look(image: LabeledImage) -> tuple[LabeledImage, NDArray[np.uint8] | None]:
        try:
            return image, work.read(image, Preprocessing(size))
        except ImageProblem:
            return image, None

    with ThreadPoolExecutor(2, thread_name_prefix="reading") as threads:
        for row, (image, pixels) in enumerate(threads.map(look, wanted)):
            work.tell(row + 1, len(wanted) + 1, "Reading images")
            if pixels is not None:
                readable.append(row)
                if len(kept) < room:
                    kept[image.sha256] = pixels
    if len(readable) < len(wanted):
        notes.append(f"{len(wanted) - len(readable)} images cannot be read and were left out.")
    if not readable:
        raise ValueError("None of the labeled images can be read and says something about the classes.")
    found = [wanted[row] for row in readable]
    pixels_of = {number: kept[each.sha256] for number, each in enumerate(found) if each.sha256 in kept}
    return Photographs(work, found, targets[readable], size, pixels_of, room)


@dataclass(frozen=True)
class _Measurable:
    """A classifier with the interface that a task needs to measure a model. The rows are its probabilities (n, K)."""

    classifier: Classifier

    @property
    def classes(self) -> Ids:
        """The class ids (K,)."""
        return np.array([each.id for each in self.classifier.classes], np.int64)

    @property
    def thresholds(self) -> NDArray[np.float32] | None:
        """(K,), if each class has one."""
        return self.classifier.thresholds

    def predict_proba(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (n, K)."""
        return rows


def _measure(
    work: Work,
    task: NetworkTask,
    classifier: Classifier,
    images: Sequence[LabeledImage],
    names: dict[int, str],
    labels: int,
) -> Evaluation | None:
    """Evaluate on the readable test images with labels; None without any. A part of them is in memory at a time."""
    found, given, values = [], [], tasks_of(work)[1]
    for start in range(0, len(images), MEASURED_AT_ONCE):
        inputs = []
        for image in images[start : start + MEASURED_AT_ONCE]:
            try:
                inputs.append(work.read(image, classifier.preprocessing))
                given.append(values(image))
            except ImageProblem:
                continue
        if inputs:
            found.append(classifier.predict_proba(inputs))
    if not given:
        return None
    measured = task.measure(_Measurable(classifier), np.concatenate(found), task.targets(given), names)
    active = bool(work.job.request.get("active"))  # absent in a job of an older version
    if active:
        measured = task.of_labeled_alone(measured)
    return measured.evaluation(
        log_id=UUID(work.job.request["log_id"]),
        acked_seq=work.job.request["acked_seq"],
        model_version=classifier.version,
        labels=labels,
        spent=len(work.images),
        active=active,
        at_random=not active,
    )
