"""The engine on a Ray cluster: the trainer stays outside, as a client, and its workers are actors of the cluster.

As a client, because a process that is a part of the cluster ends with it. A client sees an error within seconds, and
goes on alone. Everything here is a copy or can be done again: a lost worker is started again and is sent its rows, a
lost cluster is looked for again with growing pauses. Ray's statistics of usage are off. Ray pickles what it sends, so a
cluster must be trusted as this machine is.
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
"""Seconds until a cluster that is away is looked for again."""
LOOK_SECONDS = 10.0
"""Between two looks at the machines of the cluster."""
FEED_SECONDS = 5.0
"""For how long rows are sent before the next look."""
GPU_BATCH = 256
"""Images that a worker with a GPU gets at once."""
CLOSE_SECONDS = 2.0
"""For which a shutdown waits for the thread, which then disconnects by itself."""


class RayEngine:
    """Workers on the cluster at settings.ray_address. Its thread looks for them and sends them rows."""

    spreads = True

    def __init__(self, settings: TrainerSettings, *, least: int = LEAST) -> None:
        """Workers are asked to compute over at least so many rows."""
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
        """Why the workers do not work now, as a sentence for a person."""
        if self._reason is not None:
            return (
                f"The Ray cluster at {self._settings.ray_address} is away ({self._reason}). The trainer goes on alone, "
                "more slowly, and looks for it again at least once a minute."
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
        """Rows that are wanted and that no worker has yet."""
        shards = self._shards
        return 0 if shards is None else shards.waiting

    @property
    def answered(self) -> int:
        """How often the workers have computed."""
        shards = self._shards
        return 0 if shards is None else shards.answered

    @property
    def room(self) -> int:
        """Images that the workers can have in hand at once."""
        batches = self._batches
        return 0 if batches is None or self._shards is None else batches[1].room

    def start(self) -> None:
        """Look for the cluster."""
        self._thread.start()

    def close(self) -> None:
        """Let the workers go."""
        self._closing.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)  # it may be waiting for a cluster that is away

    def over(self, rows: SpreadRows, function: Function, which: Ids) -> Matrix | None:
        """By the workers that hold these rows; None while they do not."""
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
        """By the workers; None while there are none."""
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
        """Workers for this backbone. Those of another one are let go."""
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
        """The cluster does not answer. Only the first one to notice says so."""
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
                    log.info("The machines of the Ray cluster have changed; its workers begin anew.")
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
        """Connect and hire; returns whether there are workers now."""
        try:
            self._cluster.connect()
            holders: RayCrew = self._cluster.hire_holders(RowHolder)
        except Away as error:
            self._reason = str(error)
            return False
        self._shards, self._reason, self._failed_key = Shards(holders, least=self._least), None, ""
        log.info("The Ray cluster at %s works for the trainer.", self._settings.ray_address)
        return True
