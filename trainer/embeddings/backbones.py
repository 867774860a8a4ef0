"""Which network turns images into vectors, and how an image becomes its input. Knows nothing of stores and labels.

A backbone is frozen: the same image gives the same vector as long as the key is the same, and the key changes with the
weights, the input size and the normalisation. There are three ways to have one: a timm name (weights from the hub, its
cache, or a local file), a function of one's own (`model_fn`), or `pixels`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.settings import SettingsError, TrainerSettings
from trainer.embeddings.hub import UnreachableError, any_cached, hub_answers
from trainer.embeddings.pixels import PixelBackbone, path_in

log = logging.getLogger(__name__)


class Backbone(Protocol):
    """What an embedder needs. `key` is safe as a folder name; `banner` says what this backbone costs, if anything."""

    key: str
    dim: int
    input_size: int
    banner: str | None

    def prepare(self, image: Image.Image) -> npt.NDArray[Any]:
        """One RGB image as the network's input (3, H, W). Called from several threads at once."""
        ...

    def embed(self, batch: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Inputs (B, 3, H, W) to vectors (B, dim)."""
        ...


def load_backbone(settings: TrainerSettings, folder: Path) -> Backbone | None:
    """The backbone that the settings ask for; None while `pixels` must still be fitted (and saved in `folder`).

    `auto` is settings.auto_backbone if its weights are here or can be fetched, else `pixels`; without a network that is
    known within seconds. Raises SettingsError with one sentence when what is asked for cannot be had.
    """
    if settings.backbone_weights and settings.backbone in {"auto", "pixels"} and not settings.model_fn:
        raise SettingsError(
            "The trainer setting 'backbone_weights' needs 'backbone' to be the timm name that the weights are for, "
            f"not {settings.backbone!r}."
        )
    if settings.model_fn or settings.backbone not in {"auto", "pixels"}:
        return _network(settings)
    if settings.backbone == "auto":
        # Looked at before torch is loaded, which takes seconds: without the hub there is nothing to load it for.
        if any_cached(settings.auto_backbone) or hub_answers():
            from trainer.embeddings import zoo

            try:
                return zoo.pretrained(settings, "auto_backbone", settings.auto_backbone)
            except UnreachableError as reason:
                log.info("%s Taking 'pixels'.", reason)
        else:
            log.info("The model hub is out of reach. Taking 'pixels'.")
    return PixelBackbone.load(path_in(folder, settings))


def _network(settings: TrainerSettings) -> Backbone:
    if settings.model_fn:
        from trainer.embeddings import networks

        return networks.own(settings)
    from trainer.embeddings import zoo

    if settings.backbone_weights:
        return zoo.from_file(settings)
    try:
        return zoo.pretrained(settings, "backbone", settings.backbone)
    except UnreachableError as reason:
        raise SettingsError(
            f"{reason} Give a local file as 'backbone_weights', or set 'backbone' to 'pixels'."
        ) from None
