"""The engine on a Ray cluster: the trainer is a client of the cluster, and its workers are actors in it.

A process that is part of a cluster would end with the cluster. A client gets an error within seconds and continues
alone. Workers only have copies: a lost worker is restarted and gets its rows again. If the cluster is lost, the trainer
tries to reach it again, with growing pauses. Ray's usage statistics are off. Ray pickles what it sends, so the cluster
must be as trusted as this machine.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from shared.settings.services import TrainerSettings
from shared.wire.images import ImageEntry
from trainer.columns.spread_rows import Function, Ids, SpreadRows
from trainer.embeddings.backbones.backbone import Backbone
from trainer.engine.engine import Embedded, Matrix
from trainer.engine.image_batches import ImageBatches
from trainer.engine.ray_cluster import Away, RayCluster, RayCrew
from trainer.engine.shards import LEAST, Shards
from trainer.engine.workers import ImageEmbedder, RowHolder

log = logging.getLogger(__name__)

PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds between attempts to reach a cluster that is away."""
LOOK_SECONDS = 10.0
"""Seconds between two checks of the cluster's machines."""
FEED_SECONDS = 5.0
"""Seconds during which rows are sent before the next check."""
GPU_BATCH = 256
"""Batch size for a worker with a GPU."""
CLOSE_SECONDS = 2.0
"""Seconds that a shutdown waits for the thread, which disconnects by itself."""


class RayEngine:
    """Workers on the cluster at settings.ray_address. Its thread looks for them and sends them rows."""

    spreads = True

    def __init__(self, settings: TrainerSettings, *, least: int = LEAST) -> None:
        """The workers compute over this many rows or more."""
        self._settings = settings
        self._least = least
        self._cluster = RayCluster(settings.ray_address)
        self._shards: Shards | None = None  # None while the cluster is away
        self._batches: tuple[str, ImageBatches] | None = None  # by the backbone's key
        self._failed_key = ""  # of a backbone that no worker can load
        self._reason: str | None = "it has not answered yet"
        self._trouble: str | None = None
        self._closing = threading.Event()
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ray", daemon=True)

    @property
    def problem(self) -> str | None:
        """Why the workers are not used now, as a sentence for a person."""
        if self._reason is not None:
            return (
                f"The Ray cluster at {self._settings.ray_address} is away ({self._reason}). The trainer continues "
                "alone, more slowly, and tries to reach it at least once a minute."
            )
        batches = self._batches
        unread = batches[1].trouble if batches is not None else None
        if unread is not None:
            return (
                f"The workers of the Ray cluster cannot read the images (it {unread}). The trainer embeds them alone. "
                "Let the workers reach the labeler or the images, and start the trainer again."
            )
        return self._trouble

    @property
    def machines(self) -> list[str]:
        """The machines of the cluster that have workers."""
        return self._cluster.machines

    @property
    def waiting(self) -> int:
        """Number of needed rows that no worker has yet."""
        shards = self._shards
        return 0 if shards is None else shards.waiting

    @property
    def answered(self) -> int:
        """How often the workers have computed for the trainer."""
        shards = self._shards
        return 0 if shards is None else shards.answered

    @property
    def room(self) -> int:
        """Number of images that the workers can hold at once."""
        batches = self._batches
        return 0 if batches is None or self._shards is None else batches[1].room

    def start(self) -> None:
        """Start to look for the cluster."""
        self._thread.start()

    def close(self) -> None:
        """Release the workers."""
        self._closing.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)  # it may be waiting for a cluster that is away

    def over(self, rows: SpreadRows, function: Function, which: Ids) -> Matrix | None:
        """Compute on the workers that hold these rows; None if no worker holds them."""
        shards = self._shards
        if shards is None:
            return None
        try:
            return shards.over(rows, function, which)
        except Away as error:
            self._lose(shards, error)
        finally:
            if shards.wanted is not None:
                self._news.set()
        return None

    def embed(self, backbone: Backbone, entries: Sequence[ImageEntry]) -> Embedded | None:
        """Embed on the workers; None while there are none."""
        shards = self._shards
        if shards is None:
            return None
        try:
            if self._batches is None or self._batches[0] != backbone.key:
                self._batches = self._hired(backbone)
            if self._batches is None:
                return None
            found = self._batches[1].step(entries)
            if self._batches[1].failing:
                self._give_up(backbone)
        except Away as error:
            self._lose(shards, error)
            return None
        return found

    def _hired(self, backbone: Backbone) -> tuple[str, ImageBatches] | None:
        """Workers for this backbone. Releases those of another backbone."""
        from trainer.embeddings.backbones.saved_backbone import freeze  # torch takes seconds

        if self._failed_key == backbone.key:
            return None
        if self._batches is not None:
            self._cluster.dismiss("images")
        with tempfile.TemporaryDirectory() as folder:
            frozen = freeze(backbone, Path(folder)).read_bytes()
        crew = self._cluster.hire_embedders(ImageEmbedder, self._settings, backbone.key, frozen)
        if crew is None:
            self._failed_key = backbone.key
            self._trouble = "The Ray cluster has no free processor or GPU to embed images. The trainer embeds them."
            return None
        self._trouble = None
        size = max(self._settings.batch_size, GPU_BATCH) if crew.on_gpus else self._settings.batch_size
        return backbone.key, ImageBatches(crew, backbone.dim, size)

    def _give_up(self, backbone: Backbone) -> None:
        self._cluster.dismiss("images")
        self._batches, self._failed_key = None, backbone.key
        self._trouble = (
            "The workers of the Ray cluster embed no images: their logs say why, such as a missing package. The "
            "trainer embeds them alone. Start it again when they can."
        )
        log.warning("%s", self._trouble)

    def _lose(self, shards: Shards, error: Exception) -> None:
        """Note that the cluster does not answer. Logs it once."""
        if self._shards is shards:
            self._shards, self._batches, self._reason = None, None, str(error)
            log.warning("%s", self.problem)
            self._news.set()

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        failures = 0
        while not self._closing.is_set():
            shards = self._shards
            if shards is None:
                failures = 0 if self._begin() else failures + 1
                self._rest(PAUSES[min(failures, len(PAUSES)) - 1] if failures else 0.0)
                continue
            try:
                wanted = shards.wanted
                if wanted is not None and shards.feed(wanted, FEED_SECONDS) and shards.wanted is wanted:
                    shards.wanted = None
                if self._cluster.changed():
                    log.info("The machines of the Ray cluster have changed; its workers start again.")
                    self._shards, self._batches, self._failed_key = None, None, ""
                    continue
            except Away as error:
                self._lose(shards, error)
                continue
            self._rest(LOOK_SECONDS if shards.wanted is None else 0.5)
        self._cluster.close()

    def _rest(self, seconds: float) -> None:
        self._news.wait(seconds)
        self._news.clear()

    def _begin(self) -> bool:
        """Connect and start workers; returns whether there are any now."""
        try:
            self._cluster.connect()
            holders: RayCrew = self._cluster.hire_holders(RowHolder)
        except Away as error:
            self._reason = str(error)
            return False
        self._shards, self._reason, self._failed_key = Shards(holders, least=self._least), None, ""
        log.info("The trainer now uses the Ray cluster at %s.", self._settings.ray_address)
        return True
