"""The torch modules of saved versions, built from their files. The contents of a file are checked before use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from shared.wire.models import ModelInput
from trainer.embeddings.backbones.safe_weights import ModelFileError
from trainer.embeddings.backbones.saved_backbone import Normalised, own_network, thaw
from trainer.embeddings.backbones.torch_networks import Module, first_line
from trainer.learners.custom_network import own_classifier
from trainer.learners.kernel_head import GAMMA
from trainer.versions.registry import RefusedVersion, Version


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
        return torch.softmax(self.logits(images), dim=1)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Values from 0 to 255 (B, 3, S, S) → logits (B, K)."""
        rows = functional.normalize(self.backbone(images) - self.mean)
        rows = functional.normalize(rows @ self.axes)
        similarity = torch.exp(2.0 * GAMMA * (rows @ self.anchors.T) - 2.0 * GAMMA)
        return similarity @ self.weights + self.bias


class SigmoidHeadNetwork(HeadNetwork):
    """Images → a probability for each class. A class is predicted if it reaches its own threshold."""

    thresholds: torch.Tensor
    temperature: torch.Tensor

    def __init__(self, backbone: Module, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        super().__init__(backbone, tensors)
        for name in ("thresholds", "temperature"):
            self.register_buffer(name, torch.from_numpy(np.array(tensors[name], dtype=np.float32)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Values from 0 to 255 (B, 3, S, S) → probabilities (B, K), which do not sum to 1."""
        return torch.sigmoid(self.logits(images) / self.temperature)


class FineTunedNetwork(Module):
    """Images → probabilities: a network with its own classifier."""

    def __init__(self, network: Module, needs: ModelInput) -> None:
        super().__init__()
        self.network = Normalised(network, needs.mean, needs.std)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Values from 0 to 255 (B, 3, S, S) → probabilities (B, K)."""
        return torch.softmax(self.network(images), dim=1)


class FineTunedSigmoids(FineTunedNetwork):
    """Images → a probability for each class. A class is predicted if it reaches its own threshold."""

    thresholds: torch.Tensor
    temperature: torch.Tensor

    def __init__(
        self, network: Module, needs: ModelInput, thresholds: NDArray[np.float32], temperature: NDArray[np.float32]
    ) -> None:
        super().__init__(network, needs)
        self.register_buffer("thresholds", torch.from_numpy(thresholds))
        self.register_buffer("temperature", torch.from_numpy(temperature))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Values from 0 to 255 (B, 3, S, S) → probabilities (B, K), which do not sum to 1."""
        return torch.sigmoid(self.network(images) / self.temperature)


def head_network(version: Version, needs: ModelInput, backbones: Path, model_fn: str) -> Module:
    """The module of a head and its frozen backbone in the folder `backbones`. Raises RefusedVersion."""
    return _head_network(HeadNetwork, {}, version, needs, backbones, model_fn)


def sigmoid_head_network(version: Version, needs: ModelInput, backbones: Path, model_fn: str) -> Module:
    """As `head_network`, for several classes per image. Raises RefusedVersion."""
    more = {"thresholds": (len(version.description.classes),), "temperature": (1,)}
    return _head_network(SigmoidHeadNetwork, more, version, needs, backbones, model_fn)


def _head_network(
    kind: type[HeadNetwork],
    more: Mapping[str, tuple[int, ...]],
    version: Version,
    needs: ModelInput,
    backbones: Path,
    model_fn: str,
) -> Module:
    """`more` are the shapes of further arrays of this kind."""
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
            **more,
        }
    )
    if tensors["classes"].tolist() != [each.id for each in said.classes]:
        raise version.refused("has other classes than its description")
    if not all(np.isfinite(tensors[name]).all() for name in ("anchors", "weights", "bias", "mean", "axes", *more)):
        raise version.refused("contains numbers that are not finite")
    try:
        own = own_network(model_fn) if model_fn and said.architecture == model_fn else None
        backbone = thaw(backbones, said.embeddings or "", model_fn=own)
    except ModelFileError as error:
        raise RefusedVersion(f"Version {version.name!r} cannot be used: the backbone {error}.") from None
    network = kind(backbone, tensors)
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 3, needs.size, needs.size))
    except RuntimeError as error:
        raise RefusedVersion(
            f"Version {version.name!r} does not fit its backbone at {needs.size} pixels per side ({first_line(error)})."
        ) from None
    return network


def fine_tuned_network(version: Version, needs: ModelInput, model_fn: str) -> Module:
    """The module of a network that was trained as a whole. Raises RefusedVersion."""
    return FineTunedNetwork(_filled(version, needs, model_fn, {})[0], needs)


def fine_tuned_sigmoids(version: Version, needs: ModelInput, model_fn: str) -> Module:
    """As `fine_tuned_network`, for several classes per image. Raises RefusedVersion."""
    shapes = {"thresholds": (len(version.description.classes),), "temperature": (1,)}
    network, more = _filled(version, needs, model_fn, shapes)
    return FineTunedSigmoids(network, needs, more["thresholds"], more["temperature"])


def _filled(
    version: Version, needs: ModelInput, model_fn: str, more: Mapping[str, tuple[int, ...]]
) -> tuple[Module, dict[str, NDArray[np.float32]]]:
    """The trained network, and further saved arrays, whose shapes are `more`."""
    said = version.description
    try:
        network = _architecture(said.architecture, needs.size, len(said.classes), model_fn)
    except Exception as error:
        raise RefusedVersion(
            f"Version {version.name!r} names the network {said.architecture!r}, which cannot be created ({error})."
        ) from None
    own = {name: tuple(each.shape) for name, each in network.state_dict().items()}
    tensors = version.tensors({**own, **more})
    if not all(np.isfinite(each).all() for each in tensors.values()):
        raise version.refused("contains numbers that are not finite")
    network.load_state_dict({name: torch.from_numpy(tensors[name]) for name in own})
    return network, {name: np.asarray(tensors[name], np.float32) for name in more}


def _architecture(name: str, size: int, classes: int, model_fn: str) -> Module:
    """The timm network of that name, or your own if the settings name it. Raises ValueError."""
    if ":" not in name:
        from trainer.embeddings.backbones import timm_networks  # here, because a head over pixels does not need it

        return timm_networks.create_known(name, size, num_classes=classes)
    if name != model_fn:
        raise ValueError("it is a network of your own: name it in the setting 'model_fn'")
    return own_classifier(name, size, classes)
