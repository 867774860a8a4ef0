"""The learners of saved versions: their names, and how to build a network from a version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shared.wire.models import Description, ModelInput
from trainer.versions.registry import RefusedVersion, Version

if TYPE_CHECKING:  # torch takes seconds to import
    from trainer.embeddings.backbones.torch_networks import Module


Load = Callable[[Version, ModelInput, Path, str], "Module"]
"""Builds a version's module: values from 0 to 255 (B, 3, S, S) → probabilities (B, K), or for a detector scores
(B, P, K) and corners (B, P, 4). Raises RefusedVersion.

The path is the folder of frozen backbones. The string is the setting `model_fn`: a file never decides which code runs.
"""


@dataclass(frozen=True)
class SavedLearner:
    """How the versions of one learner are described and loaded."""

    in_words: str
    load: Load
    whole_network: bool = False  # whether a version holds a network that can be trained further and exported as one
    several: bool = False  # whether each class has a probability of its own, because an image can have several
    boxes: bool = False  # whether it finds boxes


def _head(version: Version, needs: ModelInput, backbones: Path, model_fn: str) -> Module:
    from trainer.versions.networks import head_network

    return head_network(version, needs, backbones, model_fn)


def _sigmoid_head(version: Version, needs: ModelInput, backbones: Path, model_fn: str) -> Module:
    from trainer.versions.networks import sigmoid_head_network

    return sigmoid_head_network(version, needs, backbones, model_fn)


def _fine_tuner(version: Version, needs: ModelInput, backbones: Path, model_fn: str) -> Module:
    from trainer.versions.networks import fine_tuned_network

    return fine_tuned_network(version, needs, model_fn)


def _sigmoid_fine_tuner(version: Version, needs: ModelInput, backbones: Path, model_fn: str) -> Module:
    from trainer.versions.networks import fine_tuned_sigmoids

    return fine_tuned_sigmoids(version, needs, model_fn)


def _detector(version: Version, needs: ModelInput, backbones: Path, model_fn: str) -> Module:
    from trainer.versions.detectors import detector_network

    return detector_network(version, needs, backbones, model_fn)


def _whole_detector(version: Version, needs: ModelInput, backbones: Path, model_fn: str) -> Module:
    from trainer.versions.whole_detectors import whole_detector_network

    return whole_detector_network(version, needs)


FINE_TUNER = "fine_tuner"
SIGMOID_FINE_TUNER = "sigmoid_fine_tuner"
DETECTOR = "detector"
WHOLE_DETECTOR = "whole_detector"
LEARNERS: dict[str, SavedLearner] = {
    "head": SavedLearner("A head on a frozen network", _head),
    "sigmoid_head": SavedLearner(
        "A head with one sigmoid for each class on a frozen network", _sigmoid_head, several=True
    ),
    FINE_TUNER: SavedLearner("A fine-tuned network", _fine_tuner, whole_network=True),
    SIGMOID_FINE_TUNER: SavedLearner(
        "A fine-tuned network with one sigmoid for each class", _sigmoid_fine_tuner, whole_network=True, several=True
    ),
    DETECTOR: SavedLearner("A head that finds boxes on a frozen network", _detector, boxes=True),
    WHOLE_DETECTOR: SavedLearner("A detector that was trained as a whole", _whole_detector, boxes=True),
}
"""By the name in `model.json`."""


def learner_of(version: Version) -> SavedLearner:
    """The learner of a version. Raises RefusedVersion if it is unknown."""
    name = version.description.learner
    if name not in LEARNERS:
        raise RefusedVersion(
            f"Version {version.name!r} was made by the learner {name!r}, which this Flywheel does not have. "
            f"It has: {', '.join(LEARNERS)}."
        )
    return LEARNERS[name]


def has_several(said: Description) -> bool:
    """Whether the version with this description predicts several classes per image."""
    learner = LEARNERS.get(said.learner)
    return learner is not None and learner.several


def finds_boxes(said: Description) -> bool:
    """Whether the version with this description finds boxes."""
    learner = LEARNERS.get(said.learner)
    return learner is not None and learner.boxes


def holds_whole_network(said: Description) -> bool:
    """Whether the version with this description is one network with its own classifier."""
    learner = LEARNERS.get(said.learner)
    return learner is not None and learner.whole_network
