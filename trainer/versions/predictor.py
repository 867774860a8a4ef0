"""A saved version as one torch module: images in, class probabilities out.

Predicting, comparing and exporting all use it. The module takes values from 0 to 255 and does everything else itself,
so an export needs only the code that crops and resizes an image. The contents of a file are checked before anything is
built: network names that timm knows, matching shapes, finite numbers, classes of this project. A version that fails a
check is refused with one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from shared.log import Fold
from shared.wire.models import ModelClass, ModelInput
from trainer.embeddings.backbones.preparation import Preprocessing
from trainer.embeddings.backbones.safe_weights import ModelFileError
from trainer.embeddings.backbones.saved_backbone import Normalised, fill, own_network, thaw
from trainer.embeddings.backbones.torch_networks import Module, first_line
from trainer.learners.custom_network import own_classifier
from trainer.learners.kernel_head import GAMMA
from trainer.versions.model_card import licence_of
from trainer.versions.registry import RefusedVersion, Version

BATCH = 32
"""Images per forward pass."""


class HeadNetwork(Module):
    """Images → probabilities: backbone, the pool's transform, and the kernel head."""

    mean: torch.Tensor
    axes: torch.Tensor
    anchors: torch.Tensor
    weights: torch.Tensor
    bias: torch.Tensor

    def __init__(self, backbone: Module, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        super().__init__()
        self.backbone = backbone
        for name in ("mean", "axes", "anchors", "weights", "bias"):
            self.register_buffer(name, torch.from_numpy(np.array(tensors[name], dtype=np.float32)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Values from 0 to 255 (B, 3, S, S) → probabilities (B, K)."""
        rows = functional.normalize(self.backbone(images) - self.mean)
        rows = functional.normalize(rows @ self.axes)
        similarity = torch.exp(2.0 * GAMMA * (rows @ self.anchors.T) - 2.0 * GAMMA)
        return torch.softmax(similarity @ self.weights + self.bias, dim=1)


class FineTunedNetwork(Module):
    """Images → probabilities: a network with its own classifier."""

    def __init__(self, network: Module, needs: ModelInput) -> None:
        super().__init__()
        self.network = Normalised(network, needs.mean, needs.std)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Values from 0 to 255 (B, 3, S, S) → probabilities (B, K)."""
        return torch.softmax(self.network(images), dim=1)


@dataclass(frozen=True)
class Classifier:
    """A version ready to predict. `network` maps values from 0 to 255 (B, 3, S, S) to probabilities (B, K)."""

    version: str
    classes: list[ModelClass]
    needs: ModelInput
    network: Module
    device: torch.device
    licence: str = ""  # of its initial weights, where known

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing from image files to inputs."""
        return Preprocessing.of(self.needs)

    def predict_proba(self, inputs: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Prepared images → probabilities (n, K). Rows sum to 1; columns are in the order of `classes`."""
        said = [np.empty((0, len(self.classes)), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(inputs), BATCH):
                batch = torch.from_numpy(np.stack(inputs[start : start + BATCH])).to(self.device)
                said.append(self.network(batch.float()).float().cpu().numpy())
        return np.concatenate(said)


def load_classifier(
    version: Version, backbones: Path, *, model_fn: str = "", device: torch.device | None = None
) -> Classifier:
    """Build what `version` describes; `backbones` is the folder of frozen backbones.

    `model_fn` is the setting of that name: a file never decides which code runs. Raises RefusedVersion.
    """
    said = version.description
    needs = said.input
    if needs is None:
        raise RefusedVersion(
            f"Version {version.name!r} was fitted on vectors from a file: no network computes them from images."
        )
    build = _head if said.learner == "head" else _fine_tuned
    network = build(version, needs, backbones, model_fn).eval().requires_grad_(False)
    device = device or torch.device("cpu")
    return Classifier(version.name, said.classes, needs, network.to(device), device, licence_of(said))


def standing(classes: Sequence[ModelClass], fold: Fold) -> list[int | None]:
    """The live class id of each output, or None if the class was deleted.

    A renamed class keeps its id. The outputs of merged classes share one id and are added up.
    """
    return [fold.resolve(each.id) for each in classes]


def in_todays_classes(
    probabilities: NDArray[np.float32], now: Sequence[int | None]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Outputs (n, K) as probabilities (n, L) of the live classes `now` (K), and their ids (L,), ascending.

    The probability of a deleted class is distributed over the others in proportion. Raises ValueError if none is left.
    """
    ids = np.array(sorted({each for each in now if each is not None}), np.int64)
    if len(ids) == 0:
        raise ValueError("None of its classes exists any more.")
    summed = np.zeros((len(probabilities), len(ids)), np.float32)
    for column, each in enumerate(now):
        if each is not None:
            summed[:, np.searchsorted(ids, each)] += probabilities[:, column]
    total = summed.sum(axis=1, keepdims=True)
    even = np.full_like(summed, 1 / len(ids))
    return ids, np.divide(summed, total, out=even, where=total > 0)


def check_project(version: Version, log_id: str | None, fold: Fold) -> None:
    """Raise RefusedVersion if the class ids of `version` belong to another project."""
    said = version.description
    if log_id is None or said.log_id == log_id:
        return
    for each in said.classes:
        here = fold.classes.get(each.id)
        if here is None or each.name not in {here.name, *here.aliases}:
            known = f"class {each.id} is {here.name!r}" if here else f"there is no class {each.id}"
            raise RefusedVersion(
                f"Version {version.name!r} was trained on another project: there class {each.id} is {each.name!r}, "
                f"and here {known}."
            )


def _head(version: Version, needs: ModelInput, backbones: Path, model_fn: str) -> Module:
    said = version.description
    shapes = version.shapes()
    count, width = len(said.classes), shapes.get("axes", (0, 0))[-1]
    tensors = version.tensors(
        {
            "classes": (count,),
            "anchors": (None, width),
            "weights": (shapes.get("anchors", (0,))[0], count),
            "bias": (count,),
            "mean": (shapes.get("axes", (0,))[0],),
            "axes": (None, width),
        }
    )
    if tensors["classes"].tolist() != [each.id for each in said.classes]:
        raise version.refused("has other classes than its description")
    if not all(np.isfinite(tensors[name]).all() for name in ("anchors", "weights", "bias", "mean", "axes")):
        raise version.refused("contains numbers that are not finite")
    try:
        own = own_network(model_fn) if model_fn and said.architecture == model_fn else None
        backbone = thaw(backbones, said.embeddings or "", model_fn=own)
    except ModelFileError as error:
        raise RefusedVersion(f"Version {version.name!r} cannot be used: the backbone {error}.") from None
    network = HeadNetwork(backbone, tensors)
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 3, needs.size, needs.size))
    except RuntimeError as error:
        raise RefusedVersion(
            f"Version {version.name!r} does not fit its backbone at {needs.size} pixels per side ({first_line(error)})."
        ) from None
    return network


def _fine_tuned(version: Version, needs: ModelInput, _backbones: Path, model_fn: str) -> Module:
    said = version.description
    try:
        network = _architecture(said.architecture, needs.size, len(said.classes), model_fn)
    except Exception as error:
        raise RefusedVersion(
            f"Version {version.name!r} names the network {said.architecture!r}, which cannot be created ({error})."
        ) from None
    tensors = version.tensors({name: tuple(each.shape) for name, each in network.state_dict().items()})
    if not all(np.isfinite(each).all() for each in tensors.values()):
        raise version.refused("contains numbers that are not finite")
    try:
        fill(network, version.model_file, version.shapes())
    except ModelFileError as error:
        raise version.refused(error) from None
    return FineTunedNetwork(network, needs)


def _architecture(name: str, size: int, classes: int, model_fn: str) -> Module:
    """The timm network of that name, or your own if the settings name it. Raises ValueError."""
    if ":" not in name:
        from trainer.embeddings.backbones import timm_networks  # here, because a head over pixels needs none of it

        return timm_networks.create_known(name, size, num_classes=classes)
    if name != model_fn:
        raise ValueError("it is a network of your own: name it in the setting 'model_fn'")
    return own_classifier(name, size, classes)
