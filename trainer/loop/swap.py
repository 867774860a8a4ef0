"""Swaps the live model for one on other embeddings, between two rounds, and saves both models as versions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.settings.services import TrainerSettings
from trainer.embeddings.embedder import Embedder
from trainer.loop.ingest import Ingest
from trainer.loop.live_model import LiveModel
from trainer.loop.rounds import fit, weigh
from trainer.loop.saving import Saver
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot
from trainer.versions.active_backbone import Serving, binding

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Replacement:
    """A pool in new embeddings, and the version to save for it. `seconds` is the duration of its training."""

    ingest: Ingest
    name: str
    reason: str
    seconds: float


class Swap:
    """Puts a replacement in the live model's place. `folder`/serving.json keeps the choice over restarts."""

    def __init__(self, folder: Path, replica: Replica, saver: Saver, settings: TrainerSettings) -> None:
        self._folder = folder
        self._replica = replica
        self._saver = saver
        self._settings = settings
        self._retired: Embedder | None = None  # still open, because a reader may be using it

    def take_over(
        self, live: LiveModel, replacement: Replacement, evaluate: Callable[[LiveModel, Snapshot], None]
    ) -> LiveModel:
        """Fit, evaluate and save the replacement; the old model is saved as its parent `NAME-base`.

        Writing serving.json commits the swap. After a kill or an error before that, the old model stays live. Running
        it again saves nothing twice.
        """
        try:
            new = self._install(live, replacement, evaluate)
        except Exception:
            replacement.ingest.embedder.close()
            raise
        self.close()
        self._retired = live.embedder
        logger.info("%s: %s", replacement.name, replacement.reason)
        return new

    def close(self) -> None:
        """Close the files of the replaced embeddings."""
        if self._retired is not None:
            self._retired.close()

    def _install(
        self, live: LiveModel, replacement: Replacement, evaluate: Callable[[LiveModel, Snapshot], None]
    ) -> LiveModel:
        snapshot = Snapshot.of(self._replica)
        replacement.ingest.refresh()
        pool = replacement.ingest.pool
        if snapshot is None or pool is None:
            raise ValueError("The images that the challenger learned from are gone.")
        weigh(pool, snapshot)
        model = fit(pool, snapshot, None, seed=self._settings.seed)
        if model is None:
            raise ValueError("The labels that the challenger learned are gone.")
        name, base = replacement.name, f"{replacement.name}-base"
        self._keep(live, base, reason=f"the model that {name} replaced")
        key = replacement.ingest.embedder.key
        serving = Serving(key=key, version=name, settings=binding(self._settings), trained=name)
        new = LiveModel(replacement.ingest, serving, model)
        evaluate(new, snapshot)
        self._keep(new, name, reason=replacement.reason, parent=base, trained_on=name, seconds=replacement.seconds)
        serving.write(self._folder)
        return new

    def _keep(self, live: LiveModel, name: str, **more: Any) -> None:
        try:
            self._saver.save(live, name, **more)
        except FileExistsError:
            logger.info("%s was saved before a kill", name)
