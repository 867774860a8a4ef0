"""Networks of timm, with published weights, weights from a file, or random weights.

Separate from `torch_networks`, because importing timm takes seconds that users of other networks need not wait.
"""

from __future__ import annotations

import logging
import zipfile
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import clean_state_dict

from shared.backbone import ResolvedBackbone, Weights
from shared.settings.services import SettingsError, TrainerSettings
from trainer.embeddings.backbones import installed
from trainer.embeddings.backbones.hub import OnDownload, UnreachableError, cached_weights, fetch_weights, hub_answers
from trainer.embeddings.backbones.torch_networks import (
    LARGEST_DEFAULT,
    Module,
    TorchBackbone,
    as_kept,
    first_line,
    fitted,
)
from trainer.embeddings.backbones.vector_file import unpacked_bytes

log = logging.getLogger(__name__)


def pretrained(settings: TrainerSettings, setting: str, name: str, folder: Path) -> TorchBackbone:
    """The timm network `name` with its published weights, from the hub's cache or the hub.

    `folder` may have embeddings, whose version of the features is kept.
    """
    return from_hub(settings, fetched(settings, setting, name), folder, setting=setting)


def fetched(
    settings: TrainerSettings, setting: str, name: str, on_download: OnDownload | None = None
) -> ResolvedBackbone:
    """Size and normalisation for the published weights of `name`, which are in the cache on return. Raises
    UnreachableError.
    """
    config = config_of(setting, name)
    if not config.has_weights:
        raise UnreachableError(f"timm has no published weights for {name!r} (setting {setting!r}).")
    if cached_weights(config.hf_hub_id) is None:
        if not hub_answers():
            raise UnreachableError(
                f"The weights of {name!r} (setting {setting!r}) are not on this machine, and the hub cannot be reached."
            )
        fetch_weights(name, config.hf_hub_id, on_download)
    mean, std = tuple(config.mean), tuple(config.std)
    return ResolvedBackbone(name, "hub", settings.input_size or _usual_size(config), mean, std)


def from_hub(
    settings: TrainerSettings, resolved: ResolvedBackbone, folder: Path, *, setting: str = "auto_backbone"
) -> TorchBackbone:
    """The network described by `fetched`, from the hub's cache. Raises UnreachableError for damaged weights."""
    name = resolved.name
    config = config_of(setting, name)
    try:
        overlay = {"file": cached_weights(config.hf_hub_id)}
        network = create(name, config, resolved.input_size, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception as error:  # disk error or half-written cache: many kinds of error, none of them ours
        log.debug("timm could not load %s", name, exc_info=True)
        raise UnreachableError(
            f"The weights of {name!r} (setting {setting!r}) cannot be loaded ({first_line(error)})."
        ) from None
    return _with_layout(_as_resolved(settings, resolved), name, network, resolved.input_size, resolved.weights, folder)


def from_installed(settings: TrainerSettings, resolved: ResolvedBackbone, folder: Path) -> TorchBackbone:
    """The network that comes with the installation, its weights converted in `folder`. Raises NotInstalledError."""
    file = installed.weights(folder)
    network = create(resolved.name, config_of("backbone", resolved.name), resolved.input_size)
    load_weights(network, file, repr(resolved.name))
    settings, size = _as_resolved(settings, resolved), resolved.input_size
    return _with_layout(settings, resolved.name, network, size, "installed", folder)


def _with_layout(
    settings: TrainerSettings, name: str, network: Module, size: int, weights: Weights, folder: Path | None
) -> TorchBackbone:
    return as_kept(
        folder, network, lambda made: fitted(settings, name, made, size, setting="input_size", weights=weights)
    )


def _as_resolved(settings: TrainerSettings, resolved: ResolvedBackbone) -> TrainerSettings:
    normalised = {"backbone_mean": list(resolved.mean), "backbone_std": list(resolved.std)}
    return settings.model_copy(update=normalised)


def from_file(settings: TrainerSettings, folder: Path | None = None) -> TorchBackbone:
    """The timm network settings.backbone with weights from settings.backbone_weights. `folder` may have embeddings."""
    name = settings.backbone
    config = config_of("backbone", name)
    size = settings.input_size or _usual_size(config)
    try:
        network = create(name, config, size)
    except Exception as error:
        raise SettingsError(
            f"The trainer setting 'input_size' cannot be {size} for {name!r}: {first_line(error)}."
        ) from None
    load_weights(network, Path(settings.backbone_weights).expanduser(), f"{name!r} at {size} pixels a side")
    return _with_layout(settings, name, network, size, "file", folder)


def load_weights(
    network: Module, path: Path, named: str, *, setting: str = "backbone_weights", without: str = ""
) -> None:
    """Load the weights in `path`, which `setting` names, into `network`, except tensors whose names begin with
    `without`.

    Raises SettingsError, in which the network is called `named`, if the file cannot be read or does not fit.
    """
    tensors = _read_weights(path, setting)
    adapt = getattr(import_module(type(network).__module__), "checkpoint_filter_fn", None)
    misfit = f"The trainer setting {setting!r} names {path}, which does not fit {named}"
    try:
        if adapt is not None:  # timm's own: renames tensors of older checkpoints, resizes position embeddings
            tensors = adapt(tensors, network)
        if without:
            tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(without)}
        result = network.load_state_dict(tensors, strict=False)  # ignore a classifier in the file
    except Exception as error:
        raise SettingsError(f"{misfit}: {first_line(error)}.") from None
    missing = [name for name in result.missing_keys if not without or not name.startswith(without)]
    if missing:
        raise SettingsError(f"{misfit}: {len(missing)} tensors are missing, {missing[0]} first.")


