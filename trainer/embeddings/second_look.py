"""Embeds every image of a pool a second time, in three views, while the trainer has nothing else to do.

The first pass must be quick, because a person waits for it. The second one takes three times as long and is worth it
later: three views gain 2 points of accuracy on hand signs, and 0.4 on clothes and monkeys
(docs/measurements/experiments.md, "Several views of a photo"). The first vectors stay live until every image of the
pool has its second one. Then the loop takes the new embeddings over, and this is for good: new images get all views at
once.

Vectors are on disk, so a restart continues where it was.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from shared.figures import duration, megabytes
from shared.settings.services import TrainerSettings
from shared.storage.whole_files import write_whole
from shared.wire.images import ImageEntry
from shared.wire.trainer import SecondLookView
from trainer.columns.hash_index import HASH_BYTES
from trainer.columns.id_index import Ids, as_ids
from trainer.embeddings.decoding.preparing import Fetch
from trainer.embeddings.embedder import Embedder
from trainer.embeddings.space import ImagePool
from trainer.engine.engine import Engine

MOST = 50_000
"""Maximum number of images for `auto`. Their second features take 0.7 GB on the disk."""
LONGEST_SECONDS = 2 * 3_600.0
"""Maximum duration for `auto`."""
TIMED_SECONDS = 20.0
"""Seconds of embedding after which the duration is known well enough."""
RETRY_SECONDS = 30.0
"""Seconds until images that could not be read are tried again."""
SPARED = 256 * 2**20
"""Bytes of the disk that stay free for labels and models."""
NONE = np.empty(0, np.int64)


class SecondLook:
    """The second embeddings, in `folder` beside the first ones. Only the loop's thread uses it, except for `view`.

    `fetch` and `engine` are as for an `Embedder`.
    """

    def __init__(self, settings: TrainerSettings, folder: Path, fetch: Fetch, engine: Engine | None = None) -> None:
        self.embedder: Embedder | None = None  # from the first `due` that is True until `taken`
        self._settings = settings
        self._folder = folder
        self._fetch = fetch
        self._engine = engine
        self._view: SecondLookView | None = None
        self._waiting: Ids = NONE  # images without a second vector, as of the last look
        self._images = 0  # of the pool at that look
        self._not_before = 0.0  # when images are tried again that could not be read
        self._spent, self._seen = 0.0, 0  # seconds of embedding, and how many images it embedded in them
        self._too_long = ""  # how long it would take, if that is too long

    @property
    def view(self) -> SecondLookView | None:
        """How far it is; the time left is that of the last seconds. From any thread."""
        view, embedder = self._view, self.embedder
        if view is None or embedder is None or view.state != "embedding":
            return view
        left = embedder.progress(view.total).seconds_left if view.done + view.problems < view.total else None
        return view.model_copy(update={"seconds_left": left})

    def due(self, first: Embedder, pool: ImagePool | None, *, wanted: bool = True) -> bool:
        """Whether `step` has something to do for the images of `pool`, which have their vectors from `first`.

        `wanted`: the live model is one that a second look can improve.
        """
        version = getattr(first.backbone, "version", 0)  # of the features; other sources of vectors have none
        if not version or pool is None:
            self._view = None
            return False
        from trainer.embeddings.backbones.feature_blocks import VERSION, VIEWS  # torch takes seconds

        if version == VIEWS:
            self._view = SecondLookView(state="used", done=len(pool), total=len(pool))
        elif version != VERSION or not wanted:  # a project from before keeps its features
            self._view = None
            self.close()
        elif reason := self._reason(len(pool)):
            self._view = SecondLookView(state="off", message=reason)
        elif not pool.complete:
            self._view = SecondLookView(state="waiting", total=len(pool))
        else:
            embedder = self.embedder = self.embedder or self._opened(first)
            if reason := self._no_room(embedder, len(pool)):
                self._view = SecondLookView(state="off", message=reason)
                return False
            return time.monotonic() >= self._not_before
        return False

    def step(self, pool: ImagePool, entries_of: Callable[[list[int]], list[ImageEntry]]) -> bool:
        """Embed one batch. Returns whether every image of the pool has its second vector.

        Raises OSError if the disk refuses.
        """
        embedder = self.embedder
        if embedder is None:
            return False
        if not len(self._waiting) or len(pool) != self._images:
            self._waiting, self._images = pool.lacking(embedder.known), len(pool)
        if not len(self._waiting):
            return True
        began = time.monotonic()
        some, rest = self._waiting[: embedder.appetite], self._waiting[embedder.appetite :]
        entries = entries_of(some.tolist())
        done = {entry.id for entry in embedder.step(entries, more_coming=False)}
        left = [entry.id for entry in entries if entry.id not in done and entry.id not in embedder.problems]
        self._waiting = np.concatenate([np.array(left, np.int64), rest])
        self._spent += time.monotonic() - began
        self._seen += len(done)
        self._tell(embedder, pool)
        if not len(self._waiting) and embedder.problems:
            self._not_before = time.monotonic() + RETRY_SECONDS
            embedder.retry()
        return False

    def taken(self) -> None:
        """Note that the second embeddings are live: after a restart, the embedder is theirs. Raises OSError."""
        embedder = self.embedder
        if embedder is not None:
            from trainer.embeddings.backbones.torch_networks import IN_USE

            write_whole(self._folder / embedder.key / IN_USE, b"")
            self.embedder = None

    def start_over(self) -> None:
        """Start over, because ids now belong to other images. Vectors stay, because they are keyed by content."""
        self._view, self._waiting, self._not_before = None, NONE, 0.0
        if self.embedder is not None:
            self.embedder.retry()

    def close(self) -> None:
        """Close the files, unless they have been taken."""
        embedder, self.embedder, self._waiting = self.embedder, None, NONE
        if embedder is not None:
            embedder.close()

    def _reason(self, images: int) -> str:
        """Why there is no second look, as a sentence, or nothing."""
        settings = self._settings
        if settings.second_look == "off":
            return "Off (setting 'second_look')."
        if settings.text_network:
            return "Off: the text network needs the features of the image alone."
        if settings.second_look == "auto" and images > MOST:
            return f"Off: this project has more than {MOST:,} images (setting 'second_look', auto)."
        if settings.second_look == "auto" and self._too_long:
            return (
                f"Off: it would take about {self._too_long} on this computer, more than "
                f"{duration(LONGEST_SECONDS)} (setting 'second_look', auto)."
            )
        return ""

    def _no_room(self, embedder: Embedder, images: int) -> str:
        """Why the vectors do not fit on the disk, as a sentence, or nothing: labels need its space more."""
        left = images - embedder.progress(images).done
        needed = left * (2 * embedder.dim + HASH_BYTES)
        free = shutil.disk_usage(self._folder).free
        if not left or needed + SPARED <= free:
            return ""
        return (
            f"Off: its features need {megabytes(needed)} on the disk, of which {megabytes(free)} are free. "
            f"{megabytes(SPARED)} are kept for labels."
        )

    def _opened(self, first: Embedder) -> Embedder:
        from trainer.embeddings.backbones.feature_blocks import VIEWS
        from trainer.embeddings.backbones.torch_networks import TorchBackbone

        backbone = first.backbone
        assert isinstance(backbone, TorchBackbone)  # noqa: S101 - only such a backbone has a version
        settings, folder = self._settings, self._folder
        several = backbone.in_version(VIEWS)
        return Embedder(settings, folder, self._fetch, backbone=several, engine=self._engine)

    def _tell(self, embedder: Embedder, pool: ImagePool) -> None:
        images, waiting = len(pool), len(self._waiting)
        problems = int(pool.has(as_ids(embedder.problems)).sum())
        self._view = SecondLookView(
            state="embedding", done=max(images - waiting - problems, 0), total=images, problems=problems
        )
        # By the seconds of embedding alone: those in which somebody labels say nothing about this computer.
        left = waiting * self._spent / max(self._seen, 1)
        if left > LONGEST_SECONDS and self._spent >= TIMED_SECONDS:
            self._too_long = duration(left)
