"""Chooses the network and the initial weights for the training of a whole detector.

A timm network begins with the same weights as for classification (`trainer.work.starting_weights`) and a new head, a
torchvision detector with its weights from COCO. With `base`, training continues from a version: a saved live detector,
whose network then is no longer frozen, or another whole detector. In a timm detector, a class that the base knows keeps
its weights in the head; in a torchvision detector, all classes begin anew unless they are the same as in the base. This
module knows neither images nor boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from shared.settings.services import SettingsError
from shared.wire.models import ModelVersion, TrainRequest
from trainer.detection.head import FIRST_SCORE, with_classes
from trainer.detection.pyramid import SIZE
from trainer.embeddings.backbones import installed
from trainer.embeddings.backbones.torch_networks import IMAGENET_MEAN, IMAGENET_STD
from trainer.versions.detectors import DetectorNetwork
from trainer.versions.predictor import load_classifier
from trainer.versions.registry import RefusedVersion
from trainer.versions.saved_learners import WHOLE_DETECTOR, finds_boxes
from trainer.whole_detector.coco_weights import NotHereError, coco_weights
from trainer.whole_detector.names import TORCHVISION
from trainer.whole_detector.networks import TimmDetector, TorchvisionDetector, WholeDetector
from trainer.work.job_context import Work
from trainer.work.starting_weights import begin

TORCHVISION_SIZE = 512
"""Default image size in pixels of a torchvision detector. Its finest level has a stride of 8."""


@dataclass(frozen=True)
class Begun:
    """A network to train, the source of its weights, its input, and the request with its open fields filled in."""

    network: WholeDetector
    weights: str
    architecture: str
    size: int
    mean: list[float]
    std: list[float]
    request: TrainRequest


def begun(work: Work, request: TrainRequest, ids: Sequence[int], notes: list[str]) -> Begun:
    """The network for a training on the classes `ids`. Appends to `notes`. Raises SettingsError and RefusedVersion."""
    base = work.registry.get(request.base).description if request.base is not None else None
    request = _completed(request, base)
    name = str(request.architecture)
    torch.manual_seed(request.seed or 0)
    if request.weights == "base":
        return _continued(work, request, base, ids)
    if name in TORCHVISION:
        return _of_torchvision(work, request, name, len(ids))
    size = request.input_size or SIZE
    body, weights, needs, name = begin(work, request.model_copy(update={"input_size": size}), 1)
    if weights == "none" and request.weights == "auto":
        notes.append(f"No published weights of {name!r} were available: it was trained from scratch.")
    body.reset_classifier(0)  # type: ignore[operator]
    try:
        network = TimmDetector(body, size, len(ids), needs.mean, needs.std)
    except ValueError as error:
        raise SettingsError(f"The network {name!r} cannot find boxes: it {error}.") from None
    return Begun(network, weights, name, size, needs.mean, needs.std, request)


def _completed(request: TrainRequest, base: ModelVersion | None) -> TrainRequest:
    """Fill in the open fields of the request from its base, or else the network that comes with the installation."""
    values: dict[str, Any] = {"architecture": installed.NAME}
    if base is not None and finds_boxes(base) and base.input is not None:
        kept = {"epochs", "patience", "flip", "seed", "batch_size"} if base.learner == WHOLE_DETECTOR else set()
        values |= {key: value for key, value in base.config.items() if key in kept}
        values |= {"architecture": base.architecture, "input_size": base.input.size}
        if request.architecture not in (None, base.architecture):
            values.pop("input_size")
    return TrainRequest.model_validate({**values, **request.model_dump(exclude_none=True)})


def _of_torchvision(work: Work, request: TrainRequest, name: str, classes: int) -> Begun:
    size = request.input_size or TORCHVISION_SIZE
    if request.weights == "file":
        raise SettingsError(f"'weights' cannot be 'file' for {name!r}: it has only its weights from COCO, or none.")
    mean, std = list(IMAGENET_MEAN), list(IMAGENET_STD)
    try:
        network = TorchvisionDetector(name, size, classes, mean, std)
    except ValueError as error:
        raise SettingsError(f"The detector {name!r} {error}.") from None
    if request.weights == "none":
        return Begun(network, "none", name, size, mean, std, request)

    def told(done: int, total: int) -> None:
        work.tell(done, max(total, done + 1), f"Downloading the weights of {name}")

    try:
        found = coco_weights(name, download=work.settings.auto_download, on_bytes=told)
    except NotHereError as error:
        raise SettingsError(str(error)) from None
    network.take_over({f"network.{key}": each for key, each in found.items()}, same_classes=False)
    return Begun(network, "pretrained", name, size, mean, std, request)


def _continued(work: Work, request: TrainRequest, base: ModelVersion | None, ids: Sequence[int]) -> Begun:
    """A detector with the weights of its base."""
    if base is None or request.base is None:
        raise SettingsError("'weights' can only be 'base' if a base is named.")
    if not finds_boxes(base) or base.input is None or base.architecture != request.architecture:
        raise RefusedVersion(
            f"Version {request.base!r} is no detector on {request.architecture!r}: training cannot start from it."
        )
    old = load_classifier(work.registry.get(request.base), work.backbones, model_fn=work.settings.model_fn).network
    size, mean, std = request.input_size or base.input.size, base.input.mean, base.input.std
    before = [each.id for each in base.classes]
    network: WholeDetector
    try:
        if isinstance(old, TorchvisionDetector):
            network = TorchvisionDetector(base.architecture, size, len(ids), mean, std)
            network.take_over(old.state_dict(), same_classes=before == list(ids))
            return Begun(network, "base", base.architecture, size, mean, std, request)
        body = old.backbone.network if isinstance(old, DetectorNetwork) else old.get_submodule("body")
        network = TimmDetector(body.requires_grad_(True), size, len(ids), mean, std)
    except ValueError as error:
        raise SettingsError(f"The network {base.architecture!r} {error}.") from None
    head = {name: each.clone() for name, each in old.get_submodule("head").state_dict().items()}
    network.head.load_state_dict(with_classes(head, before, ids, first=FIRST_SCORE))
    return Begun(network, "base", base.architecture, size, mean, std, request)
