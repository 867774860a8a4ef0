"""A fitted detector (`trainer.detection.learning` fits it). Knows no services.

    pyramid = installed_pyramid(folder)                                  # the frozen network
    maps = FeatureMaps(folder, pyramid, limits, fetch)                   # fetch: content hash → bytes of the image
    examples = [Example(sha256, boxes, labels), …]                       # boxes (n, 4) x, y, w, h; labels (n,) ids
    detector = fit(examples, maps, previous=None, steps=140, seed=0, should_stop=lambda: False)
    detector = fit(examples, maps, previous=detector, steps=140, …)      # continues to learn
    found = detector.detect(maps.plain(sha256))                          # Detections in pixels of the upright original
    shown = found.suggested(detector.threshold)

An `Example` without boxes says that the image contains no object. A `Detector` is immutable, so other threads can
detect with it while the next one is fitted. It includes the state of its optimiser, because training never restarts:
`fit` with `previous` continues from there, even with other examples and other classes. A version stores what
`to_tensors` returns; `of_tensors` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.detection.detections import Detections, pick
from trainer.detection.feature_maps import View
from trainer.detection.head import BoxHead, shapes
from trainer.detection.placement import Boxes
from trainer.detection.regions import (
    LEAST_OBJECT,
    MOST_MOVED,
    RegionClasses,
    RegionEdges,
    RegionFineEdges,
    RegionTightness,
    all_shapes,
    read,
    refined,
)

CLASSIFIED = 600
"""Number of points whose boxes are read (`regions`): those that most likely see an object. Others hardly see any."""
REGIONS = ("regions", "edges", "tightness", "fine_edges")
"""Names of the linear functions of the features of boxes (`regions`), as fields and in files. A detector may lack each.
"""
FIRST_THRESHOLD = 0.5
"""Default threshold for the worth of a suggestion, used until enough answers suggest a better one."""


@dataclass(frozen=True)
class Example:
    """A labeled image: its content hash, and all objects in it.

    `boxes` (n, 4) are x, y, width, height in pixels of the upright original, `labels` (n,) class ids.
    """

    sha256: str
    boxes: Boxes
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Training:
    """The state from which training continues: the weights themselves (the detector uses their running average), the
    optimiser's moments, and the number of steps so far.
    """

    weights: Mapping[str, torch.Tensor]
    first: Mapping[str, torch.Tensor]
    second: Mapping[str, torch.Tensor]
    steps: int


@dataclass(frozen=True)
class Detector:
    """A fitted detector.

    `classes` (K,) are ascending class ids, and `threshold` is the minimum worth of a suggested box. `weights` are the
    head's tensors on the CPU, and `regions` those of the classifier of objects, which is missing while there is only
    one class. `edges` are those of the regression that moves boxes to the edges of objects, and `tightness` those of
    the one that predicts how well a box fits. `fine_edges` are those of the regression that moves likely boxes once
    more. A detector that was saved by an older release may lack all three. `channels` and `size` describe the frozen
    network, which `pyramid` identifies.
    """

    classes: NDArray[np.int64]
    weights: Mapping[str, torch.Tensor]
    channels: tuple[int, ...]
    size: int
    pyramid: str
    threshold: float = FIRST_THRESHOLD
    training: Training | None = field(default=None, repr=False, compare=False)
    regions: Mapping[str, torch.Tensor] | None = field(default=None, repr=False)
    edges: Mapping[str, torch.Tensor] | None = field(default=None, repr=False)
    tightness: Mapping[str, torch.Tensor] | None = field(default=None, repr=False)
    fine_edges: Mapping[str, torch.Tensor] | None = field(default=None, repr=False)

    @property
    def steps(self) -> int:
        """Steps learned so far."""
        return self.training.steps if self.training is not None else 0

    @cached_property
    def head(self) -> BoxHead:
        """The network, ready to detect on the CPU."""
        head = BoxHead(self.channels, self.size, len(self.classes))
        head.load_state_dict(dict(self.weights))
        return head.eval().requires_grad_(False)

    @cached_property
    def region_classes(self) -> RegionClasses | None:
        """The classifier of objects, ready to detect on the CPU."""
        return None if self.regions is None else RegionClasses(self.regions, self.channels).eval()

    @cached_property
    def region_edges(self) -> RegionEdges | None:
        """The regression that moves boxes, ready to detect on the CPU."""
        return None if self.edges is None else RegionEdges(self.edges, self.channels).eval()

    @cached_property
    def region_tightness(self) -> RegionTightness | None:
        """The regression that tells how well boxes fit, ready to detect on the CPU."""
        return None if self.tightness is None else RegionTightness(self.tightness, self.channels).eval()

    @cached_property
    def region_fine_edges(self) -> RegionFineEdges | None:
        """The regression that moves likely boxes once more, ready to detect on the CPU."""
        return None if self.fine_edges is None else RegionFineEdges(self.fine_edges, self.channels).eval()

    def detect(self, view: View) -> Detections:
        """Detect the objects in one view, usually the plain one."""
        return self.detect_all([view])[0]

    def detect_all(self, views: Sequence[View]) -> list[Detections]:
        """Detect the objects in several views in one pass."""
        if not views:
            return []
        with torch.inference_mode():
            levels = [torch.stack([view.maps[i] for view in views]).float() for i in range(3)]
            logits, corners = self.head(*levels)
            readers = self.region_classes, self.region_edges, self.region_tightness
            if any(each is not None for each in readers):
                best = logits.amax(dim=2).topk(min(CLASSIFIED, logits.shape[1]), dim=1).indices[..., None]
                logits = logits.gather(1, best.expand(-1, -1, logits.shape[2]))
                corners = corners.gather(1, best.expand(-1, -1, 4))
            scores, corners = read(levels, logits, corners, self.size, *readers)
            fine = self.region_fine_edges
            most = min(int((scores.sum(dim=2) >= LEAST_OBJECT).sum(dim=1).max()), MOST_MOVED)
            if fine is not None and most:
                corners = refined(levels, scores, corners, self.size, fine, most)
        return [pick(scores[i], corners[i], self.classes, view.placement) for i, view in enumerate(views)]

    def with_threshold(self, threshold: float) -> Detector:
        """The same detector with another suggestion threshold."""
        return replace(self, threshold=threshold)

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """The arrays that are needed to detect, by name."""
        arrays: dict[str, NDArray[np.generic]] = {
            "classes": self.classes,
            "threshold": np.array([self.threshold], np.float32),
        }
        arrays.update({f"head.{name}": tensor.numpy() for name, tensor in self.weights.items()})
        for part in REGIONS:
            tensors = getattr(self, part) or {}
            arrays.update({f"{part}.{name}": tensor.numpy() for name, tensor in tensors.items()})
        return arrays

    @classmethod
    def of_tensors(
        cls, tensors: Mapping[str, NDArray[np.generic]], *, channels: Sequence[int], size: int, pyramid: str
    ) -> Detector:
        """Rebuild a detector from the arrays of `to_tensors`. `pyramid` is the key of its frozen network.

        Raises KeyError or ValueError for other arrays.
        """
        weights = _below("head.", tensors)
        parts = {part: _below(f"{part}.", tensors) or None for part in REGIONS}
        classes = np.asarray(tensors["classes"], dtype=np.int64)
        expected = all_shapes(channels, len(classes))
        misfits = [part for part, found in parts.items() if found and _shapes(found) != expected[part]]
        if misfits or _shapes(weights) != shapes(channels, len(classes)):
            raise ValueError("its head has another structure")
        return cls(
            classes,
            weights,
            tuple(channels),
            size,
            pyramid,
            float(np.asarray(tensors["threshold"], dtype=np.float32)[0]),
            regions=parts["regions"],
            edges=parts["edges"],
            tightness=parts["tightness"],
            fine_edges=parts["fine_edges"],
        )


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(each.shape) for name, each in tensors.items()}


def _below(prefix: str, tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): torch.from_numpy(np.array(array, dtype=np.float32))
        for name, array in tensors.items()
        if name.startswith(prefix)
    }
