"""The text side of a network that was trained on images and their captions, such as CLIP (Radford et al. 2021,
arXiv:2103.00020). It says how well words describe an image, without any label.

The image side is the project's backbone, so that no image is embedded twice: a vector of the backbone, through the
network's last projection, lies in one space with the words. open_clip reads the network. Whether its image side really
is the backbone is checked with random images, because two networks of one name may differ.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from shared.settings.services import SettingsError, TrainerSettings
from trainer.embeddings.backbones.hub import hub_answers
from trainer.embeddings.backbones.torch_networks import TorchBackbone, first_line

log = logging.getLogger(__name__)

Matrix = NDArray[np.float32]

LOCAL, HUB = "local-dir:", "hf-hub:"
CONFIG = "open_clip_config.json"
BLOCK = 8_192  # vectors projected at once
SAME = 0.99
"""Least cosine between both image sides on random images. Rounding gives 0.9999, another network less than 0.9."""


def check(settings: TrainerSettings) -> None:
    """Refuse a value of `text_network` that cannot be loaded, without loading it. Raises SettingsError."""
    name = settings.text_network
    if not name:
        return
    if not name.startswith((LOCAL, HUB)):
        raise SettingsError(
            f"The trainer setting 'text_network' is {name!r}: it must begin with {LOCAL!r} (a folder) or {HUB!r} "
            "(a repository of the model hub)."
        )
    if find_spec("open_clip") is None:
        raise SettingsError(
            "The trainer setting 'text_network' needs the extra: pip install 'flywheel-labeling[text]'."
        )
    folder = Path(name.removeprefix(LOCAL)).expanduser()
    if name.startswith(LOCAL) and not _is_config(folder / CONFIG):
        raise SettingsError(f"The trainer setting 'text_network' names {folder}, which has no valid {CONFIG}.")


class TextNetwork:
    """Maps prompts and vectors of the backbone into one space."""

    def __init__(self, name: str, model: Any, tokenizer: Callable[..., torch.Tensor], size: int) -> None:
        self.name = name
        self._model = model
        self._tokenizer = tokenizer
        self._size = size
        self._project = _projection(model.visual)
        self.scale = float(model.logit_scale.detach().exp())

    @classmethod
    def load(cls, settings: TrainerSettings) -> Self:
        """The network of the setting `text_network`, downloaded if need be. Raises SettingsError."""
        check(settings)
        import open_clip  # takes seconds

        name = settings.text_network
        if name.startswith(LOCAL):
            name = LOCAL + str(Path(name.removeprefix(LOCAL)).expanduser())
        elif not hub_answers():
            log.info("The model hub does not answer; searching for %s in its cache on this machine.", name)
        try:
            model = open_clip.create_model(name, device="cpu", require_pretrained=True)
            tokenizer = open_clip.get_tokenizer(name)
        except Exception as error:
            log.debug("open_clip could not load %s", name, exc_info=True)
            raise SettingsError(
                f"The trainer setting 'text_network': {name!r} cannot be loaded ({first_line(error)})."
            ) from None
        model.eval().requires_grad_(False)
        size = model.visual.image_size
        return cls(settings.text_network, model, tokenizer, int(size if isinstance(size, int) else size[0]))

    def belongs_to(self, backbone: object) -> str | None:
        """Why the image side is not this backbone; None if it is. Afterwards, only its projection is kept."""
        if not isinstance(backbone, TorchBackbone):
            return "The backbone is no network, so that words and images have nothing in common."
        if backbone.input_size != self._size:
            return (
                f"The backbone takes images of {backbone.input_size} pixels, and the text network is for "
                f"{self._size}: set 'input_size' to {self._size}."
            )
        pixels = np.random.default_rng(0).integers(0, 256, (4, 3, self._size, self._size), dtype=np.uint8)
        cfg = getattr(self._model.visual, "preprocess_cfg", None) or {}
        mean = torch.tensor(cfg.get("mean", backbone.mean)).view(3, 1, 1)
        std = torch.tensor(cfg.get("std", backbone.std)).view(3, 1, 1)
        try:
            with torch.inference_mode():
                theirs = functional.normalize(self._model.visual((torch.from_numpy(pixels) / 255 - mean) / std)).numpy()
            ours = self.images(backbone.embed(pixels)[:, : backbone.blocks[0]])
        except Exception as error:
            return f"The backbone {backbone.name!r} is not the image side of the text network ({first_line(error)})."
        if float((theirs * ours).sum(axis=1).min()) < SAME:
            return f"The backbone {backbone.name!r} is not the image side of the text network."
        self._model.visual = torch.nn.Identity()  # only the text side and the projection are needed from now on
        return None

    def words(self, prompts: Sequence[str]) -> Matrix:
        """Prompts → vectors (n, d) of unit length."""
        with torch.inference_mode():
            found = self._model.encode_text(self._tokenizer(list(prompts)), normalize=True)
            vectors: Matrix = found.float().numpy()
        return vectors

    def images(self, vectors: Matrix) -> Matrix:
        """Vectors (n, D) of the backbone's own features → vectors (n, d) of unit length."""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(vectors), BLOCK):
                part = torch.from_numpy(np.asarray(vectors[start : start + BLOCK], np.float32))
                parts.append(functional.normalize(self._project(part)).numpy())
        return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)


def _projection(visual: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """The last step of an image side: features (n, D) → the common space (n, d)."""
    matrix = getattr(visual, "proj", None)
    if isinstance(matrix, torch.Tensor):
        kept = matrix.detach()
        return lambda features: features @ kept
    head = getattr(visual, "head", None)
    return head if isinstance(head, torch.nn.Module) else lambda features: features


def _is_config(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text("utf-8"))["model_cfg"], dict)
    except (OSError, ValueError, KeyError, TypeError):
        return False
