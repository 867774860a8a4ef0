"""A saved version as one torch module: images in, class probabilities out.

Predicting, comparing and exporting all use it. The module takes values from 0 to 255 and does everything else itself,
so an export needs only the code that crops and resizes an image. The contents of a file are checked before anything is
built: network names that timm knows, matching shapes, finite numbers, classes of this project. A version that fails a
check is refused with one sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from shared.log import Fold
from shared.wire.models import ModelClass, ModelInput
from trainer.embeddings.backbones.compiled import Quick
from trainer.embeddings.backbones.feature_blocks import Layout
from trainer.embeddings.backbones.preparation import Preprocessing
from trainer.embeddings.backbones.saved_backbone import Normalised
from trainer.embeddings.backbones.torch_networks import Module, eye_of
from trainer.gpu.half import in_half
from trainer.gpu.runner import Runner
from trainer.threads import leave_a_core
from trainer.versions.model_card import licence_of
from trainer.versions.registry import RefusedVersion, Version
from trainer.versions.saved_learners import learner_of

BATCH = 32
"""Images per forward pass."""


@dataclass(frozen=True)
class Classifier:
    """A version ready to predict. `network` maps values from 0 to 255 (B, 3, S, S) to probabilities (B, K)."""

    version: str
    classes: list[ModelClass]
    needs: ModelInput
    network: Module
    device: torch.device
    licence: str = ""  # licence of the initial weights, if known
    thresholds: NDArray[np.float32] | None = None  # (K,), one for each class; None: one class per image
    runner: Runner | None = None  # on a GPU

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing from image files to inputs."""
        return Preprocessing.of(self.needs)

    def predict_proba(self, inputs: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Prepared images → probabilities (n, K), in the order of `classes`. Rows of one class per image sum to 1."""
        if self.runner is not None and inputs:
            return self.runner.vectors(inputs)
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
    leave_a_core()
    said = version.description
    needs = said.input
    if needs is None:
        raise RefusedVersion(
            f"Version {version.name!r} was fitted on vectors from a file: no network computes them from images."
        )
    network = learner_of(version).load(version, needs, backbones, model_fn).eval().requires_grad_(False)
    device = device or torch.device("cpu")
    thresholds = network.get_buffer("thresholds").numpy() if learner_of(version).several else None
    network, runner = network.to(device), None
    if device.type == "cuda" and not learner_of(version).boxes:
        runner = on_gpu(network, needs.size, device)
    return Classifier(version.name, said.classes, needs, network, device, licence_of(said), thresholds, runner)


def quicken(classifier: Classifier, version: Version, folder: Path) -> None:
    """Let the network under a head be compiled, on a CPU, if it has a layout. `folder` is as for `Compiled`.

    For predictions alone, because a compiled network can be neither exported nor trained.
    """
    said = version.description
    for module in [each for each in classifier.network.modules() if isinstance(each, Normalised)]:
        layout = module.network
        if classifier.device.type == "cpu" and isinstance(layout, Layout):
            module.network = Quick(layout, eye_of(layout, said.architecture, classifier.needs.size, folder))


def on_gpu(network: Module, size: int, device: torch.device) -> Runner:
    """Run `network` on a GPU: its backbone in 16 bits, or all but the softmax if it was trained as a whole."""
    half = deepcopy(network.to(memory_format=torch.channels_last))
    for module in [each for each in half.modules() if isinstance(each, Normalised)]:
        module.network = in_half(module.network, module.mean[0], 1 / module.std[0], size)
    as_it_is = torch.zeros(3, 1, 1, device=device), torch.ones(3, 1, 1, device=device)
    return Runner(half, *as_it_is, size, device, exact=network)


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


def several_in_todays_classes(
    probabilities: NDArray[np.float32], thresholds: NDArray[np.float32], now: Sequence[int | None]
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]:
    """As `in_todays_classes`, for several classes per image: ids (L,), probabilities (n, L), and predictions (n, L).

    An image has a class if it has any of those that were merged into it. Raises ValueError if none is left.
    """
    ids = np.array(sorted({each for each in now if each is not None}), np.int64)
    if len(ids) == 0:
        raise ValueError("None of its classes exists any more.")
    highest = np.zeros((len(probabilities), len(ids)), np.float32)
    chosen = np.zeros(highest.shape, np.bool_)
    for column, each in enumerate(now):
        if each is not None:
            place = int(np.searchsorted(ids, each))
            highest[:, place] = np.maximum(highest[:, place], probabilities[:, column])
            chosen[:, place] |= probabilities[:, column] >= thresholds[column]
    return ids, highest, chosen


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