def _usual_size(config: Any) -> int:
    """Pixels per side for an input size of 0."""
    return min(int(config.input_size[-1]), LARGEST_DEFAULT)


def create(name: str, config: Any, size: int, **kwargs: Any) -> Module:
    """The timm network `name` without a classifier, for inputs of `size` pixels; random weights by default."""
    if config.fixed_input_size:  # transformers have one size; their position embeddings are resampled
        kwargs["img_size"] = size
    network: Module = timm.create_model(name, **{"num_classes": 0, **kwargs})
    return network


def config_of(setting: str, name: str) -> Any:
    """timm's configuration of `name`, which may carry a tag: `resnet50.a1_in1k`. Raises SettingsError."""
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:  # the tag is unknown
        config = None
    if config is None:
        known = [*timm.list_models(), *timm.list_pretrained(), "auto", "pixels"]
        close = get_close_matches(name, known, n=1)
        nearest = f" Did you mean {close[0]!r}?" if close else ""
        raise SettingsError(f"The trainer setting {setting!r} cannot be {name!r}: timm has no such model.{nearest}")
    return config


def create_known(name: str, size: int, **kwargs: Any) -> Module:
    """The timm network `name`, as a file names it, with random weights; never downloads. Raises ValueError."""
    if not timm.is_model(name.partition(".")[0]):  # such as hf-hub:… or local-dir:…, which timm would download or read
        raise ValueError(f"timm has no network {name!r}")
    return create(name, config_of("backbone", name), size, **kwargs)


def _is_packed(path: Path) -> bool:
    """Whether the file is a compressed zip; torch never compresses."""
    try:
        return unpacked_bytes(path) > 2 * path.stat().st_size
    except (OSError, zipfile.BadZipFile):
        return False  # reading it reports the problem


def _read_weights(path: Path, setting: str) -> dict[str, torch.Tensor]:
    named = f"The trainer setting {setting!r} names {path}, which"
    if _is_packed(path):
        raise SettingsError(f"{named} is compressed and would become many times larger: save it again with torch.save.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise SettingsError(f"{named} does not exist.") from None
    except (SafetensorError, Exception) as error:
        log.debug("weights", exc_info=error)
        raise SettingsError(
            f"{named} cannot be read as .safetensors, or as .pth with tensors and without pickled code."
        ) from None
    for inside in ("state_dict_ema", "state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(inside), dict):
            loaded = loaded[inside]
    if not isinstance(loaded, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in loaded.values()):
        raise SettingsError(f"{named} contains no named tensors.")
    return dict(clean_state_dict(loaded))
