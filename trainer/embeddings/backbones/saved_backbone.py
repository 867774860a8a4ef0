"""A backbone as a file, so that models fitted on it still work when the settings name another backbone.

`FOLDER/KEY.safetensors` contains its arrays, and the file's metadata says how to build the network around them. The
file is written once per backbone. The key contains a hash of the arrays, which is checked: otherwise a model could
score the embeddings of other weights under the same name without anybody noticing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch.nn import functional

from shared.own_code import own_function
from shared.storage.whole_files import write_whole
from shared.wire.models import Description, ModelInput
from trainer.embeddings.backbones.backbone import Backbone
from trainer.embeddings.backbones.feature_blocks import Layout, with_layout
from trainer.embeddings.backbones.pixels import PixelBackbone, key_of
from trainer.embeddings.backbones.preparation import model_input
from trainer.embeddings.backbones.safe_weights import ModelFileError, check_shapes, shapes_in
from trainer.embeddings.backbones.torch_networks import Module, TorchBackbone, as_kept, content_of

LAYOUTS = {1: "layout", 2: "layout 2", 3: "layout 3"}
"""Version of the layout → how a file names it."""
VERSIONS = {name: version for version, name in LAYOUTS.items()}


class Normalised(Module):
    """Inputs (B, 3, S, S) from 0 to 255 → `network` of the inputs normalised by `mean` and `std` per channel."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The network's output."""
        return cast(torch.Tensor, self.network((images.float() - self.mean) / self.std))


