"""A take-over: other embeddings serve from one round to the next, and two versions say what came before and after."""

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
from trainer.loop.rounds import fit
from trainer.loop.saving import Saver
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot
from trainer.versions.active_backbone import Serving, binding

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Replacement:
    """The pool as laid out by embeddings that shall serve, and the version that says why. `seconds` they took."""

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
        self._retired: Embedder | None = None  # whoever asked it a moment ago may still wait for the answer

    def take_over(
        self, live: LiveModel, replacement: Replacement, evaluate: Callable[[LiveModel, Snapshot], None]
    ) -> LiveModel:
        """Fit and evaluate the replacement, and save what it replaces as `NAME-base`, its
        parent.

        A kill before `serving.json` is written leaves the old one in force, and so does an error. Done again, nothing
        is saved twice.
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
        """Let go of the files of what served before."""
        if self._retired is not None:
            self._retired.close()

    def _install(
        self, live: LiveModel, replacement: Replacement, evaluate: Callable[[LiveModel, Snapshot], None]
    ) -> LiveModel:
        snapshot = Snapshot.of(self._replica)
        replacement.ingest.refresh()
        pool = replacement.ingest.pool
        if snapshot is None or pool is None:
            raise ValueError("The images that the challenger has learned are gone.")
        model = fit(pool, snapshot, None, seed=self._settings.seed)
        if model is None:
            raise ValueError("The labels that the challenger has learned are gone.")
        name, base = replacement.name, f"{replacement.name}-base"
        self._keep(live, base, reason=f"what {name} was better than")
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
