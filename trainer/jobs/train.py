"""The job that trains a version: which images, which initial network and weights, and what is recorded.

All current labels count. Train images are trained on, validation images choose the epoch, and test images are used
once, when nothing is left to choose. Without enough validation labels, a part of the train labels replaces them; if
even that would be too small, all are learned and no epoch is chosen. The version records this.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from shared.images.opening import ImageProblem
from shared.wire.evaluation import Evaluation
from shared.wire.models import Description, ModelClass, Trained, TrainRequest
from trainer.embeddings.backbones.preparation import Preprocessing
from trainer.embeddings.backbones.torch_networks import device_named
from trainer.evaluation.metrics import accuracy_alone, evaluate
from trainer.jobs.starting_weights import begin, classifier_of
from trainer.learners.batch_norm import Statistics
from trainer.learners.fine_tuner import Plan, Step, fine_tune
from trainer.tasks.classification import Classification
from trainer.versions.networks import FineTunedNetwork
from trainer.versions.predictor import Classifier
from trainer.versions.saved_learners import FINE_TUNER, holds_whole_network
from trainer.work.job_context import LabeledImage, Work

ENOUGH_VALIDATION = 50
"""Labels needed to choose an epoch. With fewer in the validation split, a part of train is held out; if that part had
fewer, none is: 15 labels tell nothing and are worth more for training (docs/measurements/experiments.md).
"""
HELD_OUT = 0.15
STATISTICS: dict[str, Statistics] = {"pretrained": "kept", "file": "kept", "base": "renewed"}
"""Batch normalisation statistics, by the source of the weights; shrink and perturb changes all layers."""
CACHE_BYTES = 2 * 2**30
"""Memory for decoded images; the rest is decoded again in each epoch."""
DEFAULTS = {"batch_size": 32, "flip": True, "seed": 0}
EPOCHS = (20, 200)
"""Limits for the default number of epochs for all layers."""
STEPS = 400
"""Minimum training steps by default, within those limits: 100 labels are two batches, and 20 × 2 steps do little."""
PATIENT = 6
"""Default patience in epochs, or three quarters of all epochs if that is more: the last epochs of a cycle are the best,
and those at the highest rates are often worse than the start.
"""


@dataclass
class Photographs:
    """Labeled images at one size, decoded once as far as memory allows."""

    work: Work
    images: Sequence[LabeledImage]
    targets: NDArray[np.int64]
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
    again = _saved_before(work, name)
    if again is not None:
        return again
    asked = _with_base(work, TrainRequest.model_validate(work.job.request["train"]))
    names = {int(each): said for each, said in work.job.request["classes"]["names"].items()}
    parts = {split: [each for each in work.images if each.split == split] for split in ("train", "validation", "test")}
    notes: list[str] = []
    held_out = len(parts["validation"]) < ENOUGH_VALIDATION
    if held_out and HELD_OUT * len(parts["train"]) >= ENOUGH_VALIDATION:
        parts["train"], parts["validation"] = hold_out(parts["train"])
        notes.append(f"Epochs were chosen on {len(parts['validation'])} held-out train labels: too few for validation.")
    elif held_out:
        parts["validation"] = []
        notes.append("All train labels were learned and no epoch was chosen: too few for validation.")
    known = sorted({each.class_id for each in parts["train"] if each.class_id is not None})
    if len(known) < 2:
        raise ValueError("Training needs labels of at least two classes that are not held out.")
    network, begun, needs, architecture = begin(work, asked, len(known))
    frozen = 0 if begun == "none" else 1
    asked = _with_length(asked, len(parts["train"]), frozen)
    if (asked.weights, begun) == ("auto", "none"):
        notes.append(f"No published weights of {architecture!r} were available: it was trained from scratch.")
    classifier = classifier_of(network)
    learned = photographs(work, parts["train"], known, needs.size, notes)
    judges = photographs(work, parts["validation"], known, needs.size, notes) if parts["validation"] else None
    plan = Plan(
        epochs=asked.epochs or 1,
        batch_size=asked.batch_size or 1,
        learning_rate=asked.learning_rate,
        patience=asked.patience or 1,
        flip=bool(asked.flip),
        seed=asked.seed or 0,
        frozen=frozen,
        statistics=STATISTICS.get(begun, "followed"),
        classifier=classifier,
        mean=needs.mean,
        std=needs.std,
    )
    device, began = device_named(work.settings.device), time.monotonic()

    def show(step: Step) -> None:
        spent, share = time.monotonic() - began, step.done / max(step.total, 1)
        left = spent / share - spent if share > 0.02 else None
        work.tell(step.done, step.total, step.message, seconds_left=left, **step.metrics)

    checkpoint = work.folder / "checkpoint.safetensors"
    done = fine_tune(network, learned, judges, plan, checkpoint=checkpoint, device=device, on_step=show)
    tested = Classifier(
        name,
        [ModelClass(id=k, name=names[k]) for k in known],
        needs,
        FineTunedNetwork(network, needs).eval().to(device),
        device,
    )
    work.tell(0, 1, "Measuring on the test images")
    evaluation = _measure(work, tested, parts["test"], names, len(parts["train"]))
    trained = Trained(
        version=name,
        epochs=done.epoch,
        best_epoch=done.best_epoch,
        seconds=time.monotonic() - began,
        images_per_second=done.images / max(done.seconds, 1e-9),
        history=done.history,
        notes=[*notes, *done.notes],
    )
    config = {
        **asked.model_dump(exclude={"base"}),
        "weights": begun,
        "learning_rate": done.learning_rate,
        "batch_size": done.batch_size,
        "validation_accuracy": done.best_accuracy if parts["validation"] else None,
        "validation_images": len(parts["validation"]),
        "job": work.job.id,
        "trained": trained.model_dump(),
    }
    given = [each.class_id for each in parts["train"] if each.class_id is not None]
    description = Description(
        parent=asked.base,
        learner=FINE_TUNER,
        architecture=architecture,
        config=config,
        classes=tested.classes,
        input=needs,
        log_id=work.job.request["log_id"],
        acked_seq=work.job.request["acked_seq"],
        labels=len(given),
        labels_by_class=Classification().counts(given, names),
        metrics=evaluation,
        seconds=trained.seconds,
        reason=f"trained by job {work.job.id}",
        how_to_use=HOW_TO_USE,
    )
    tensors = {key: tensor.detach().cpu().numpy() for key, tensor in network.state_dict().items()}
    rows = [
        {
            "image_id": each.image_id,
            "uri": each.uri,
            "sha256": each.sha256,
            "split": "train" if split == "validation" and held_out else split,
            "label": names[each.class_id] if each.class_id is not None else "",
            "class_id": each.class_id,
        }
        for split, images in parts.items()
        for each in images
    ]
    work.registry.save(name, tensors, description, rows)
    return trained.model_dump(mode="json")


HOW_TO_USE = (
    "Divide the prepared values by 255, subtract mean, divide by std, "
    "apply the timm network `architecture` with as many classes as there are (for a module:function: the network that "
    "it returns, and a linear layer on its vectors), then softmax."
)


def _saved_before(work: Work, name: str) -> dict[str, Any] | None:
    """The result of this same job, if it was killed after its version was saved."""
    try:
        said = work.registry.get(name).description
    except KeyError:
        return None
    if said.config.get("job") != work.job.id:
        raise FileExistsError(f"Model version {name!r} already exists, and versions are never overwritten.")
    return dict(said.config["trained"])


def _with_base(work: Work, asked: TrainRequest) -> TrainRequest:
    """The request, completed by the configuration of the cloned version and by the defaults."""
    settings, given = work.settings, asked.model_dump(exclude_none=True)
    values: dict[str, Any] = {**DEFAULTS}
    if asked.base is not None:
        base = work.registry.get(asked.base).description
        kept = {"epochs", "patience", "flip", "seed"} if holds_whole_network(base) else set()
        values |= {key: value for key, value in base.config.items() if key in kept}
        known = ":" not in base.architecture or base.architecture == settings.model_fn
        if base.architecture not in ("pixels", "vectors") and known and base.input:
            values |= {"architecture": base.architecture, "input_size": base.input.size}
    if asked.architecture is not None and asked.architecture != values.get("architecture"):
        values.pop("input_size", None)
    if asked.architecture is None and "architecture" not in values:
        named = settings.model_fn or settings.backbone
        values |= {"architecture": named} if named not in ("auto", "pixels") else {}
    return TrainRequest.model_validate({**values, **given})


def _with_length(asked: TrainRequest, images: int, frozen: int) -> TrainRequest:
    """The request with default epochs and patience for this number of train images; the first `frozen` epochs are
    extra.
    """
    batches = max(images // (asked.batch_size or 1), 1)
    epochs = asked.epochs or frozen + int(np.clip(-(-STEPS // batches), *EPOCHS))
    return asked.model_copy(update={"epochs": epochs, "patience": asked.patience or max(PATIENT, 3 * epochs // 4)})


def hold_out(images: list[LabeledImage]) -> tuple[list[LabeledImage], list[LabeledImage]]:
    """Split train images into those kept and those held out: HELD_OUT of each class, by content hash, but never all."""
    held: set[int] = set()
    for label in {each.class_id for each in images}:
        mine = sorted((each for each in images if each.class_id == label), key=lambda each: each.sha256)
        held |= {each.image_id for each in mine[: min(max(round(HELD_OUT * len(mine)), 1), len(mine) - 1)]}
    return [each for each in images if each.image_id not in held], [each for each in images if each.image_id in held]


def photographs(
    work: Work, images: Sequence[LabeledImage], known: list[int], size: int, notes: list[str]
) -> Photographs:
    """The readable `images` whose class is in `known`, decoded ahead as far as memory allows. Raises ValueError if
    none.
    """
    room = CACHE_BYTES // (3 * size * size)
    wanted = [each for each in images if each.class_id in known]
    kept: dict[str, NDArray[np.uint8]] = {}
    readable: list[LabeledImage] = []

    def look(image: LabeledImage) -> tuple[LabeledImage, NDArray[np.uint8] | None]:
        try:
            return image, work.read(image, Preprocessing(size))
        except ImageProblem:
            return image, None

    with ThreadPoolExecutor(2, thread_name_prefix="reading") as threads:
        for number, (image, pixels) in enumerate(threads.map(look, wanted), 1):
            work.tell(number, len(wanted) + 1, "Reading images")
            if pixels is not None:
                readable.append(image)
                if len(kept) < room:
                    kept[image.sha256] = pixels
    if len(readable) < len(wanted):
        notes.append(f"{len(wanted) - len(readable)} images cannot be read and were left out.")
    if not readable:
        raise ValueError("None of the labeled images can be read.")
    given = np.array([each.class_id for each in readable], np.int64)
    targets = np.searchsorted(known, given).astype(np.int64)
    pixels_of = {number: kept[each.sha256] for number, each in enumerate(readable) if each.sha256 in kept}
    return Photographs(work, readable, targets, size, pixels_of, room)


def _measure(
    work: Work, classifier: Classifier, images: Sequence[LabeledImage], names: dict[int, str], labels: int
) -> Evaluation | None:
    """Evaluate on the readable labeled test images; None without any."""
    inputs, truth = [], []
    for image in images:
        try:
            inputs.append(work.read(image, classifier.preprocessing))
            truth.append(image.class_id)
        except ImageProblem:
            continue
    if not inputs:
        return None
    ids = np.array([each.id for each in classifier.classes], np.int64)
    measured = evaluate(np.array(truth, np.int64), classifier.predict_proba(inputs), ids, names).measured()
    active = bool(work.job.request.get("active"))  # absent in a job of an older version
    if active:
        measured = accuracy_alone(measured)
    return measured.evaluation(
        log_id=UUID(work.job.request["log_id"]),
        acked_seq=work.job.request["acked_seq"],
        model_version=classifier.version,
        labels=labels,
        spent=len(work.images),
        active=active,
        at_random=not active,
    )
