"""Chooses and loads the network that turns images into vectors. Knows neither stores nor labels.

A backbone is frozen: while the key is the same, the same image gives the same vector. The key changes with the weights,
the input size, the normalisation and the preprocessing. There are four kinds: a timm network (weights from the hub, its
cache, or a local file), the network that comes with the installation, your own function (`model_fn`), and `pixels`.
`auto` chooses among them (`resolve_auto`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shared.backbone import ResolvedBackbone, Weights
from shared.settings.services import SettingsError, TrainerSettings
from trainer.embeddings.backbones import installed
from trainer.embeddings.backbones.hub import OnDownload, UnreachableError, any_cached, hub_answers
from trainer.embeddings.backbones.installed import NotInstalledError
from trainer.embeddings.backbones.pixels import PixelBackbone, input_size, path_in
from trainer.embeddings.backbones.preparation import Inputs, Preprocessing

log = logging.getLogger(__name__)

SMALL = 32
"""Longest side in pixels up to which `auto` compares images by their pixels."""


class Backbone(Protocol):
    """The interface that an embedder needs.

    `key` is safe as a folder name. `blocks` are the lengths of the blocks of features in a vector, which sum to `dim`.
    `banner` is a notice about the limits of this backbone, or None. `preprocessing` turns image files into inputs.
    """

    key: str
    dim: int
    blocks: tuple[int, ...]
    input_size: int
    preprocessing: Preprocessing
    banner: str | None

    @property
    def resolved(self) -> ResolvedBackbone:
        """The network and where its weights came from."""
        ...

    @property
    def at_once(self) -> int:
        """Images per forward pass on a GPU, however many `embed` gets. 0 without a GPU: all at once."""
        ...

    def compile_in(self, folder: Path) -> None:
        """Allow a quicker form of the network, which may be kept in `folder`. Its vectors are the same up to
        rounding."""
        ...

    def embed(self, batch: Inputs) -> npt.NDArray[np.float32]:
        """Inputs (B, 3, H, W) → vectors (B, dim)."""
        ...


def resolve_auto(
    settings: TrainerSettings,
    *,
    remembered: ResolvedBackbone | None = None,
    small_images: bool = False,
    on_download: OnDownload | None = None,
    without: Collection[Weights] = (),
) -> ResolvedBackbone:
    """Resolve `auto`: a network whose weights are on this machine when this returns, or else `pixels`.

    Takes the first of these that is available, skipping the sources in `without`:

    1. `remembered`, the network of an earlier start, so that a project keeps its network. This does not apply to
       `pixels`, which was chosen for lack of a network, nor to a hub network other than settings.auto_backbone.
    2. `pixels` for `small_images` (at most SMALL pixels per side), where a network adds nothing.
    3. settings.auto_backbone from the hub's cache, or from the hub if settings.auto_download allows it.
    4. The network that comes with the installation.
    5. `pixels`.

    The settings input_size, backbone_mean and backbone_std override what is remembered. A download may take minutes and
    is reported to `on_download`. Raises SettingsError for a name that timm does not know.
    """
    if remembered is not None and remembered.weights == "installed" and _have_installed(without):
        return _given(settings, remembered)
    hub = settings.auto_backbone
    keep = remembered is not None and remembered.weights == "hub" and remembered.name == hub
    if small_images and not keep:
        return _pixels(settings)
    # Check this before loading torch, which takes seconds: without the hub there is nothing to load.
    if "hub" not in without and (any_cached(hub) or (settings.auto_download and hub_answers())):
        from trainer.embeddings.backbones import timm_networks

        try:
            found = timm_networks.fetched(settings, "auto_backbone", hub, on_download)
            return _given(settings, remembered if keep and remembered is not None else found)
        except UnreachableError as reason:
            log.info("%s", reason)
    if keep:
        log.warning("This project has used %r, but its weights are not available now.", hub)
    if _have_installed(without):
        return _given(settings, installed.RESOLVED)
    log.warning("No pretrained network is available. Using 'pixels'.")
    return _pixels(settings)


def load_auto(
    settings: TrainerSettings,
    folder: Path,
    *,
    remembered: ResolvedBackbone | None = None,
    small_images: bool = False,
    on_download: OnDownload | None = None,
) -> tuple[ResolvedBackbone, Backbone | None]:
    """Resolve `auto` (see `resolve_auto`) and load the backbone, which is None while `pixels` must still be fitted.

    Damaged weights are skipped with a line in the log. Raises SettingsError and OSError.
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
            return resolved, timm_networks.from_hub(settings, resolved, folder)
        except (UnreachableError, NotInstalledError) as reason:
            log.warning("%s", reason)
            without.add(resolved.weights)


def is_auto(settings: TrainerSettings) -> bool:
    """Whether the backbone is still to be chosen. Raises SettingsError for contradictory settings."""
    if settings.backbone_weights and settings.backbone in {"auto", "pixels"} and not settings.model_fn:
        raise SettingsError(
            "The trainer setting 'backbone_weights' needs 'backbone' to be the timm name that the weights are for, "
            f"not {settings.backbone!r}."
        )
    return settings.backbone == "auto" and not settings.model_fn


def are_here(resolved: ResolvedBackbone) -> bool:
    """Whether the weights of an earlier choice seem to be on this machine. A cheap check that may be wrong."""
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
    """The backbone in the settings; None while `pixels` must still be fitted (and saved in `folder`).

    Raises SettingsError, with one sentence, if it is not available.
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
    """`found`, overridden by the settings."""
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
        return timm_networks.from_file(settings, folder)
    if settings.backbone == installed.NAME and _have_installed(()):
        try:
            return timm_networks.from_installed(settings, _given(settings, installed.RESOLVED), folder)
        except NotInstalledError as reason:
            log.warning("%s", reason)
    try:
        return timm_networks.pretrained(settings, "backbone", settings.backbone, folder)
    except UnreachableError as reason:
        raise SettingsError(f"{reason} Set 'backbone_weights' to a local file, or 'backbone' to 'pixels'.") from None
