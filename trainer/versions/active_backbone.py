"""The active embeddings: those of the settings, or those of a challenger that replaced the live model.

Writing one small file atomically commits the backbone swap: after a restart, the old embeddings are active if it was
not written, the new ones if it was. The file is valid only for the settings that it was written under. If the person
names another backbone, or a version to start from (`reload_model`), that one is used.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from shared.backbone import ResolvedBackbone
from shared.settings.services import SettingsError, TrainerSettings
from shared.settings.traits import MAKES_PROJECT, settings_with
from shared.storage.whole_files import write_whole
from trainer.embeddings.decoding.preparing import Fetch
from trainer.embeddings.embedder import Embedder
from trainer.embeddings.precomputed import OwnVectors
from trainer.engine.engine import Engine
from trainer.versions.registry import RefusedVersion, Registry, UnknownVersion, Version
from trainer.versions.saved_learners import holds_whole_network

BACKBONES = "backbones"  # folder of the backbones of saved versions
EMBEDDINGS = "embeddings"
TRAINED_ON = "backbone_trained_on"
"""Key in a version's config: the version whose labels its backbone was trained on."""
AGAIN = "embedding the images again"
"""The step that a job reports while the pool is embedded with its new network."""

FILE = "serving.json"


class Serving(BaseModel):
    """The active embeddings `key`, which came with `version`; `settings` are those that choose a backbone.

    `trained` is the version whose labels their network was trained on, or None for published weights.
    """

    key: str
    version: str
    settings: dict[str, Any]
    trained: str | None = None

    @classmethod
    def read(cls, folder: Path, settings: TrainerSettings) -> Serving | None:
        """The embeddings that replace the settings' own backbone, or None."""
        try:
            found = cls.model_validate_json((folder / FILE).read_bytes())
        except (OSError, ValidationError):
            return None
        return found if found.settings == binding(settings) else None

    def write(self, folder: Path) -> None:
        """Make these embeddings active from now on. Raises OSError, and then nothing changes."""
        write_whole(folder / FILE, self.model_dump_json(indent=1).encode())


def binding(settings: TrainerSettings) -> dict[str, Any]:
    """The settings that choose a backbone."""
    return settings.model_dump(mode="json", include=set(settings_with(MAKES_PROJECT, TrainerSettings)))


def open_embedder(
    settings: TrainerSettings,
    folder: Path,
    fetch: Fetch,
    registry: Registry,
    *,
    remembered: ResolvedBackbone | None = None,
    on_backbone: Callable[[ResolvedBackbone], None] = lambda _: None,
    engine: Engine | None = None,
) -> tuple[Embedder, Serving | None, str | None]:
    """Open the embedder to use after a start. Returns it, its `Serving` (None for the settings' own backbone) and a
    problem.

    The problem is a sentence if a challenger's embeddings were active and can no longer be used, otherwise None.
    `remembered` is the earlier choice for `auto`; `on_backbone` is called with the settings' own backbone. Raises
    SettingsError.
    """
    serving, problem = Serving.read(folder, settings), None
    if serving is not None:
        try:
            embedder = embedder_of(serving.key, settings, folder, fetch, engine)
            serving = _renamed(serving, embedder, folder)
        except ValueError as error:
            problem = f"The backbone of version {serving.version!r} {error}; the one in the settings is used instead."
        else:
            _forget(folder, registry, serving.key)
            return embedder, serving, None
    if settings.reload_model:
        serving = _reloaded(settings, folder, registry)
        _forget(folder, registry, serving.key)
        try:
            return embedder_of(serving.key, settings, folder, fetch, engine), serving, problem
        except ValueError as error:
            raise SettingsError(
                f"The trainer setting 'reload_model' is {serving.version!r}, whose backbone {error}."
            ) from None
    _forget(folder, registry, None)
    own = Embedder(settings, folder / EMBEDDINGS, fetch, remembered=remembered, on_backbone=on_backbone, engine=engine)
    return own, None, problem


def _renamed(serving: Serving, embedder: Embedder, folder: Path) -> Serving:
    """`serving` under its current key, which differs if images were preprocessed differently before."""
    if embedder.key == serving.key or embedder.backbone is None or isinstance(embedder.backbone, OwnVectors):
        return serving
    from trainer.embeddings.backbones.saved_backbone import freeze

    freeze(embedder.backbone, folder / BACKBONES)
    serving = serving.model_copy(update={"key": embedder.key})
    serving.write(folder)
    return serving


def _reloaded(settings: TrainerSettings, folder: Path, registry: Registry) -> Serving:
    named = f"The trainer setting 'reload_model' is {settings.reload_model!r}"
    if settings.embeddings:
        raise SettingsError(f"{named}, which brings its own embeddings: leave 'embeddings' empty.")
    try:
        version = registry.get(settings.reload_model)
        said = version.description
        key, trained = said.embeddings, said.config.get(TRAINED_ON)
        if holds_whole_network(said):
            key, trained = _body(version, folder), version.name
    except (UnknownVersion, RefusedVersion, ValueError) as error:
        raise SettingsError(f"{named}, which is not a possible start: {str(error).rstrip('.')}.") from None
    if key is None or said.input is None:
        raise SettingsError(f"{named}, whose embeddings came from a file: there is no network to start from.")
    return Serving(key=key, version=version.name, settings=binding(settings), trained=trained)


def _body(version: Version, folder: Path) -> str:
    """Freeze a fine-tuned network without its classifier as a backbone; returns its key. Raises ValueError."""
    from trainer.embeddings.backbones.saved_backbone import freeze, without_classifier

    backbone = without_classifier(version.description, version.tensors(), folder / EMBEDDINGS)
    return freeze(backbone, folder / BACKBONES).stem


def _forget(folder: Path, registry: Registry, key: str | None) -> None:
    """Delete the vectors of earlier swaps. Their backbones stay, so that the vectors can be computed again."""
    for version in registry.list()[0]:
        said = version.description
        if said.config.get(TRAINED_ON) and said.embeddings and said.embeddings != key:
            shutil.rmtree(folder / EMBEDDINGS / Path(said.embeddings).name, ignore_errors=True)


def embedder_of(
    key: str, settings: TrainerSettings, folder: Path, fetch: Fetch, engine: Engine | None = None
) -> Embedder:
    """An embedder for the frozen backbone `key`. Raises ModelFileError and SettingsError."""
    from trainer.embeddings.backbones.saved_backbone import own_network, rebuild  # torch takes seconds
    from trainer.embeddings.backbones.torch_networks import device_named

    own = own_network(settings.model_fn) if settings.model_fn else None
    backbone = rebuild(folder / BACKBONES, key, device_named(settings.device), model_fn=own)
    return Embedder(settings, folder / EMBEDDINGS, fetch, backbone=backbone, engine=engine)
