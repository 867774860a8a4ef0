"""Detectors of which every layer can be trained. For each point of a canvas, they return class scores and a box.

`TimmDetector` is the live detector's head on any timm network with feature maps at strides 8, 16 and 32; no layer is
frozen. `TorchvisionDetector` is torchvision's FCOS or RetinaNet, whose published weights know the 80 classes of COCO.
Both have the same output, so prediction, comparison and export treat them alike. Duplicate boxes are removed
afterwards (`trainer.detection.detections`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torchvision.models import detection
from torchvision.models.detection.image_list import ImageList

from trainer.detection.detector import FIRST_THRESHOLD
from trainer.detection.head import BoxHead, points
from trainer.detection.loss import Truth, loss_of
from trainer.detection.pyramid import STRIDES, stages_of
from trainer.embeddings.backbones.torch_networks import Module
from trainer.whole_detector.names import TORCHVISION

DIVISOR = 128
"""The canvas of a torchvision detector must be a multiple of this: the stride of its coarsest level."""


class BoxNetwork(Module):
    """Maps values from 0 to 255 (B, 3, S, S) to scores (B, P, K) and corners (B, P, 4) in pixels of the canvas."""

    threshold: torch.Tensor

    def __init__(self, threshold: float = FIRST_THRESHOLD) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor([threshold]))


class WholeDetector(BoxNetwork):
    """A detector that can be trained. Tensors whose name begins with one of `fresh` belong to the head: they learn
    faster than the backbone."""

    mean: torch.Tensor
    std: torch.Tensor
    fresh: tuple[str, ...]

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(list(mean)).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(list(std)).view(1, 3, 1, 1) * 255)

    def loss(self, images: torch.Tensor, truths: Sequence[Truth], weights: torch.Tensor) -> torch.Tensor:
        """The loss of one batch of canvases. `weights` (K,) are the weights of the classes."""
        raise NotImplementedError

    def _normalised(self, images: torch.Tensor) -> torch.Tensor:
        return (images.float() - self.mean) / self.std


class TimmDetector(WholeDetector):
    """The head of the live detector on a timm network that is trained, too."""

    fresh = ("head.",)
    centres: torch.Tensor
    strides: torch.Tensor

    def __init__(self, body: Module, size: int, classes: int, mean: Sequence[float], std: Sequence[float]) -> None:
        """Raises ValueError with the end of a sentence if `size` does not fit, or `body` lacks one of STRIDES."""
        super().__init__(mean, std)
        _check_size(size, STRIDES[-1])
        self.stages, channels = stages_of(body)
        self.body = body
        self.head = BoxHead(channels, size, classes)
        for name, each in zip(("centres", "strides"), points(size), strict=True):
            self.register_buffer(name, each, persistent=False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores and corners."""
        logits, corners = self.head(*self._levels(images))
        return torch.sigmoid(logits), corners

    def loss(self, images: torch.Tensor, truths: Sequence[Truth], weights: torch.Tensor) -> torch.Tensor:
        """See `WholeDetector.loss`."""
        levels = self._levels(images)
        with torch.autocast(images.device.type, enabled=False):  # 8 significant bits are too few for coordinates
            logits, corners = self.head(*(each.float() for each in levels))
            return loss_of(logits, corners, truths, weights, self.centres, self.strides)

    def _levels(self, images: torch.Tensor) -> list[torch.Tensor]:
        found: list[torch.Tensor] = self.body.forward_intermediates(  # type: ignore[operator]
            self._normalised(images), indices=self.stages, intermediates_only=True
        )
        return found


class TorchvisionDetector(WholeDetector):
    """A one-stage detector of torchvision. Class indices begin at 0; there is no background class."""

    fresh = ("network.head.",)
    anchors: torch.Tensor
    network: Any

    def __init__(self, name: str, size: int, classes: int, mean: Sequence[float], std: Sequence[float]) -> None:
        """Raises ValueError with the end of a sentence if `size` does not fit."""
        super().__init__(mean, std)
        _check_size(size, DIVISOR)
        self.network = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=classes)
        with torch.no_grad():
            levels = list(self.network.backbone.eval()(torch.zeros(1, 3, size, size)).values())
        canvas = ImageList(torch.zeros(1, 3, size, size), [(size, size)])
        self._sizes = [each.shape[-1] * each.shape[-2] for each in levels]
        self.register_buffer("anchors", self.network.anchor_generator(canvas, levels)[0], persistent=False)
        per_cell = len(self.anchors) // sum(self._sizes)
        self._sizes = [each * per_cell for each in self._sizes]

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores and corners."""
        said = self._outputs(images)
        scores, away = torch.sigmoid(said["cls_logits"]), said["bbox_regression"]
        if "bbox_ctrness" in said:
            scores = torch.sqrt(scores * torch.sigmoid(said["bbox_ctrness"]))
            return scores, self.network.head.box_coder.decode(away, self.anchors.expand_as(away))
        anchors = self.anchors[None].expand(away.shape[0], -1, -1).flatten(0, 1)
        flat = self.network.box_coder.decode_single(away.flatten(0, 1), anchors)
        return scores, flat.reshape(away.shape)

    def loss(self, images: torch.Tensor, truths: Sequence[Truth], weights: torch.Tensor) -> torch.Tensor:
        """See `WholeDetector.loss`. Torchvision's focal loss cannot weigh classes, so `weights` is ignored."""
        said = self._outputs(images)
        with torch.autocast(images.device.type, enabled=False):
            targets = [{"boxes": each.corners, "labels": each.classes} for each in truths]
            more = [self._sizes] if "bbox_ctrness" in said else []
            exact = {name: each.float() for name, each in said.items()}
            parts = self.network.compute_loss(targets, exact, [self.anchors] * len(truths), *more)
            return torch.stack(list(parts.values())).sum()

    def take_over(self, found: Mapping[str, torch.Tensor], *, same_classes: bool) -> None:
        """Load the tensors of `found` whose shapes fit. The layers that score classes stay new unless the classes are
        the same: otherwise each class would begin as another one."""
        own = self.state_dict()
        fits = {key: each for key, each in found.items() if key in own and own[key].shape == each.shape}
        self.load_state_dict(
            {key: each for key, each in fits.items() if same_classes or "cls_logits" not in key}, strict=False
        )

    def _outputs(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = self.network.head(
            list(self.network.backbone(self._normalised(images)).values())
        )
        return found


def built(name: str, size: int, classes: int, mean: Sequence[float], std: Sequence[float]) -> WholeDetector:
    """The detector of that name, one of TORCHVISION or any timm network, with random weights. Never downloads. Raises
    ValueError if the name or size is not possible."""
    if name in TORCHVISION:
        return TorchvisionDetector(name, size, classes, mean, std)
    from trainer.embeddings.backbones.timm_networks import create_known  # timm takes seconds to import

    return TimmDetector(create_known(name, size), size, classes, mean, std)


def _check_size(size: int, divisor: int) -> None:
    if size % divisor:
        low, high = max(size // divisor, 1) * divisor, (size // divisor + 1) * divisor
        raise ValueError(f"needs an image size that is a multiple of {divisor} pixels, such as {low} or {high}")