class Components(Module):
    """Inputs (B, 3, S, S) from 0 to 1 → projections (B, dim) on principal components."""

    average: torch.Tensor
    components: torch.Tensor

    def __init__(self, average: torch.Tensor, components: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("average", average)
        self.register_buffer("components", components)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Projections (B, dim)."""
        return functional.linear(images.flatten(1) - self.average, self.components)


def describe(backbone: Backbone) -> tuple[str, ModelInput]:
    """The architecture of a backbone and its preprocessing."""
    if isinstance(backbone, PixelBackbone):
        return "pixels", model_input(backbone.preprocessing, [0.0] * 3, [1.0] * 3)
    assert isinstance(backbone, TorchBackbone)  # noqa: S101 - there are only two kinds
    return backbone.name, model_input(backbone.preprocessing, backbone.mean, backbone.std)


def freeze(backbone: Backbone, folder: Path) -> Path:
    """Write `backbone` to `folder` unless it is there; returns the file. Raises OSError."""
    path = folder / f"{backbone.key}.safetensors"
    if path.is_file():
        return path
    architecture, needs = describe(backbone)
    if isinstance(backbone, PixelBackbone):
        kind = "pixels"
        tensors = {"mean": torch.from_numpy(backbone.mean), "components": torch.from_numpy(backbone.components)}
    else:
        network = cast(TorchBackbone, backbone).network
        tensors = dict(network.state_dict())
        kind = "own" if not cast(TorchBackbone, backbone).published else "network"
        kind = LAYOUTS[network.version] if isinstance(network, Layout) else kind
    said = {"kind": kind, "architecture": architecture, "input": needs.model_dump(), "key": backbone.key}
    arrays = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_whole(path, save(arrays, {"flywheel": json.dumps(said)}))
    return path


def thaw(folder: Path, key: str, *, model_fn: Module | None = None) -> Module:
    """The frozen backbone `key`: values from 0 to 255 (B, 3, S, S) → vectors (B, dim), on the CPU.

    `model_fn` is your own network, which a backbone of your own needs: a file never names code. Raises ModelFileError.
    """
    made, needs, _ = _read(folder, key, model_fn)
    if isinstance(made, PixelBackbone):  # mean and components refer to values from 0 to 1
        parts = Components(torch.from_numpy(made.mean), torch.from_numpy(made.components))
        return Normalised(parts, [0.0] * 3, [1.0] * 3)
    return Normalised(made.eval().requires_grad_(False), needs.mean, needs.std)


def rebuild(folder: Path, key: str, device: torch.device, *, model_fn: Module | None = None) -> Backbone:
    """The frozen backbone `key`, ready to embed on `device`. Raises ModelFileError as `thaw` does.

    A backbone frozen under another version of the preprocessing gets a new key, because its embeddings differ.
    """
    made, needs, said = _read(folder, key, model_fn)
    if isinstance(made, PixelBackbone):
        return made
    mean, std = (tuple(needs.mean), tuple(needs.std))
    own = said["kind"] == "own"
    return TorchBackbone(
        said["architecture"],
        made,
        input_size=needs.size,
        mean=mean,
        std=std,
        device=device,
        published=not own,
        weights="own" if own else "version",
    )


def _read(folder: Path, key: str, model_fn: Module | None) -> tuple[Module | PixelBackbone, ModelInput, dict[str, str]]:
    """The network in the file, its preprocessing, and its kind and architecture."""
    path = folder / f"{key}.safetensors"
    if "/" in key or "\\" in key or not path.is_file():
        raise ModelFileError(f"of the embeddings {key!r} does not exist")
    shapes = shapes_in(path)
    try:
        with safe_open(path, framework="numpy") as file:
            said = json.loads((file.metadata() or {})["flywheel"])
        needs = ModelInput.model_validate(said["input"])
        kind, architecture = str(said["kind"]), str(said["architecture"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"does not say what it is ({error})") from None
    told = {"kind": kind, "architecture": architecture}
    if kind == "pixels":
        return _pixels(path, shapes, key, needs), needs, told
    if kind == "own":
        if model_fn is None:
            raise ModelFileError(f"belongs to {architecture!r}, a network of your own: name it as 'model_fn'")
        network = model_fn
    else:
        from trainer.embeddings.backbones import timm_networks

        try:
            network = timm_networks.create_known(architecture, needs.size)
        except Exception as error:
            raise ModelFileError(f"names the network {architecture!r}, which cannot be created ({error})") from None
        network = with_layout(network, VERSIONS[kind]) if kind in VERSIONS else network
    fill(network, path, shapes)
    if content_of(network, needs.preprocessing, tuple(needs.mean), tuple(needs.std))[:12] != key[-12:]:
        raise ModelFileError("contains other weights than its name says")
    return network, needs, told


def without_classifier(said: Description, tensors: Mapping[str, np.ndarray], folder: Path) -> TorchBackbone:
    """The backbone of a fine-tuned version, on the CPU. `folder` may have its embeddings.

    Raises ValueError unless it is a timm network.
    """
    if said.input is None:
        raise ValueError("it does not describe its input")
    from trainer.embeddings.backbones import timm_networks

    needs = said.input
    network = timm_networks.create_known(said.architecture, needs.size)
    wanted = network.state_dict()
    missing = [name for name, each in wanted.items() if name not in tensors or tensors[name].shape != each.shape]
    if missing:
        raise ValueError(f"its network has no {missing[0]}")
    network.load_state_dict({name: torch.from_numpy(np.array(tensors[name])) for name in wanted})
    return as_kept(
        folder,
        network,
        lambda made: TorchBackbone(
            said.architecture,
            made,
            input_size=needs.size,
            mean=tuple(needs.mean),
            std=tuple(needs.std),
            device=torch.device("cpu"),
            weights="version",
        ),
    )


def own_network(model_fn: str) -> Module:
    """Your own network, which the setting `model_fn` names. Raises ModelFileError."""
    try:
        return cast(Module, own_function(model_fn)())
    except Exception as error:  # it is the user's code
        raise ModelFileError(f"is created by {model_fn!r}, which fails ({error})") from error


def fill(network: Module, path: Path, shapes: dict[str, tuple[int, ...]], prefix: str = "") -> None:
    """Load the tensors of `path`, which must match in name and shape, into `network`. Raises ModelFileError."""
    check_shapes(shapes, {prefix + name: tuple(tensor.shape) for name, tensor in network.state_dict().items()})
    tensors: dict[str, Any] = load_file(path)
    network.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})


def _pixels(path: Path, shapes: dict[str, tuple[int, ...]], key: str, needs: ModelInput) -> PixelBackbone:
    values = 3 * needs.size**2
    check_shapes(shapes, {"mean": (values,), "components": (None, values)})
    tensors = load_file(path)
    mean, components = np.asarray(tensors["mean"]), np.asarray(tensors["components"])
    if key_of(mean, components, needs.preprocessing) != key:
        raise ModelFileError("contains other components than its name says")
    return PixelBackbone(mean, components)
