"""Torch networks as backbones: timm networks (created by `timm_networks`) or your own module.

Separate from `backbone`, because importing torch takes seconds and hundreds of megabytes, which comparing images by
their pixels does not need.

The middle square of an image is cropped and resized (`preparation`). On 3,781 clothing photos (mobilenetv2_100 at 160
px, 100 / 400 random labels; `python -m benchmarks.preprocessing`) the crop gave 64.6 / 77.5 % right, the whole image
resized to a square 60.4 / 74.7, padded to a square 60.8 / 74.5.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from shared.backbone import ResolvedBackbone, Weights
from shared.own_code import own_function
from shared.settings.services import SettingsError, TrainerSettings
from trainer.embeddings.backbones.compiled import Compiled, Compute, Part
from trainer.embeddings.backbones.feature_blocks import VERSION, VIEWS, Layout, with_layout
from trainer.embeddings.backbones.preparation import PREPROCESSING, Inputs, Preprocessing
from trainer.gpu.half import in_half
from trainer.gpu.runner import Runner
from trainer.threads import leave_a_core

log = logging.getLogger(__name__)

LARGEST_DEFAULT = 224
"""Largest default input size in pixels per side: the cost grows with its square, and larger inputs seldom pay here."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Default normalisation: mean and standard deviation of each channel over ImageNet."""
IN_USE = "in-use"
"""File in the folder of embeddings of several views, once they have taken the place of the first ones."""
Module = torch.nn.Module


class TorchBackbone:
    """A torch network (B, 3, S, S) → (B, dim) with the input size and normalisation of its weights."""

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
        weights: Weights = "none",
    ) -> None:
        """`published`: timm has a network of this `name`; otherwise it is your own function.

        `weights` is their source.
        """
        leave_a_core()
        self.name = name
        self.weights = weights
        self.published = published
        self.mean, self.std = list(mean), list(std)
        self.input_size = input_size
        self.preprocessing = Preprocessing(input_size)
        self.device = device
        self._network = network.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
        # (3, 1, 1), in the units of a uint8 image
        self._mean = torch.tensor(mean, device=device).view(3, 1, 1) * 255
        self._scale = 1 / (torch.tensor(std, device=device).view(3, 1, 1) * 255)
        self._runner: Runner | None = None
        self.eye: Compiled | None = None  # from `compile_in` on, if the network can be compiled
        self.dim = self.embed(np.zeros((1, 3, input_size, input_size), dtype=np.uint8)).shape[1]
        if device.type == "cuda":
            half = in_half(self._network, self._mean, self._scale, input_size)
            self._runner = Runner(half, self._mean, self._scale, input_size, device, exact=self._network)
        self.blocks: tuple[int, ...] = network.blocks(self.dim) if isinstance(network, Layout) else (self.dim,)
        content = content_of(network, PREPROCESSING, mean, std)
        self.key = f"{_folder_name(name)}-{input_size}px-{self.dim}d-{content[:12]}"

    @property
    def resolved(self) -> ResolvedBackbone:
        """The network and where its weights came from."""
        mean, std = self.mean, self.std
        return ResolvedBackbone(
            self.name, self.weights, self.input_size, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
        )

    @property
    def network(self) -> Module:
        """The network: normalised inputs (B, 3, S, S) → (B, dim)."""
        return self._network

    @property
    def version(self) -> int:
        """Version of its features; 0 for a network's features as they are."""
        return self._network.version if isinstance(self._network, Layout) else 0

    @property
    def looks(self) -> int:
        """How often it sees an image."""
        return 3 if self.version == VIEWS else 1

    def in_version(self, version: int) -> TorchBackbone:
        """The same network with another version of its features; itself if it has none."""
        if not isinstance(self._network, Layout) or self._network.version == version:
            return self
        return TorchBackbone(
            self.name,
            with_layout(self._network.network, version),
            input_size=self.input_size,
            mean=tuple(self.mean),
            std=tuple(self.std),
            device=self.device,
            published=self.published,
            weights=self.weights,
        )

    @property
    def at_once(self) -> int:
        """Images that a GPU takes at once; 0 on a CPU, where the caller decides."""
        return self._runner.at_once if self._runner is not None else 0

    @property
    def compilable(self) -> bool:
        """Whether a part of the network can be compiled: on a CPU, unless it is your own."""
        return self.device.type == "cpu" and self.published

    def compile_in(self, folder: Path) -> None:
        """Let what the layout needs be compiled, if there is one. `folder` is as for `Compiled`."""
        if self.compilable and isinstance(self._network, Layout):
            self.eye = eye_of(self._network, self.name, self.input_size, folder)

    def embed(self, batch: Inputs) -> npt.NDArray[np.float32]:
        """Inputs (B, 3, S, S) uint8 → vectors (B, dim). Raises ValueError if the network returns another shape.

        On an NVIDIA GPU any number of them, in batches of `at_once`, and in 16 bits: there the vectors differ from
        those of a CPU by rounding.
        """
        if self._runner is not None:
            return self._runner.vectors(batch)
        with torch.inference_mode():
            images = batch if isinstance(batch, np.ndarray) else np.stack(batch)
            pixels = torch.from_numpy(images).to(self.device).to(torch.float32)
            pixels = pixels.sub_(self._mean).mul_(self._scale)
            if self.eye is not None and isinstance(self._network, Layout):
                vectors = self._network.joined(pixels, self.eye)
            else:
                vectors = self._network(pixels.contiguous(memory_format=torch.channels_last))
            if not isinstance(vectors, torch.Tensor) or vectors.ndim != 2 or len(vectors) != len(batch):
                raise ValueError(f"returns {_shape(vectors)} for {len(batch)} images and must return (B, D)")
            result: npt.NDArray[np.float32] = vectors.float().cpu().numpy()
            return result


