"""Torch networks as backbones: from timm with published weights or a file, or a module of one's own.

Apart from `backbones`, because importing torch and timm takes seconds and hundreds of megabytes, which somebody whose
images are compared by their pixels need not pay.

An image is scaled until its short side fits and cropped in the middle. On 3,781 clothing photos (mobilenetv2_100 at
160 px, 100 / 400 random labels; `python -m benchmarks.preprocessing`) the crop gave 64.6 / 77.5 % right, the whole
image squeezed to a square 60.4 / 74.7, padded to a square 60.8 / 74.5. Averaging with the mirror image gave 65.8 / 78.4
at twice the cost, and is left out.
"""

from __future__ import annotations

import hashlib
import logging
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import numpy.typing as npt
import timm
import torch
from PIL import Image, ImageOps
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import clean_state_dict

from shared.settings import SettingsError, TrainerSettings
from trainer.embeddings.hub import UnreachableError, cached_weights, hub_answers
from trainer.embeddings.layout import with_layout

log = logging.getLogger(__name__)

LARGEST_DEFAULT = 224
"""Pixels a side that an input size of 0 means at most: larger inputs cost their square and seldom pay here."""
Module = torch.nn.Module


class TorchBackbone:
    """A torch network (B, 3, S, S) → (B, dim) with the input size and normalisation that its weights want."""

    banner: str | None = None

    def __init__(
        self,
        name: str,
        network: Module,
        *,
        input_size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: torch.device,
        published: bool = True,
    ) -> None:
        """`published`: timm makes a network of this `name`; otherwise it is a function of one's own."""
        self.name = name
        self.published = published
        self.mean, self.std = list(mean), list(std)
        self.input_size = input_size
        self.device = device
        self._network = network.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
        # (3, 1, 1), in the units of a uint8 image
        self._mean = torch.tensor(mean, device=device).view(3, 1, 1) * 255
        self._scale = 1 / (torch.tensor(std, device=device).view(3, 1, 1) * 255)
        self.dim = self.embed(np.zeros((1, 3, input_size, input_size), dtype=np.uint8)).shape[1]
        content = content_of(network, mean, std)
        self.key = f"{_folder_name(name)}-{input_size}px-{self.dim}d-{content[:12]}"

    @property
    def network(self) -> Module:
        """Normalised inputs (B, 3, S, S) → (B, dim)."""
        return self._network

    def prepare(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """One RGB image as (3, S, S) uint8."""
        return middle_square(image, self.input_size)

    def embed(self, batch: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Inputs (B, 3, S, S) uint8 to vectors (B, dim). Raises ValueError if the network returns another shape."""
        with torch.inference_mode(), torch.autocast("cuda", dtype=_half(self.device), enabled=_is_cuda(self.device)):
            pixels = torch.from_numpy(batch).to(self.device).to(torch.float32)
            pixels = pixels.sub_(self._mean).mul_(self._scale).contiguous(memory_format=torch.channels_last)
            vectors = self._network(pixels)
            if not isinstance(vectors, torch.Tensor) or vectors.ndim != 2 or len(vectors) != len(batch):
                raise ValueError(f"returns {_shape(vectors)} for {len(batch)} images and must return (B, D)")
            result: npt.NDArray[np.float32] = vectors.float().cpu().numpy()
            return result


def pretrained(settings: TrainerSettings, setting: str, name: str) -> TorchBackbone:
    """The timm network `name` with its published weights, from the hub's cache or the hub."""
    config = config_of(setting, name)
    if not config.has_weights:
        raise UnreachableError(f"There are no published weights of {name!r} (setting {setting!r}).")
    cached = cached_weights(config.hf_hub_id)
    if cached is None and not hub_answers():
        raise UnreachableError(
            f"The weights of {name!r} (setting {setting!r}) are not on this machine and the hub is out of reach."
        )
    overlay = {"file": cached} if cached else None
    size = settings.input_size or _usual_size(config)
    try:
        network = create(name, config, size, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception as error:  # the network, the disk, a half-written cache: of many kinds, none of them ours
        log.debug("timm could not load %s", name, exc_info=True)
        raise UnreachableError(
            f"The weights of {name!r} (setting {setting!r}) cannot be loaded ({_first_line(error)})."
        ) from None
    return _fitted(settings, name, with_layout(network), size, setting="input_size")


def from_file(settings: TrainerSettings) -> TorchBackbone:
    """The timm network settings.backbone with weights from settings.backbone_weights."""
    name = settings.backbone
    config = config_of("backbone", name)
    size = settings.input_size or _usual_size(config)
    try:
        network = create(name, config, size)
    except Exception as error:
        raise SettingsError(
            f"The trainer setting 'input_size' cannot be {size} for {name!r}: {_first_line(error)}."
        ) from None
    load_weights(network, Path(settings.backbone_weights).expanduser(), f"{name!r} at {size} pixels a side")
    return _fitted(settings, name, with_layout(network), size, setting="input_size")


def load_weights(network: Module, path: Path, named: str, *, without: str = "") -> None:
    """Load the settings' file of weights into `network`, but for the tensors that begin with `without`.

    Raises SettingsError, which calls the network as it is `named`, when the file cannot be read or does not fit.
    """
    tensors = _read_weights(path)
    adapt = getattr(import_module(type(network).__module__), "checkpoint_filter_fn", None)
    misfit = f"The trainer setting 'backbone_weights' names {path}, which does not fit {named}"
    try:
        if adapt is not None:  # timm's own: other names of older checkpoints, position embeddings of another size
            tensors = adapt(tensors, network)
        if without:
            tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(without)}
        result = network.load_state_dict(tensors, strict=False)  # the file may hold a classifier that is not wanted
    except Exception as error:
        raise SettingsError(f"{misfit}: {_first_line(error)}.") from None
    missing = [name for name in result.missing_keys if not without or not name.startswith(without)]
    if missing:
        raise SettingsError(f"{misfit}: {len(missing)} tensors are missing, {missing[0]} first.")


def own(settings: TrainerSettings) -> TorchBackbone:
    """The network that the function at settings.model_fn returns."""
    path = settings.model_fn
    try:
        network = resolve_name(path)()
    except Exception as error:  # it is the user's code
        raise SettingsError(
            f"The trainer setting 'model_fn' is {path!r}, which fails: {_first_line(error)}."
        ) from error
    if not isinstance(network, Module):
        raise SettingsError(
            f"The trainer setting 'model_fn' is {path!r}, which returns {type(network).__name__} and no torch module."
        )
    return _fitted(settings, path, network, settings.input_size or LARGEST_DEFAULT, setting="model_fn")


def middle_square(image: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    """One RGB image as (3, size, size) uint8: the middle square, scaled."""
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def _usual_size(config: Any) -> int:
    """Pixels a side that an input size of 0 stands for."""
    return min(int(config.input_size[-1]), LARGEST_DEFAULT)


def create(name: str, config: Any, size: int, **kwargs: Any) -> Module:
    """The timm network `name` without a classifier, for inputs of `size` pixels; random weights by default."""
    if config.fixed_input_size:  # transformers are built for one size; their position embeddings are resampled to it
        kwargs["img_size"] = size
    network: Module = timm.create_model(name, **{"num_classes": 0, **kwargs})
    return network


def config_of(setting: str, name: str) -> Any:
    """timm's pretrained configuration of `name`, which may carry a tag: `resnet50.a1_in1k`. Raises SettingsError."""
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
    """The timm network `name`, as a file names it, with random weights; nothing is fetched. Raises ValueError."""
    if not timm.is_model(name.partition(".")[0]):  # such as hf-hub:… or local-dir:…, which would be fetched or read
        raise ValueError(f"timm has no network {name!r}")
    return create(name, config_of("backbone", name), size, **kwargs)


def device_named(name: str) -> torch.device:
    """The device of the setting 'device'; `auto` takes the fastest there is. Raises SettingsError."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.mps.is_available() else "cpu")
    try:
        torch.zeros(1, device=name)
    except Exception:  # RuntimeError, AssertionError or NotImplementedError, by backend
        raise SettingsError(f"The trainer setting 'device' is {name!r}, which this machine does not have.") from None
    return torch.device(name)


def _fitted(settings: TrainerSettings, name: str, network: Module, size: int, *, setting: str) -> TorchBackbone:
    """The backbone around `network`, which is run once, so that a size it cannot take is found at the start."""
    config: dict[str, Any] = getattr(network, "pretrained_cfg", {})  # what timm knows of these weights
    mean = settings.backbone_mean or config.get("mean", IMAGENET_DEFAULT_MEAN)
    std = settings.backbone_std or config.get("std", IMAGENET_DEFAULT_STD)
    device = device_named(settings.device)
    try:
        return TorchBackbone(
            name,
            network,
            input_size=size,
            mean=tuple(mean),
            std=tuple(std),
            device=device,
            published=setting != "model_fn",
        )
    except Exception as error:
        raise SettingsError(
            f"The trainer setting {setting!r}: {name!r} cannot take {size} × {size} pixels: {_first_line(error)}."
        ) from None


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    named = f"The trainer setting 'backbone_weights' names {path}, which"
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise SettingsError(f"{named} is not there.") from None
    except (SafetensorError, Exception) as error:
        log.debug("weights", exc_info=error)
        raise SettingsError(
            f"{named} cannot be read as .safetensors, or as .pth that holds tensors and no pickled code."
        ) from None
    for inside in ("state_dict_ema", "state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(inside), dict):
            loaded = loaded[inside]
    if not isinstance(loaded, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in loaded.values()):
        raise SettingsError(f"{named} holds no tensors by name.")
    return dict(clean_state_dict(loaded))


# ---------------------------------------------------------------- details


def _is_cuda(device: torch.device) -> bool:
    return device.type == "cuda"


def _half(device: torch.device) -> torch.dtype:
    """bfloat16 where the GPU has it: some backbones exceed float16's range."""
    return torch.bfloat16 if _is_cuda(device) and torch.cuda.is_bf16_supported() else torch.float16


def content_of(network: Module, *numbers: tuple[float, ...]) -> str:
    """Hash of weights, normalisation and preprocessing: a file replaced under its old name gives another key."""
    digest = hashlib.sha256(repr(("centre crop", numbers)).encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _folder_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)[:80]


def _shape(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:") if lines else type(error).__name__
