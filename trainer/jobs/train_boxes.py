"""The job that trains a whole detector and saves it as a version.

All labeled train images are learned. Test images measure it once, at the end, as they measure the live detector.
Validation images, if there are enough, choose the epoch, and the score from which boxes are suggested; without them the
last epoch is taken, and the score is the one that live detectors begin with.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import numpy as np
import torch

from shared.images.opening import ImageProblem
from shared.tasks.detection import DETECTION
from shared.wire.evaluation import Evaluation
from shared.wire.models import Description, ModelClass, ModelInput, Trained, TrainRequest
from trainer.detection.detections import pick
from trainer.detection.detector import Example
from trainer.detection.pyramid import background_of
from trainer.detection.suggestion_threshold import Judged, least_costly
from trainer.embeddings.backbones.preparation import PREPROCESSING
from trainer.embeddings.backbones.torch_networks import device_named
from trainer.evaluation.box_matching import THRESHOLDS, Placed
from trainer.evaluation.detection_metrics import evaluate, mean_average_precision
from trainer.live_detector.live_detector import placed
from trainer.tasks.detection import Detection
from trainer.versions.detectors import SavedDetector
from trainer.versions.saved_learners import WHOLE_DETECTOR
from trainer.versions.whole_detectors import HOW_TO_USE
from trainer.whole_detector.networks import WholeDetector
from trainer.whole_detector.training import Plan, Step, train
from trainer.whole_detector.views import CACHE_BYTES, Album
from trainer.work.detector_weights import begun
from trainer.work.job_context import LabeledImage, Work
from trainer.work.stopwatch import Stopwatch

ENOUGH_VALIDATION = 20
"""Labeled validation images needed to choose an epoch and a threshold."""
STEPS = 500
"""Training steps by default. With few images, an epoch has few steps, so there are more epochs."""
EPOCHS = (10, 1_000)
BATCH = 8
RATE = 2e-3
"""Default learning rate of the head, as for the live detector."""


def run(work: Work) -> dict[str, Any]:
    """Train as the job's request says and save the version; returns a `Trained` as JSON. Raises ValueError."""
    name = str(work.job.request["name"])
    again = work.trained_before(name)
    if again is not None:
        return again
    request = TrainRequest.model_validate(work.job.request["train"])
    names = {int(each): said for each, said in work.job.request["classes"]["names"].items()}
    notes: list[str] = []
    parts = {
        split: _examples([each for each in work.images if each.split == split])
        for split in ("train", "validation", "test")
    }
    learned = parts["train"]
    ids = sorted({int(label) for each in learned for label in each.labels if int(label) in names})
    if not ids:
        raise ValueError("Training needs boxes of at least one class on train images.")
    columns = {class_id: column for column, class_id in enumerate(ids)}
    start = begun(work, request, ids, notes)
    network, request = start.network, start.request
    needs = ModelInput(
        preprocessing=PREPROCESSING, size=start.size, preparation="letterbox", mean=start.mean, std=start.std
    )
    background = background_of(start.mean)
    by_hash = {each.sha256: each for each in work.images}

    def album(most_bytes: int = CACHE_BYTES) -> Album:
        def fetch(sha256: str) -> bytes:
            return work.fetch(by_hash[sha256])

        return Album(fetch, work.photos.limits, start.size, background, columns, most_bytes=most_bytes)

    pictures = album()
    learned = _readable(work, pictures, learned, notes)
    batch = request.batch_size or BATCH
    batches = -(-len(learned) // batch)
    plan = Plan(
        epochs=request.epochs or int(np.clip(-(-STEPS // batches), *EPOCHS)),
        batch_size=batch,
        learning_rate=request.learning_rate or RATE,
        flip=request.flip is not False,
        seed=request.seed or 0,
        pretrained=start.weights != "none",
        patience=request.patience,
    )
    device, watch = device_named(work.settings.device), Stopwatch(work.folder)
    judges = parts["validation"] if len(parts["validation"]) >= ENOUGH_VALIDATION else []
    if not judges:
        notes.append("No epoch was chosen: too few images for validation.")
    judging = album(CACHE_BYTES // 8)

    def judge(network: WholeDetector) -> float:
        return _precision(_looked(judging, network, ids, judges), ids)

    first: list[tuple[int, float]] = []

    def show(step: Step) -> None:
        now = time.monotonic()
        first[:] = first or [(step.done, now)]  # a continued training has done steps that took no time
        done, since = step.done - first[0][0], now - first[0][1]
        left = since / done * (step.total - step.done) if done >= 3 else None
        work.tell(step.done, step.total, step.message, seconds_left=left, **step.metrics)

    counts = [sum(int((each.labels == class_id).sum()) for each in learned) for class_id in ids]
    done = train(
        network,
        pictures,
        learned,
        plan,
        counts=counts,
        judge=judge if judges else None,
        checkpoint=work.folder / "checkpoint.safetensors",
        device=device,
        on_step=show,
    )
    if judges:
        network.threshold.fill_(least_costly(_looked(judging, network, ids, judges)))
    work.tell(0, 1, "Measuring on the test images")
    evaluation = _measured(work, network, needs, ids, names, len(learned), device)
    trained = Trained(
        version=name,
        epochs=done.epoch,
        best_epoch=done.best_epoch,
        seconds=watch.stop(),
        images_per_second=done.images / max(done.seconds, 1e-9),
        history=done.history,
        notes=[*notes, *done.notes],
    )
    values = {each.image_id: DETECTION.of_row(each) for each in work.images}
    task = Detection()
    taught = {each.sha256 for each in learned}
    given = [value for each in work.images if each.sha256 in taught and (value := values[each.image_id]) is not None]
    description = Description(
        parent=request.base,
        learner=WHOLE_DETECTOR,
        architecture=start.architecture,
        config={
            **request.model_dump(exclude={"base"}),
            "architecture": start.architecture,
            "input_size": start.size,
            "weights": start.weights,
            "epochs": plan.epochs,
            "learning_rate": plan.learning_rate,
            "batch_size": done.batch_size,
            "validation_images": len(judges),
            "job": work.job.id,
            "trained": trained.model_dump(),
        },
        classes=[ModelClass(id=class_id, name=names[class_id]) for class_id in ids],
        input=needs,
        log_id=work.job.request["log_id"],
        acked_seq=work.job.request["acked_seq"],
        labels=len(learned),
        labels_by_class=task.counts(given, names),
        metrics=evaluation,
        seconds=trained.seconds,
        reason=f"trained by job {work.job.id}",
        how_to_use=HOW_TO_USE,
    )
    rows = [
        {**each.cells, **task.cells(value, names)}
        for each in work.images
        if (value := values[each.image_id]) is not None
    ]
    tensors = {key: tensor.detach().cpu().numpy() for key, tensor in network.state_dict().items()}
    work.registry.save(name, tensors, description, rows)
    return trained.model_dump(mode="json")


def _examples(images: Sequence[LabeledImage]) -> list[Example]:
    found = []
    for each in images:
        value = DETECTION.of_row(each)
        if value is not None:
            drawn = placed(value)
            found.append(Example(each.sha256, drawn.places.astype(np.float32), drawn.classes))
    return found


def _readable(work: Work, album: Album, examples: list[Example], notes: list[str]) -> list[Example]:
    """The examples with a readable image, decoded ahead as far as memory allows. Raises ValueError if there are
    none.
    """

    def look(example: Example) -> bool:
        try:
            album.open(example.sha256)
        except ImageProblem:
            return False
        return True

    readable = []
    with ThreadPoolExecutor(2, thread_name_prefix="reading") as threads:
        for number, (example, is_there) in enumerate(zip(examples, threads.map(look, examples), strict=True), 1):
            work.tell(number, len(examples) + 1, "Reading images")
            if is_there:
                readable.append(example)
    if len(readable) < len(examples):
        notes.append(f"{len(examples) - len(readable)} images cannot be read and were left out.")
    if not any(len(each.labels) for each in readable):
        raise ValueError("None of the labeled images with boxes can be read.")
    return readable


def _looked(album: Album, network: WholeDetector, ids: Sequence[int], examples: Sequence[Example]) -> list[Judged]:
    """The boxes that the network finds in images, and those that people drew. Unreadable images are left out."""
    device, judged = network.threshold.device, []
    for example in examples:
        try:
            canvas, placement = album.plain(example.sha256)
        except ImageProblem:
            continue
        with torch.inference_mode():
            scores, corners = network(torch.from_numpy(canvas[None]).to(device))
        found = pick(scores[0].float().cpu(), corners[0].float().cpu(), np.array(ids, np.int64), placement)
        judged.append(Judged(found, example.boxes, example.labels))
    return judged


def _precision(judged: Sequence[Judged], ids: Sequence[int]) -> float:
    """mAP at IoU 0.5 to 0.95."""
    truth = [Placed(each.labels, each.boxes.astype(np.float64), np.ones(len(each.labels))) for each in judged]
    found = [
        Placed(each.found.classes, each.found.boxes.astype(np.float64), each.found.scores.astype(np.float64))
        for each in judged
    ]
    if not judged:
        return 0.0
    return float(mean_average_precision(truth, found, ids, np.ones((1, len(judged))), THRESHOLDS)[0])


def _measured(
    work: Work,
    network: WholeDetector,
    needs: ModelInput,
    ids: Sequence[int],
    names: dict[int, str],
    labels: int,
    device: torch.device,
) -> Evaluation | None:
    """Evaluate on the readable labeled test images, as a live detector is evaluated; None without any."""
    saved = SavedDetector(network.eval(), needs, device)
    truth, found = [], []
    for image in (each for each in work.images if each.split == "test"):
        value = DETECTION.of_row(image)
        if value is None:
            continue
        try:
            seen = saved.detect(work.fetch(image), work.photos.limits)
        except ImageProblem:
            continue
        truth.append(placed(value))
        classes = np.array(ids, np.int64)[seen.classes]
        found.append(Placed(classes, seen.boxes.astype(np.float64), seen.scores.astype(np.float64)))
    if not truth:
        return None
    measured = evaluate(
        truth,
        found,
        names,
        learned=frozenset(ids),
        suggested_from=saved.threshold,
        iou_threshold=work.settings.iou_threshold,
    )
    return measured.evaluation(
        log_id=UUID(work.job.request["log_id"]),
        acked_seq=work.job.request["acked_seq"],
        model_version=str(work.job.request["name"]),
        labels=labels,
        spent=len(work.images),
        active=False,
        at_random=True,
    )
