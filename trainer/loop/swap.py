"""A take-over: other embeddings serve from one round to the next, and two versions say what came before and after."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.settings.services import TrainerSettings
from trainer.embeddings.embedder import Embedder
from trainer.loop.ingest import Intake
from trainer.loop.live_model import Champion
from trainer.loop.rounds import fit
from trainer.loop.saving import Saver
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot
from trainer.versions.active_backbone import Serving, binding

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Successor:
    """The pool as laid out by embeddings that shall serve, and the version that says why. `seconds` they took."""

    intake: Intake
    name: str
    reason: str
    seconds: float


class Succession:
    """Puts successors in the champion's place, as `folder`/serving.json says after a restart."""

    def __init__(self, folder: Path, replica: Replica, saver: Saver, settings: TrainerSettings) -> None:
        self._folder = folder
        self._replica = replica
        self._saver = saver
        self._settings = settings
        self._retired: Embedder | None = None  # whoever asked it a moment ago may still wait for the answer

    def take_over(
        self, champion: Champion, successor: Successor, evaluate: Callable[[Champion, Snapshot], None]
    ) -> Champion:
        """The successor, fitted on the new embeddings and evaluated; what went before is saved as `NAME-base`, its
        parent.

        A kill before `serving.json` is written leaves the old one in force, and so does an error. Done again, nothing
        is saved twice.
        """
        try:
            new = self._install(champion, successor, evaluate)
        except Exception:
            successor.intake.embedder.close()
            raise
        self.close()
        self._retired = champion.embedder
        logger.info("%s: %s", successor.name, successor.reason)
        return new

    def close(self) -> None:
        """Let go of the files of what served before."""
        if self._retired is not None:
            self._retired.close()

    def _install(
        self, champion: Champion, successor: Successor, evaluate: Callable[[Champion, Snapshot], None]
    ) -> Champion:
        snapshot = Snapshot.of(self._replica)
        successor.intake.refresh()
        pool = successor.intake.pool
        if snapshot is None or pool is None:
            raise ValueError("The images that the challenger has learned are gone.")
        model = fit(pool, snapshot, None, seed=self._settings.seed)
        if model is None:
            raise ValueError("The labels that the challenger has learned are gone.")
        name, base = successor.name, f"{successor.name}-base"
        self._keep(champion, base, reason=f"what {name} was better than")
        key = successor.intake.embedder.key
        serving = Serving(key=key, version=name, settings=binding(self._settings), trained=name)
        new = Champion(successor.intake, serving, model)
        evaluate(new, snapshot)
        self._keep(new, name, reason=successor.reason, parent=base, trained_on=name, seconds=successor.seconds)
        serving.write(self._folder)
        return new

    def _keep(self, champion: Champion, name: str, **more: Any) -> None:
        try:
            self._saver.save(champion, name, **more)
        except FileExistsError:
            logger.info("%s was saved before a kill", name)