def eye_of(layout: Layout, name: str, size: int, folder: Path) -> Compiled:
    """`layout.seen`, compiled as soon as that is worth it. `name` and `folder` are as for `Compiled`."""
    version = min(layout.version, 2)  # version 3 sees each view as version 2 sees the image
    return compiled_part(layout.seen, layout.network, Part(name, size, "layout", (version,)), folder)


def compiled_part(compute: Compute, network: Module, part: Part, folder: Path) -> Compiled:
    """This part of `network`, which `compute` computes, compiled as soon as that is worth it."""
    return Compiled(compute, network, part, f"{_folder_name(part.name)}-{content_of(network, 0)[:12]}", folder)


def own(settings: TrainerSettings) -> TorchBackbone:
    """The network that the function at settings.model_fn returns."""
    path = settings.model_fn
    try:
        network = own_function(path)()
    except Exception as error:  # it is the user's code
        raise SettingsError(f"The trainer setting 'model_fn' is {path!r}, which fails: {first_line(error)}.") from error
    if not isinstance(network, Module):
        raise SettingsError(
            f"The trainer setting 'model_fn' is {path!r}, which returns {type(network).__name__}, not a torch module."
        )
    return fitted(settings, path, network, settings.input_size or LARGEST_DEFAULT, setting="model_fn", weights="own")


def as_kept(folder: Path | None, network: Module, build: Callable[[Module], TorchBackbone]) -> TorchBackbone:
    """The backbone that `build` makes of `network` with its layout: in the version of the embeddings in `folder`, or
    else the one of new projects.

    So an update embeds no project again, and its models stay.
    """
    newest = build(with_layout(network))
    if folder is None or not isinstance(newest.network, Layout):
        return newest
    alike = newest.key.partition("px-")[0]  # no need to hash its weights if the project never used this network
    if any(folder.glob(f"{alike}px-*/{IN_USE}")):
        several = newest.in_version(VIEWS)
        if (folder / several.key / IN_USE).is_file():
            return several
    if (folder / newest.key).is_dir() or not any(each.name.startswith(alike + "px-") for each in folder.glob("*/")):
        return newest
    older = (newest.in_version(version) for version in range(VERSION - 1, 0, -1))
    return next((each for each in older if (folder / each.key).is_dir()), newest)


def device_named(name: str) -> torch.device:
    """The device of the setting 'device'; `auto` takes the fastest one. Raises SettingsError."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.mps.is_available() else "cpu")
    try:
        torch.zeros(1, device=name)
    except Exception:  # RuntimeError, AssertionError or NotImplementedError, by backend
        raise SettingsError(f"The trainer setting 'device' is {name!r}, which this machine does not have.") from None
    return torch.device(name)


def fitted(
    settings: TrainerSettings, name: str, network: Module, size: int, *, setting: str, weights: Weights
) -> TorchBackbone:
    """The backbone around `network`, which is run once, so that an unsupported size is found at the start."""
    config: dict[str, Any] = getattr(network, "pretrained_cfg", {})  # timm's description of these weights
    mean = settings.backbone_mean or config.get("mean", IMAGENET_MEAN)
    std = settings.backbone_std or config.get("std", IMAGENET_STD)
    device = device_named(settings.device)
    try:
        return TorchBackbone(
            name,
            network,
            input_size=size,
            mean=tuple(mean),
            std=tuple(std),
            device=device,
            published=weights != "own",
            weights=weights,
        )
    except Exception as error:
        raise SettingsError(
            f"The trainer setting {setting!r}: {name!r} cannot take {size} × {size} pixels: {first_line(error)}."
        ) from None


def first_line(error: Exception) -> str:
    """The first line of a foreign error, to fit into a sentence."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:") if lines else type(error).__name__


# ---------------------------------------------------------------- details


def content_of(network: Module, preprocessing: int, *numbers: tuple[float, ...]) -> str:
    """Hash of weights, normalisation and preprocessing: a file replaced under its old name gets a new key."""
    cut = "centre crop" if preprocessing == 1 else f"preprocessing {preprocessing}"
    digest = hashlib.sha256(repr((cut, numbers)).encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _folder_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)[:80]


def _shape(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
