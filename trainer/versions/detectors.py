"""Saved detectors: their network for predicting and exporting, and the boxes that they find in an image file.

A version holds the head. The frozen network under it is a backbone, stored in a file of its own. The network of a
version takes values from 0 to 255 and returns the score of each class and a box at every point of the canvas.
`trainer.detection.detections` removes duplicates afterwards. An export does not: its user's code must.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from shared.images.opening import ImageLimits
from shared.log import Fold
from shared.tasks.multilabel import cell_of
from shared.wire.models import ModelClass, ModelInput, PredictedBox, Prediction, Predictions
from trainer.detection import head, regions
from trainer.detection.detections import Detections, pick
from trainer.detection.detector import Detector
from trainer.detection.placement import Placement, opened
from trainer.detection.pyramid import STRIDES, Pyramid, background_of, stages_of
from trainer.embeddings.backbones.preparation import PREPROCESSING
from trainer.embeddings.backbones.safe_weights import ModelFileError
from trainer.embeddings.backbones.saved_backbone import Normalised, freeze, own_network, thaw
from trainer.versions.registry import RefusedVersion, Version
from trainer.whole_detector.networks import BoxNetwork

HOW_TO_USE = (
    "Feature maps of the frozen network at strides 8, 16 and 32 are the input of the head. It returns the score of "
    "each class and a box at every point. The features inside each box then tell where the edges of its object are, "
    "how well the box fits, and with several classes its class."
)


class DetectorNetwork(BoxNetwork):
    """Canvases → scores and corners: the frozen network, the head, and what reads the features inside boxes."""

    def __init__(self, backbone: Normalised, detector: Detector) -> None:
        super().__init__(detector.threshold)
        self.backbone = backbone
        self.head = detector.head
        self.regions, self.edges, self.tightness, self.fine_edges = (
            detector.region_classes,
            detector.region_edges,
            detector.region_tightness,
            detector.region_fine_edges,
        )
        self.size = detector.size
        self.stages = stages_of(backbone.network)[0]

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Values from 0 to 255 (B, 3, S, S) → scores (B, P, K) and corners (B, P, 4) in pixels of the canvas."""
        network = self.backbone
        values = (images.float() - network.mean) / network.std
        levels = network.network.forward_intermediates(  # type: ignore[operator]
            values, indices=self.stages, intermediates_only=True
        )
        logits, corners = self.head(*levels)
        scores, corners = regions.read(levels, logits, corners, self.size, self.regions, self.edges, self.tightness)
        if self.fine_edges is not None:
            corners = regions.refined(levels, scores, corners, self.size, self.fine_edges)
        return scores, corners


def keep(pyramid: Pyramid, backbones: Path) -> tuple[str, ModelInput, str]:
    """Store a detector's frozen network in `backbones`; returns its architecture, its input and its key."""
    backbone = pyramid.backbone
    freeze(backbone, backbones)
    needs = ModelInput(
        preprocessing=PREPROCESSING,
        size=pyramid.size,
        preparation="letterbox",
        mean=list(backbone.mean),
        std=list(backbone.std),
    )
    return backbone.name, needs, backbone.key


def detector_network(version: Version, needs: ModelInput, backbones: Path, model_fn: str) -> DetectorNetwork:
    """The network of a saved detector. Checks the contents of its files first. Raises RefusedVersion."""
    said = version.description
    try:
        own = own_network(model_fn) if model_fn and said.architecture == model_fn else None
        backbone = thaw(backbones, said.embeddings or "", model_fn=own)
    except ModelFileError as error:
        raise RefusedVersion(f"Version {version.name!r} cannot be used: the backbone {error}.") from None
    misfit = RefusedVersion(f"Version {version.name!r} does not fit its backbone.")
    if not isinstance(backbone, Normalised) or needs.size % STRIDES[-1]:
        raise misfit
    try:
        channels = stages_of(backbone.network)[1]
    except ValueError:
        raise misfit from None
    count = len(said.classes)
    expected: dict[str, tuple[int | None, ...]] = {"classes": (count,), "threshold": (1,)}
    expected.update({f"head.{name}": shape for name, shape in head.shapes(channels, count).items()})
    for part, shapes in regions.all_shapes(channels, count).items():
        if any(name.startswith(f"{part}.") for name in version.tensors()):
            expected.update({f"{part}.{name}": shape for name, shape in shapes.items()})
    tensors = version.tensors(expected)
    if tensors["classes"].tolist() != [each.id for each in said.classes]:
        raise version.refused("has other classes than its description")
    if not all(np.isfinite(each).all() for each in tensors.values()):
        raise version.refused("contains numbers that are not finite")
    detector = Detector.of_tensors(tensors, channels=channels, size=needs.size, pyramid=said.embeddings or "")
    return DetectorNetwork(backbone, detector)


