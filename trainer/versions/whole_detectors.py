"""Saved whole detectors: one file with the network and its head. The contents of a file are checked before use."""

from __future__ import annotations

import numpy as np

from shared.wire.models import ModelInput
from trainer.embeddings.backbones.safe_weights import ModelFileError
from trainer.embeddings.backbones.saved_backbone import fill
from trainer.versions.registry import RefusedVersion, Version
from trainer.whole_detector.networks import WholeDetector, built

HOW_TO_USE = (
    "`body` is the timm network `architecture`, whose feature maps at strides 8, 16 and 32 are the input of `head` "
    "(trainer/detection/head.py). For a detector of torchvision, `network` is the whole of it. Subtract mean from "
    "values of 0 to 255, and divide by std."
)


def whole_detector_network(version: Version, needs: ModelInput) -> WholeDetector:
    """The network of a saved whole detector. Raises RefusedVersion."""
    said = version.description
    try:
        network = built(said.architecture, needs.size, len(said.classes), needs.mean, needs.std)
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
    return network
