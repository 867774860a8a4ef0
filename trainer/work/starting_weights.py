"""Chooses the network and the initial weights of a training.

The weights `auto` are your own file for the network, else published ones that are available. If no network is named, it
is the one that `auto` chose for the embeddings, else the setting `auto_backbone`. If no weights are available for it, a
small network is trained from scratch. This module knows neither images nor labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from shared.backbone import ResolvedBackbone
from shared.settings.services import SettingsError, TrainerSettings
from shared.wire.models import ModelInput, TrainRequest
from trainer.embeddings.auto_choice import recall
from trainer.embeddings.backbones import installed
from trainer.embeddings.backbones.backbone import is_auto
from trainer.embeddings.backbones.hub import cached_weights, fetch_weights, hub_answers
from trainer.embeddings.backbones.preparation import Preprocessing, model_input
from trainer.embeddings.backbones.timm_networks import config_of, create_known, load_weights
from trainer.embeddings.backbones.torch_networks import IMAGENET_MEAN, IMAGENET_STD, LARGEST_DEFAULT, Module
from trainer.learners.custom_network import own_classifier
from trainer.versions.active_backbone import EMBEDDINGS
from trainer.versions.networks import FineTunedNetwork
from trainer.versions.predictor import load_classifier
from trainer.versions.registry import RefusedVersion, Version
from trainer.versions.saved_learners import holds_whole_network
from trainer.work.job_context import Work

SHRINK, PERTURB = 0.6, 0.1
"""Factors of the old and of the fresh random weights in their sum (Ash & Adams 2020, "On Warm-Starting Neural Network
Training")."""
SCRATCH = "resnet10t"
"""The network that is trained from scratch: small enough for a laptop and for few images."""
SCRATCH_SIZE = 64


def begin(work: Work, request: TrainRequest, classes: int) -> tuple[Module, str, ModelInput, str]:
    """The initial network, the source of its weights, its input, and its name. Raises SettingsError."""
    name, weights = request.architecture, request.weights
    settings = work.settings
    if name is not None and ":" in name:
        return _own_network(work, request, classes)
    embeddings = work.folder.parent.parent / EMBEDDINGS
    used = _used_by_auto(settings, embeddings)
    if weights == "auto":
        named = name or (used.name if used is not None else settings.auto_backbone)
        weights = "file" if _file_of(settings, named) else "pretrained" if _can_be_had(settings, named) else "none"
        name = name or (named if weights != "none" else None)
    name = name or SCRATCH
    config = config_of("architecture", name)
    usual = min(int(config.input_size[-1]), LARGEST_DEFAULT) if weights != "none" else SCRATCH_SIZE
    if used is not None and name == used.name and weights != "none":
        usual = used.input_size
    own_size = settings.input_size if name == settings.backbone else 0
    size = request.input_size or own_size or usual
    mean, std = list(config.mean), list(config.std)
    if name == settings.backbone:
        mean, std = settings.backbone_mean or mean, settings.backbone_std or std
    torch.manual_seed(request.seed or 0)
    try:
        if weights == "pretrained" and installed.is_installed(name):
            network = create_known(name, size, num_classes=classes)
        elif weights == "pretrained":
            cached = cached_weights(config.hf_hub_id)
            if cached is None and config.hf_hub_id and config.has_weights:
                cached = fetch_weights(name, config.hf_hub_id)  # with the limits of our own download
            overlay = {"file": cached} if cached else None
            network = create_known(name, size, num_classes=classes, pretrained=True, pretrained_cfg_overlay=overlay)
        else:
            network = create_known(name, size, num_classes=classes)
        classifier = classifier_of(network)
        network.eval()(torch.zeros(1, 3, size, size))
    except Exception as error:
        why = str(error).rstrip(".")
        raise SettingsError(f"The network {name!r} is not available at {size} pixels per side: {why}.") from None
    if weights == "file":
        found = _file_of(settings, name)
        if found is None:
            raise SettingsError(f"Neither 'backbone_weights' nor 'weights_folder' has a file for {name!r}.")
        setting, file = found
        load_weights(network, file, repr(name), setting=setting, without=classifier)
    if weights == "pretrained" and installed.is_installed(name):
        load_weights(network, installed.weights(embeddings), repr(name), without=classifier)
    if weights == "base":
        _warm_start(work, request, network)
    return network, weights, model_input(Preprocessing(size), mean, std), name


def _used_by_auto(settings: TrainerSettings, embeddings: Path) -> ResolvedBackbone | None:
    """The network that embeds the images, if `auto` chose it."""
    known = recall(embeddings) if is_auto(settings) else None
    return known[0] if known is not None and known[0].weights != "none" else None


def _can_be_had(settings: TrainerSettings, name: str) -> bool:
    """Whether pretrained weights are installed, in the hub's cache, or on a hub that answers."""
    published = config_of("architecture", name)
    if installed.is_installed(name) or cached_weights(published.hf_hub_id):
        return True
    return settings.auto_download and published.has_weights and hub_answers()


def _file_of(settings: TrainerSettings, name: str) -> tuple[str, Path] | None:
    """Your own weights for the network, and the setting that names them."""
    if settings.backbone_weights and name == settings.backbone:
        return "backbone_weights", Path(settings.backbone_weights).expanduser()
    file = Path(settings.weights_folder).expanduser() / f"{name}.safetensors"
    return ("weights_folder", file) if settings.weights_folder and file.is_file() else None


def _own_network(work: Work, request: TrainRequest, classes: int) -> tuple[Module, str, ModelInput, str]:
    """The network of the setting `model_fn`, with its own weights; the name in the request is ignored."""
    settings, weights = work.settings, request.weights
    name = settings.model_fn
    size = request.input_size or settings.input_size or LARGEST_DEFAULT
    torch.manual_seed(request.seed or 0)
    network = own_classifier(name, size, classes)
    if weights == "base":
        _warm_start(work, request, network)
    mean = settings.backbone_mean or list(IMAGENET_MEAN)
    std = settings.backbone_std or list(IMAGENET_STD)
    needs = model_input(Preprocessing(size), mean, std)
    return network, "model_fn" if weights == "auto" else weights, needs, name


def classifier_of(network: Module) -> str:
    """Prefix of the names of the classifier's tensors, as timm reports it."""
    config: Any = network.pretrained_cfg
    return str(config["classifier"])


def _warm_start(work: Work, request: TrainRequest, network: Module) -> None:
    """Shrink and perturb: mix the base's weights, except its classifier, with the fresh ones."""
    if request.base is None:
        raise SettingsError("'weights' can only be 'base' if a base is named.")
    version: Version = work.registry.get(request.base)
    if not holds_whole_network(version.description) or version.description.architecture != request.architecture:
        raise RefusedVersion(
            f"Version {request.base!r} is not a fine-tuned {request.architecture!r}, so training cannot start from it."
        )
    old = load_classifier(version, work.backbones, model_fn=work.settings.model_fn).network
    assert isinstance(old, FineTunedNetwork)  # noqa: S101 - that is what its learner creates
    earlier = old.network.network.state_dict()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if earlier[name].shape != tensor.shape:  # the classifier, which has other classes
                continue
            trained = name in dict(network.named_parameters())
            tensor.copy_(SHRINK * earlier[name] + PERTURB * tensor if trained else earlier[name])
