"""Swaps the live model for one on other embeddings, between two rounds.

A challenger's embeddings come with a version, so both models are saved. Those of the second look are of the same
network, and nothing is saved.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.settings.services import TrainerSettings
from trainer.embeddings.embedder import Embedder
from trainer.embeddings.second_look import SecondLook
from trainer.jobs.job_queue import Outdated
from trainer.loop.ingest import Ingest
from trainer.loop.live_model import LiveModel
from trainer.loop.rounds import fit, prepare, weigh
from trainer.loop.saving import Saver
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot
from trainer.tasks.registry import task_named
from trainer.versions.active_backbone import Serving, binding

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 10.0  # for the layout of a pool that is no longer needed


@dataclass(frozen=True)
class Replacement:
    """A pool in new embeddings, and the version to save for it.

    `seconds` is the duration of its training. It was compared with a model on the embeddings `instead_of`.
    """

    ingest: Ingest
    name: str
    reason: str
    seconds: float
    instead_of: str


class _Layout:
    """Lays the pool out in other embeddings, which takes seconds, in a thread of its own, while the loop learns."""

    def __init__(self, ingest: Ingest) -> None:
        self.ingest = ingest
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._run, name="layout", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.ingest.refresh()
        except Exception as error:  # such as a disk error; the loop's thread reports it and tries again
            self.error = error


class Swap:
    """Puts a replacement in the live model's place. `folder`/serving.json keeps a challenger's over restarts.

    `ingest_by` makes the pool that follows the catalogue, in the embeddings of an embedder.
    """

    def __init__(
        self,
        folder: Path,
        replica: Replica,
        saver: Saver,
        settings: TrainerSettings,
        *,
        second: SecondLook,
        ingest_by: Callable[[Embedder], Ingest],
    ) -> None:
        self.second = second
        self._ingest_by = ingest_by
        self._folder = folder
        self._replica = replica
        self._saver = saver
        self._settings = settings
        self._retired: Embedder | None = None  # still open, because a reader may be using it
        self._coming: _Layout | None = None  # the pool in the second embeddings, once all images have them

    def take_over(
        self, live: LiveModel, replacement: Replacement, evaluate: Callable[[LiveModel, Snapshot], None]
    ) -> LiveModel:
        """Fit, evaluate and save the replacement; the old model is saved as its parent `NAME-base`.

        Writing serving.json commits the swap. After a kill or an error before that, the old model stays live. Running
        it again saves nothing twice. Raises Outdated if the images or their features are others now.
        """
        try:
            new = self._install(live, replacement, evaluate)
        except Exception:
            replacement.ingest.embedder.close()
            raise
        self._retire(live)
        logger.info("%s: %s", replacement.name, replacement.reason)
        return new

    def looks_again(self, live: LiveModel) -> bool:
        """Whether `look_again` has something to do now."""
        if self._coming is not None and self._coming.thread.is_alive():
            return False
        boxes = task_named(self._replica.fold.task.name).learns_from_images
        due = self.second.due(live.embedder, live.pool, wanted=live.serving is None and not boxes)
        if not due:
            self._coming = None  # images came, a challenger took over, or the setting changed
        return due

    def look_again(self, live: LiveModel) -> LiveModel:
        """Do a step of the second look. Returns the model on its embeddings when all images have them, `live` before.

        Raises OSError if the disk refuses; then `live` stays.
        """
        embedder, coming, self._coming = self.second.embedder, self._coming, None
        if coming is None:
            if live.pool is None:
                return live
            task = task_named(self._replica.fold.task.name)
            # The other work of idle time goes first, because it is short.
            prepare(live.pool, live.model, task, seed=self._settings.seed)
            if self.second.step(live.pool, self._replica.images) and embedder is not None:
                self._coming = _Layout(self._ingest_by(embedder))
            return live
        snapshot = Snapshot.of(self._replica)
        if coming.error is not None:
            raise coming.error
        new = LiveModel(coming.ingest, latest=live.latest)
        new.ingest.look_again()  # the log tells only the live pool which images changed their split
        new.ingest.refresh()
        if snapshot is None or new.pool is None or live.pool is None or not new.pool.has(live.pool.ids).all():
            return live  # images came, which the next step embeds
        weigh(new.pool, snapshot)
        new.model = fit(new.pool, snapshot, None, seed=self._settings.seed)
        self.second.taken()
        self._retire(live)
        logger.info("The features come from three views of each image now.")
        return new

    def start_over(self) -> None:
        """Forget what was laid out for another log, whose ids belong to other images."""
        self._coming = None
        self.second.start_over()

    def close(self) -> None:
        """Close the files of the replaced embeddings, and of those that are not complete."""
        if self._coming is not None:
            self._coming.thread.join(CLOSE_SECONDS)
        self.second.close()
        if self._retired is not None:
            self._retired.close()

    def _retire(self, live: LiveModel) -> None:
        if self._retired is not None:
            self._retired.close()
        self._retired = live.embedder

    def _install(
        self, live: LiveModel, replacement: Replacement, evaluate: Callable[[LiveModel, Snapshot], None]
    ) -> LiveModel:
        if live.embedder.key != replacement.instead_of:
            raise Outdated("It was compared with features that the live model no longer uses.")
        snapshot = Snapshot.of(self._replica)
        replacement.ingest.look_again()  # the log tells only the live pool which images changed their split
        replacement.ingest.refresh()
        pool = replacement.ingest.pool
        if snapshot is None or pool is None:
            raise Outdated("The images that the challenger learned from are gone.")
        weigh(pool, snapshot)
        model = fit(pool, snapshot, None, seed=self._settings.seed)
        if model is None:
            raise Outdated("The labels that the challenger learned are gone.")
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