@dataclass(frozen=True)
class SavedDetector:
    """A version that finds boxes in image files. `classes` of the detections are positions in the version's classes."""

    network: BoxNetwork
    needs: ModelInput
    device: torch.device

    @property
    def threshold(self) -> float:
        """The worth from which boxes are suggested."""
        return float(self.network.threshold)

    def detect(self, data: bytes, limits: ImageLimits) -> Detections:
        """The objects in the content of an image file, in pixels of the upright original. Raises ImageProblem."""
        size = self.needs.size
        with opened(data, limits, size) as (image, width, height):
            placement = Placement.letterbox(width, height, size)
            canvas = np.asarray(placement.paint(image, background_of(self.needs.mean))).transpose(2, 0, 1)
        with torch.inference_mode():
            values = torch.from_numpy(np.ascontiguousarray(canvas[None])).to(self.device)
            scores, corners = self.network(values)
        positions = np.arange(scores.shape[-1], dtype=np.int64)
        return pick(scores[0].cpu(), corners[0].cpu(), positions, placement)


def in_todays_boxes(
    version: str,
    classes: Sequence[ModelClass],
    found: Sequence[Detections],
    threshold: float,
    fold: Fold | None,
) -> Predictions:
    """The boxes that are worth at least `threshold`, under today's class names, without those of deleted classes.

    If `fold` is None, there is no project, and the names are those of the version. Raises ValueError if none of its
    classes exists any more.
    """
    if fold is None:
        names: list[str | None] = [each.name for each in classes]
    else:
        ids = [fold.resolve(each.id) for each in classes]
        names = [None if each is None else fold.classes[each].name for each in ids]
    known = list(dict.fromkeys(name for name in names if name is not None))
    if not known:
        raise ValueError("None of its classes exists any more.")
    return Predictions(model_version=version, predictions=[as_boxes(each, names, threshold, known) for each in found])


def as_boxes(
    found: Detections, names: Sequence[str | None], threshold: float, known: Sequence[str] | None = None
) -> Prediction:
    """The detections in one image as the boxes that the page Label would suggest, because the figures of a version are
    about these. `names` are those of the class positions; None: the class was deleted.
    """
    highest = dict.fromkeys(known if known is not None else [each for each in names if each is not None], 0.0)
    numbers = {name: number for number, name in enumerate(highest)}
    positions = np.array([-1 if name is None else numbers[name] for name in names], np.int64)
    there = replace(found, classes=positions[found.classes])
    there = there.only(there.classes >= 0)
    called = [*highest]
    for number, score in zip(there.classes.tolist(), there.scores.tolist(), strict=True):
        highest[called[number]] = max(highest[called[number]], min(max(score, 0.0), 1.0))
    shown = there.suggested(threshold)
    boxes = []
    ends = np.concatenate([shown.boxes[:, :2], shown.boxes[:, :2] + shown.boxes[:, 2:]], axis=1)
    for (x, y, right, bottom), number, score in zip(
        ends.astype(np.float64).round(2).tolist(), shown.classes.tolist(), shown.scores, strict=True
    ):
        sides = {"w": round(right - x, 2), "h": round(bottom - y, 2)}  # not beyond the image when all are rounded
        confidence = float(np.clip(score, 0, 1))
        boxes.append(PredictedBox(label=called[number], confidence=confidence, x=x, y=y, **sides))
    labels = [name for name in highest if any(box.label == name for box in boxes)]
    return Prediction(
        label=cell_of(labels),
        confidence=min((box.confidence for box in boxes), default=1 - max(highest.values(), default=0.0)),
        probabilities=highest,
        labels=labels,
        boxes=boxes,
    )
