"""Which embeddings serve: those of the settings, or the ones with which a challenger took over.

One small file, replaced whole, is what a take-over comes down to: before it the old embeddings serve after a restart,
after it the new ones. It belongs to the settings that it was written under; whoever names another backbone, or a
version to start from (`reload_model`), gets that.
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
from trainer.embeddings.auto_choice import Fetch
from trainer.embeddings.embedder import Embedder
from trainer.embeddings.precomputed import OwnVectors
from trainer.versions.registry import RefusedVersion, Registry, UnknownVersion, Version

BACKBONES = "backbones"  # folder of the backbones that saved versions were fitted on
EMBEDDINGS = "embeddings"
TRAINED_ON = "backbone_trained_on"
"""In a version's config: the version with whose labels its backbone was trained."""
AGAIN = "embedding the images again"
"""What a job says that it does while the pool is embedded by what it has trained."""

FILE = "serving.json"


class Serving(BaseModel):
    """The embeddings `key`, which came with `version`; `settings` are those that choose a backbone.

    `trained` is the version whose labels their network has learned from, None for published weights.
    """

    key: str
    version: str
    settings: dict[str, Any]
    trained: str | None = None

    @classmethod
    def read(cls, folder: Path, settings: TrainerSettings) -> Serving | None:
        """What serves in the place of the settings' own backbone. None: nothing does."""
        try:
            found = cls.model_validate_json((folder / FILE).read_bytes())
        except (OSError, ValidationError):
            return None
        return found if found.settings == binding(settings) else None

    def write(self, folder: Path) -> None:
        """Let it serve from here on. Raises OSError, and then what served before does."""
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
) -> tuple[Embedder, Serving | None, str | None]:
    """The embedder that serves after a start, what it is of (None: the settings' own backbone), and what is wrong.

    That is a sentence about embeddings that took over and cannot be used any more. `remembered` is what `auto` was at
    an earlier start; `on_backbone` hears what the settings' own backbone is. Raises SettingsError.
    """
    serving, problem = Serving.read(folder, settings), None
    if serving is not None:
        try:
            embedder = embedder_of(serving.key, settings, folder, fetch)
            serving = _renamed(serving, embedder, folder)
        except ValueError as error:
            problem = f"The backbone of version {serving.version!r} {error}; that of the settings serves."
        else:
            _forget(folder, registry, serving.key)
            return embedder, serving, None
    _forget(folder, registry, None)
    if settings.reload_model:
        serving = _reloaded(settings, folder, registry)
        try:
            return embedder_of(serving.key, settings, folder, fetch), serving, problem
        except ValueError as error:
            raise SettingsError(
                f"The trainer setting 'reload_model' is {serving.version!r}, whose backbone {error}."
            ) from None
    own = Embedder(settings, folder / EMBEDDINGS, fetch, remembered=remembered, on_backbone=on_backbone)
    return own, None, problem


def _renamed(serving: Serving, embedder: Embedder, folder: Path) -> Serving:
    """`serving` under the key that its embeddings have now: another where images were prepared otherwise before."""
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
        raise SettingsError(f"{named}, which makes embeddings: leave 'embeddings' empty.")
    try:
        version = registry.get(settings.reload_model)
        said = version.description
        key, trained = said.embeddings, said.config.get(TRAINED_ON)
        if said.learner == "fine_tuner":
            key, trained = _body(version, folder), version.name
    except (UnknownVersion, RefusedVersion, ValueError) as error:
        raise SettingsError(f"{named}, which cannot be started from: {str(error).rstrip('.')}.") from None
    if key is None or said.input is None:
        raise SettingsError(f"{named}, whose vectors came from a file: there is no network to start from.")
    return Serving(key=key, version=version.name, settings=binding(settings), trained=trained)


def _body(version: Version, folder: Path) -> str:
    """A fine-tuned network without its classifier, frozen as a backbone; returns its key. Raises ValueError."""
    from trainer.embeddings.backbones.saved_backbone import freeze, without_classifier

    return freeze(without_classifier(version.description, version.tensors()), folder / BACKBONES).stem


def _forget(folder: Path, registry: Registry, key: str | None) -> None:
    """Delete the vectors of earlier take-overs. Their backbones are kept, so that they can be had again."""
    for version in registry.list()[0]:
        said = version.description
        if said.config.get(TRAINED_ON) and said.embeddings and said.embeddings != key:
            shutil.rmtree(folder / EMBEDDINGS / Path(said.embeddings).name, ignore_errors=True)


def embedder_of(key: str, settings: TrainerSettings, folder: Path, fetch: Fetch) -> Embedder:
    """An embedder by the frozen backbone `key`. Raises ModelFileError and SettingsError."""
    from trainer.embeddings.backbones.saved_backbone import own_network, rebuild  # torch takes seconds
    from trainer.embeddings.backbones.torch_networks import device_named

    own = own_network(settings.model_fn) if settings.model_fn else None
    backbone = rebuild(folder / BACKBONES, key, device_named(settings.device), model_fn=own)
    return Embedder(settings, folder / EMBEDDINGS, fetch, backbone=backbone)
