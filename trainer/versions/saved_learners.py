"""The learners that versions are saved by: what they are called, and how one of their versions becomes a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from shared.wire.models import Description, ModelInput
from trainer.versions.registry import RefusedVersion, Version

if TYPE_CHECKING:  # torch takes seconds to import
    from trainer.embeddings.backbones.torch_networks import Module


class SavedLearner(Protocol):
    """How the versions of one learner are described and loaded."""

    in_words: str
    whole_network: bool
    """Whether a version holds a whole network, which can be trained further and exported as one."""
    several: bool
    """Whether each class has a probability of its own, because an image can have several."""
    boxes: bool
    """Whether it finds boxes."""

    def load(self, version: Version, needs: ModelInput, backbones: Path, model_fn: str) -> Module:
        """The version as a module: values from 0 to 255 (B, 3, S, S) → probabilities (B, K); of a learner of boxes,
        scores (B, P, K) and corners (B, P, 4). Raises RefusedVersion.

        `backbones` is the folder of frozen backbones. `model_fn` is the setting of that name: a file never says which
        code runs.
        """
        ...


class SavedHead:
    """A head on a frozen backbone, which is a file of its own."""

    in_words = "A head on a frozen network"
    whole_network = False
    several = False
    boxes = False

    def load(self, version: Version, needs: ModelInput, backbones: Path, model_fn: str) -> Module:
        """See `SavedLearner.load`."""
        from trainer.versions.networks import head_network

        return head_network(version, needs, backbones, model_fn)


class SavedSigmoidHead:
    """A head for several classes per image, on a frozen backbone, which is a file of its own."""

    in_words = "A head with one sigmoid for each class on a frozen network"
    whole_network = False
    several = True
    boxes = False

    def load(self, version: Version, needs: ModelInput, backbones: Path, model_fn: str) -> Module:
        """See `SavedLearner.load`. The probabilities do not sum to 1."""
        from trainer.versions.networks import sigmoid_head_network

        return sigmoid_head_network(version, needs, backbones, model_fn)


class SavedFineTuner:
    """A network that was trained as a whole, with its own classifier."""

    in_words = "A fine-tuned network"
    whole_network = True
    several = False
    boxes = False

    def load(self, version: Version, needs: ModelInput, backbones: Path, model_fn: str) -> Module:
        """See `SavedLearner.load`."""
        from trainer.versions.networks import fine_tuned_network

        return fine_tuned_network(version, needs, model_fn)


class SavedSigmoidFineTuner:
    """A network for several classes per image that was trained as a whole."""

    in_words = "A fine-tuned network with one sigmoid for each class"
    whole_network = True
    several = True
    boxes = False

    def load(self, version: Version, needs: ModelInput, backbones: Path, model_fn: str) -> Module:
        """See `SavedLearner.load`. The probabilities do not sum to 1."""
        from trainer.versions.networks import fine_tuned_sigmoids

        return fine_tuned_sigmoids(version, needs, model_fn)


class SavedBoxes:
    """A detector: a head that finds boxes, on a frozen network, which is a file of its own."""

    in_words = "A head that finds boxes on a frozen network"
    whole_network = False
    several = False
    boxes = True

    def load(self, version: Version, needs: ModelInput, backbones: Path, model_fn: str) -> Module:
        """See `SavedLearner.load`."""
        from trainer.versions.detectors import detector_network

        return detector_network(version, needs, backbones, model_fn)


FINE_TUNER = "fine_tuner"
SIGMOID_FINE_TUNER = "sigmoid_fine_tuner"
DETECTOR = "detector"
LEARNERS: dict[str, SavedLearner] = {
    "head": SavedHead(),
    "sigmoid_head": SavedSigmoidHead(),
    FINE_TUNER: SavedFineTuner(),
    SIGMOID_FINE_TUNER: SavedSigmoidFineTuner(),
    DETECTOR: SavedBoxes(),
}
"""By the name in `model.json`."""


def learner_of(version: Version) -> SavedLearner:
    """Raises RefusedVersion for a learner that is not known here."""
    name = version.description.learner
    if name not in LEARNERS:
        raise RefusedVersion(
            f"Version {version.name!r} was made by the learner {name!r}, which this Flywheel does not have. "
            f"It has: {', '.join(LEARNERS)}."
        )
    return LEARNERS[name]


def has_several(said: Description) -> bool:
    """Whether the version that says this predicts several classes per image."""
    learner = LEARNERS.get(said.learner)
    return learner is not None and learner.several


def finds_boxes(said: Description) -> bool:
    """Whether the version that says this finds boxes."""
    learner = LEARNERS.get(said.learner)
    return learner is not None and learner.boxes


def holds_whole_network(said: Description) -> bool:
    """Whether the version that says this is one network with its own classifier."""
    learner = LEARNERS.get(said.learner)
    return learner is not None and learner.whole_network
