"""Which network turns images into vectors. Knows nothing of stores and labels.

A backbone is frozen: the same image gives the same vector as long as the key is the same, and the key changes with the
weights, the input size, the normalisation and the preprocessing. There are four ways to have one: a timm name (weights
from the hub, its cache, or a local file), the network that comes with the installation, a function of one's own
(`model_fn`), or `pixels`. `auto` chooses among them (`resolve_auto`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from shared.backbone import ResolvedBackbone, Weights
from shared.settings.services import SettingsError, TrainerSettings
from trainer.embeddings.backbones import installed
from trainer.embeddings.backbones.hub import OnDownload, UnreachableError, any_cached, hub_answers
from trainer.embeddings.backbones.installed import NotInstalledError
from trainer.embeddings.backbones.pixels import PixelBackbone, input_size, path_in
from trainer.embeddings.backbones.preparation import Preprocessing

log = logging.getLogger(__name__)

SMALL = 32
"""Pixels of the longer side up to which `auto` compares images by their pixels."""


class Backbone(Protocol):
    """What an embedder needs. `key` is safe as a folder name; `banner` says what this backbone costs, if anything.

    `preprocessing` makes inputs of image files.
    """

    key: str
    dim: int
    input_size: int
    preprocessing: Preprocessing
    banner: str | None

    @property
    def resolved(self) -> ResolvedBackbone:
        """What it is and where its weights came from."""
        ...

    def embed(self, batch: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Inputs (B, 3, H, W) to vectors (B, dim)."""
        ...


def resolve_auto(
    settings: TrainerSettings,
    *,
    remembered: ResolvedBackbone | None = None,
    small_images: bool = False,
    on_download: OnDownload | None = None,
    without: Collection[Weights] = (),
) -> ResolvedBackbone:
    """What `auto` stands for, here and now: a network whose weights are here when this returns, else `pixels`.

    The first of these that can be had, but for weights that come from where `without` says:

    1. `remembered`, a network that an earlier start used, so that a project stays with one. `pixels` is not kept:
       it was taken for want of better. Nor is a network of the hub other than settings.auto_backbone.
    2. `pixels` for `small_images` (at most SMALL pixels a side), which a network adds nothing to.
    3. settings.auto_backbone from the hub's cache, or from the hub where settings.auto_download allows that.
    4. The network that comes with the installation.
    5. `pixels`.

    Settings that are given (input_size, backbone_mean, backbone_std) win over what is remembered. May take minutes
    while weights are fetched, of which `on_download` is told. Raises SettingsError for a name that timm does not know.
    """
    if remembered is not None and remembered.weights == "installed" and _have_installed(without):
        return _given(settings, remembered)
    hub = settings.auto_backbone
    keep = remembered is not None and remembered.weights == "hub" and remembered.name == hub
    if small_images and not keep:
        return _pixels(settings)
    # Looked at before torch is loaded, which takes seconds: without the hub there is nothing to load it for.
    if "hub" not in without and (any_cached(hub) or (settings.auto_download and hub_answers())):
        from trainer.embeddings.backbones import timm_networks

        try:
            found = timm_networks.fetched(settings, "auto_backbone", hub, on_download)
            return _given(settings, remembered if keep and remembered is not None else found)
        except UnreachableError as reason:
            log.info("%s", reason)
    if keep:
        log.warning("This project has used %r, whose weights cannot be had now.", hub)
    if _have_installed(without):
        return _given(settings, installed.RESOLVED)
    log.warning("No pretrained network can be had. Taking 'pixels'.")
    return _pixels(settings)


def load_auto(
    settings: TrainerSettings,
    folder: Path,
    *,
    remembered: ResolvedBackbone | None = None,
    small_images: bool = False,
    on_download: OnDownload | None = None,
) -> tuple[ResolvedBackbone, Backbone | None]:
    """What `auto` stands for (as `resolve_auto`) and the backbone itself; None while `pixels` must still be fitted.

    Weights that turn out to be damaged are passed over, with a line in the log. Raises SettingsError and OSError.
    """
    without: set[Weights] = set()
    while True:
        resolved = resolve_auto(
            settings, remembered=remembered, small_images=small_images, on_download=on_download, without=without
        )
        if resolved.weights == "none":
            return resolved, PixelBackbone.load(path_in(folder, settings))
        from trainer.embeddings.backbones import timm_networks

        try:
            if resolved.weights == "installed":
                return resolved, timm_networks.from_installed(settings, resolved, folder)
            return resolved, timm_networks.from_hub(settings, resolved)
        except (UnreachableError, NotInstalledError) as reason:
            log.warning("%s", reason)
            without.add(resolved.weights)


def is_auto(settings: TrainerSettings) -> bool:
    """Whether the backbone is to be chosen. Raises SettingsError for settings that contradict each other."""
    if settings.backbone_weights and settings.backbone in {"auto", "pixels"} and not settings.model_fn:
        raise SettingsError(
            "The trainer setting 'backbone_weights' needs 'backbone' to be the timm name that the weights are for, "
            f"not {settings.backbone!r}."
        )
    return settings.backbone == "auto" and not settings.model_fn


def are_here(resolved: ResolvedBackbone) -> bool:
    """Whether the weights of what `auto` was seem to be on this machine; cheap, and may say yes in vain."""
    if resolved.weights == "hub":
        return any_cached(resolved.name)
    return resolved.weights == "installed" and _have_installed(())


def load_backbone(
    settings: TrainerSettings,
    folder: Path,
    *,
    remembered: ResolvedBackbone | None = None,
    small_images: bool = False,
) -> Backbone | None:
    """The backbone that the settings ask for; None while `pixels` must still be fitted (and saved in `folder`).

    Raises SettingsError with one sentence when what is asked for cannot be had.
    """
    if is_auto(settings):
        return load_auto(settings, folder, remembered=remembered, small_images=small_images)[1]
    if settings.model_fn or settings.backbone != "pixels":
        return _network(settings, folder)
    return PixelBackbone.load(path_in(folder, settings))


def _have_installed(without: Collection[Weights]) -> bool:
    if "installed" in without:
        return False
    try:
        installed.locate()
    except NotInstalledError as reason:
        log.warning("%s", reason)
        return False
    return True


def _given(settings: TrainerSettings, found: ResolvedBackbone) -> ResolvedBackbone:
    """`found` with what the settings say in its place."""
    mean, std = settings.backbone_mean or found.mean, settings.backbone_std or found.std
    return replace(
        found,
        input_size=settings.input_size or found.input_size,
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
    )


def _pixels(settings: TrainerSettings) -> ResolvedBackbone:
    return ResolvedBackbone("pixels", "none", input_size(settings), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def _network(settings: TrainerSettings, folder: Path) -> Backbone:
    if settings.model_fn:
        from trainer.embeddings.backbones import torch_networks

        return torch_networks.own(settings)
    from trainer.embeddings.backbones import timm_networks

    if settings.backbone_weights:
        return timm_networks.from_file(settings)
    if settings.backbone == installed.NAME and _have_installed(()):
        try:
            return timm_networks.from_installed(settings, _given(settings, installed.RESOLVED), folder)
        except NotInstalledError as reason:
            log.warning("%s", reason)
    try:
        return timm_networks.pretrained(settings, "backbone", settings.backbone)
    except UnreachableError as reason:
        raise SettingsError(
            f"{reason} Give a local file as 'backbone_weights', or set 'backbone' to 'pixels'."
        ) from None
