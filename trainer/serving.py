"""Which embeddings serve: those of the settings, or the ones with which a challenger took over.

One small file, replaced whole, is what a take-over comes down to: before it the old embeddings serve after a restart,
after it the new ones. It belongs to the settings that it was written under; whoever names another backbone gets that.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from shared.settings import TrainerSettings
from trainer.embeddings.disk import write_whole
from trainer.embeddings.embedder import Embedder, Fetch

logger = logging.getLogger(__name__)

BACKBONES = "backbones"  # folder of the backbones that saved versions were fitted on
EMBEDDINGS = "embeddings"
AGAIN = "embedding the images again"
"""What a job says that it does while the pool is embedded by what it has trained."""

FILE = "serving.json"
BINDING = frozenset({"backbone", "auto_backbone", "backbone_weights", "backbone_mean", "backbone_std", "input_size"})
BINDING |= {"model_fn", "embeddings"}


class Serving(BaseModel):
    """The embeddings `key`, whose first head is saved as `version`; `settings` are those that choose a backbone."""

    key: str
    version: str
    settings: dict[str, Any]

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
    return settings.model_dump(mode="json", include=set(BINDING))


def open_embedder(settings: TrainerSettings, folder: Path, fetch: Fetch) -> tuple[Embedder, Serving | None]:
    """The embedder that serves after a start, and what it is of, None for the settings' own backbone.

    Embeddings that took over and cannot be used any more are left alone, with a warning. Raises SettingsError.
    """
    serving = Serving.read(folder, settings)
    if serving is not None:
        try:
            return embedder_of(serving.key, settings, folder, fetch), serving
        except ValueError as error:
            logger.warning("The backbone %s; the one of the settings serves.", error)
    return Embedder(settings, folder / EMBEDDINGS, fetch), None


def embedder_of(key: str, settings: TrainerSettings, folder: Path, fetch: Fetch) -> Embedder:
    """An embedder by the frozen backbone `key`. Raises ModelFileError and SettingsError."""
    from trainer.embeddings.frozen import own_network, rebuild  # torch takes seconds
    from trainer.embeddings.networks import device_named

    own = own_network(settings.model_fn) if settings.model_fn else None
    backbone = rebuild(folder / BACKBONES, key, device_named(settings.device), model_fn=own)
    return Embedder(settings, folder / EMBEDDINGS, fetch, backbone=backbone)
