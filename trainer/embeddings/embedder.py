"""Embeds the pool a batch at a time beside other work: fetch, decode, one forward pass, store. Knows no labels.

The trainer's one loop calls `step` again and again, and fits a head whenever labels came, so that a step must be short:
one batch. While a batch is in the network, threads already fetch and decode the next one, and go on between two calls.
An image that cannot be read is a problem with a reason, and blocks nothing. Where the vectors come from a file, no
image is read at all, and the store holds copies of its rows by content.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.backbone import ResolvedBackbone
from shared.images.opening import ImageLimits, ImageProblem
from shared.settings.services import TrainerSettings
from shared.wire.images import ImageEntry
from shared.wire.trainer import Downloading, EmbeddingProgress
from trainer.embeddings.auto_choice import Choice, Chooser, Fetch, recall, remember
from trainer.embeddings.backbones import pixels
from trainer.embeddings.backbones.backbone import Backbone, are_here, is_auto, load_auto, load_backbone
from trainer.embeddings.backbones.pixels import PixelBackbone
from trainer.embeddings.precomputed import OwnVectors
from trainer.embeddings.store import LARGEST, EmbeddingStore

log = logging.getLogger(__name__)

COLLECT_SECONDS = 0.5
"""How long one step may read images to fit `pixels` on, while there is nothing else to do."""
RATE_WINDOW = 30.0
"""Seconds over which the rate behind `seconds_left` is measured."""


class Embedder:
    """Vectors for images, kept under `folder`/<backbone key>. One thread calls `step`; any may read.

    `fetch` returns an image's content and raises ImageProblem when it cannot; it is called from several threads.
    A `backbone` takes the place of the one that the settings ask for; where they ask for `auto`, `remembered` is what
    that was at an earlier start (else what this folder remembers). `on_backbone` hears which one it is.
    Raises SettingsError when that one, or their file of vectors, cannot be had.
    """

    def __init__(
        self,
        settings: TrainerSettings,
        folder: Path,
        fetch: Fetch,
        *,
        backbone: Backbone | None = None,
        remembered: ResolvedBackbone | None = None,
        on_backbone: Callable[[ResolvedBackbone], None] = lambda _: None,
    ) -> None:
        self.problems: dict[int, str] = {}  # image id → what is wrong with it
        self.lacks: str | None = None  # why nothing can be embedded until other images join
        self._settings = settings
        self._folder = folder
        self._on_backbone = on_backbone
        self._fetch = fetch
        self._limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
        self._threads = ThreadPoolExecutor((os.cpu_count() or 1) + 1, thread_name_prefix="decode")
        self._ahead: dict[tuple[int, str], Future[npt.NDArray[Any]]] = {}  # by image id and hash: begun, not yet taken
        self._sample: dict[str, npt.NDArray[np.uint8]] = {}  # train images that `pixels` will be fitted on
        self._recent: deque[tuple[float, int]] = deque()  # (when, images embedded then)
        self._store: EmbeddingStore | None = None
        self._backbone: Backbone | None = None
        self._chooser: Chooser | None = None  # while it is open what `auto` stands for
        self._own = OwnVectors.load(settings) if settings.embeddings and backbone is None else None
        if self._own is not None:
            self._store = EmbeddingStore(folder / self._own.key, self._own.dim)
            return
        if backbone is None and is_auto(settings):
            backbone = self._begin_auto(remembered)
        elif backbone is None:
            backbone = load_backbone(settings, folder)
        if backbone is not None:
            self._use(backbone)

    @property
    def backbone(self) -> Backbone | OwnVectors | None:
        """Where vectors come from; None while `pixels` waits for train images to be fitted on."""
        return self._own or self._backbone

    @property
    def resolved(self) -> ResolvedBackbone | None:
        """What the backbone is and where its weights came from; None while there is none, and for vectors of a file."""
        return self._backbone.resolved if self._backbone is not None else None

    @property
    def dim(self) -> int:
        """Numbers in a vector; 0 while there is no backbone."""
        return self.backbone.dim if self.backbone else 0

    @property
    def key(self) -> str:
        """Names backbone, weights, size and normalisation; "auto" or "pixels" while there is no backbone yet."""
        if self._chooser is not None:
            return "auto"
        return self.backbone.key if self.backbone else "pixels"

    @property
    def banner(self) -> str | None:
        """What a person should know about this backbone."""
        if self._chooser is not None:
            return None
        return self.backbone.banner if self.backbone else pixels.BANNER

    def step(self, pending: Sequence[ImageEntry], *, more_coming: bool) -> list[ImageEntry]:
        """Embed one batch: the first of `pending` that have no vector and are no known problem.

        Returns the entries that now have a vector, those found in the store on the way too. `more_coming`: the
        catalogue is not complete yet, so that `pixels` waits for the train images that it wants to be fitted on; until
        it is fitted, pass all that is pending. Raises OSError when the disk refuses.
        """
        if self._chooser is not None:
            choice = self._chooser.step(pending, more_coming=more_coming)
            if choice is None:
                return []
            self._chooser = None
            if choice.backbone is not None:
                self._use(choice.backbone)
        if self.backbone is None:
            self._collect(pending, more_coming)
        if self._store is None:
            return []
        done: list[ImageEntry] = []
        missing: list[ImageEntry] = []  # this batch, and the next one
        for entry in pending:
            if entry.sha256 in self._store:
                done.append(entry)
            elif entry.id not in self.problems:
                missing.append(entry)
                if len(missing) == 2 * self._settings.batch_size:
                    break
        if self._own is not None:
            return done + self._copy(missing, self._own, self._store)
        taken = self._take(missing)
        if taken and self._backbone is not None:
            vectors = self._backbone.embed(np.stack([prepared for _, prepared in taken]))
            done += self._keep([entry for entry, _ in taken], vectors, self._store)
        return done

    def has(self, sha256: str) -> bool:
        """Whether this content has a vector."""
        return self._store is not None and sha256 in self._store

    def read(self, sha256s: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors (n, dim) by content hash, in the order given. Raises KeyError for one that is not there."""
        if self._store is None:
            raise KeyError(next(iter(sha256s), "no backbone yet"))
        return self._store.read(sha256s)

    def embed_images(self, images: Sequence[bytes]) -> npt.NDArray[np.float32]:
        """Vectors (n, dim) of images that are not in the pool, in the order given; nothing is stored.

        Raises ImageProblem, with the image's number, for one that cannot be opened, ValueError where vectors come from
        a file, and RuntimeError while there is no backbone.
        """
        if self._own is not None:
            raise ValueError(
                f"Vectors come from {self._own.path.name} here (setting 'embeddings') and there is no network: only "
                "catalogued images can be predicted."
            )
        backbone = self._backbone
        if backbone is None:
            raise RuntimeError("There is no backbone yet: it waits for train images to be fitted on.")
        size = self._settings.batch_size
        vectors = [np.empty((0, backbone.dim), dtype=np.float32)]
        for start in range(0, len(images), size):
            places = range(start, min(start + size, len(images)))
            opened = [self._threads.submit(lambda place: self._open(images[place]), place) for place in places]
            inputs, wrong = [], ""
            for number, future in enumerate(opened, start + 1):
                try:
                    inputs.append(future.result())
                except ImageProblem as problem:
                    wrong = wrong or f"(number {number}) {problem}"
            del opened, future  # an error that holds them, and they it, would stay until the next collection
            if wrong:
                raise ImageProblem(wrong)
            vectors.append(backbone.embed(np.stack(inputs)))
        return np.concatenate(vectors)

    def progress(self, total: int) -> EmbeddingProgress:
        """How many of `total` images are embedded, and how long the rest takes at the rate of the last half minute.

        `done` counts what is stored, so that images taken out of the catalogue count too.
        """
        done, problems = min(len(self._store) if self._store else 0, total), len(self.problems)
        recent = list(self._recent)
        seconds_left = None
        if len(recent) > 1 and recent[-1][0] > recent[0][0]:
            rate = sum(count for _, count in recent[1:]) / (recent[-1][0] - recent[0][0])
            seconds_left = max(total - done - problems, 0) / rate
        return EmbeddingProgress(
            done=done,
            total=total,
            backbone=self.key,
            seconds_left=seconds_left,
            problems=problems,
            banner=self.banner,
            resolved=self.resolved,
            download=self._downloading(),
            lacks=self.lacks,
        )

    def retry(self) -> None:
        """Forget what could not be read, so that it is tried again."""
        self.problems.clear()

    def close(self) -> None:
        """Stop the threads and let go of the store."""
        self._threads.shutdown(cancel_futures=True)
        if self._store is not None:
            self._store.close()

    # ------------------------------------------------------------ one batch

    def _take(self, entries: Sequence[ImageEntry]) -> list[tuple[ImageEntry, npt.NDArray[Any]]]:
        """The first batch of `entries` as network inputs, but for problems; the rest is begun in the threads."""
        earlier, self._ahead = self._ahead, {}
        for entry in entries:
            key = (entry.id, entry.sha256)
            self._ahead[key] = earlier.pop(key) if key in earlier else self._threads.submit(self._prepare, entry)
        for unwanted in earlier.values():
            unwanted.cancel()
        taken = []
        for entry in entries[: self._settings.batch_size]:
            try:
                taken.append((entry, self._ahead.pop((entry.id, entry.sha256)).result()))
            except ImageProblem as problem:
                self.problems[entry.id] = str(problem)
        return taken

    def _copy(self, entries: Sequence[ImageEntry], own: OwnVectors, store: EmbeddingStore) -> list[ImageEntry]:
        """Take the vectors of `entries` from the file; those that it does not have are problems."""
        found = [entry for entry in entries if own.has(entry.uri)]
        for entry in entries:
            if not own.has(entry.uri):
                self.problems[entry.id] = f"has no vector in {own.path.name}"
        return self._keep(found, own.vectors([entry.uri for entry in found]), store) if found else []

    def _keep(
        self, entries: Sequence[ImageEntry], vectors: npt.NDArray[np.float32], store: EmbeddingStore
    ) -> list[ImageEntry]:
        """Store `vectors` (n, dim), but for those that cannot be; returns the entries that have one now."""
        usable = np.abs(vectors).max(axis=1) < LARGEST  # False for NaN
        kept = []
        for entry, fine in zip(entries, usable, strict=True):
            if fine:
                kept.append(entry)
            else:
                self.problems[entry.id] = "gets numbers from the backbone that are infinite or too large to be kept"
        store.append([entry.sha256 for entry in kept], vectors[usable])
        now = time.monotonic()
        self._recent.append((now, len(entries)))
        while now - self._recent[0][0] > RATE_WINDOW:
            self._recent.popleft()
        return kept

    def _prepare(self, entry: ImageEntry) -> npt.NDArray[Any]:
        """Fetch and decode one image, in a thread. Raises ImageProblem and nothing else."""
        known = self._sample.pop(entry.sha256, None) if self._backbone is not None else None
        if known is not None:
            return known
        try:
            data = self._fetch(entry)
        except ImageProblem:
            raise
        except Exception as error:  # the fetcher is not ours: whatever it raises must not stop the others
            log.warning("Image %d (%s) could not be fetched.", entry.id, entry.uri, exc_info=True)
            raise ImageProblem(f"could not be fetched ({type(error).__name__})") from None
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise ImageProblem("has changed since it was catalogued")
        return self._open(data)

    def _open(self, data: bytes) -> npt.NDArray[Any]:
        backbone = self._backbone
        fitting = pixels.preprocessing(pixels.input_size(self._settings))
        return (backbone.preprocessing if backbone else fitting).read(data, self._limits)

    # ------------------------------------------------------------ the backbone

    def _begin_auto(self, remembered: ResolvedBackbone | None) -> Backbone | None:
        """The network of an earlier start if its weights are here; else it is open until images have been seen."""
        known = recall(self._folder)
        remembered = remembered or (known[0] if known is not None else None)
        if remembered is not None and remembered.weights != "none" and are_here(remembered):
            resolved, backbone = load_auto(self._settings, self._folder, remembered=remembered)
            remember(self._folder, Choice(resolved, backbone, small_images=False))  # for jobs, which read it there
            return backbone
        if known is not None and known[0].weights == "none":
            return load_auto(self._settings, self._folder, small_images=True)[1]
        self._chooser = Chooser(self._settings, self._folder, self._fetch, self.problems, remembered)
        return None

    def _downloading(self) -> Downloading | None:
        now = self._chooser.download if self._chooser is not None else None
        return Downloading(name=now.name, done_bytes=now.done, total_bytes=now.total) if now is not None else None

    def _use(self, backbone: Backbone) -> None:
        self._store = EmbeddingStore(self._folder / backbone.key, backbone.dim)
        self._backbone = backbone
        self._on_backbone(backbone.resolved)

    def _collect(self, pending: Sequence[ImageEntry], more_coming: bool) -> None:
        """Read train images for `pixels`, for a moment; fit it once there are enough, or no more will come."""
        train = [entry for entry in pending if entry.split == "train"]  # never test or validation
        until = time.monotonic() + COLLECT_SECONDS
        while True:
            room = pixels.FIT_IMAGES - len(self._sample)
            new = (entry for entry in train if entry.sha256 not in self._sample and entry.id not in self.problems)
            wanted = list(islice(new, min(room, 2 * self._settings.batch_size)))
            if not wanted or time.monotonic() > until:
                break
            for entry, prepared in self._take(wanted):
                self._sample[entry.sha256] = prepared
        enough = len(self._sample) >= pixels.FIT_IMAGES or not (wanted or more_coming)
        self.lacks = _lacking(list(self._sample.values())) if enough and pending else None
        if enough and self._sample and self.lacks is None:
            backbone = PixelBackbone.fit(list(self._sample.values()), seed=self._settings.seed)
            backbone.save(pixels.path_in(self._folder, self._settings))
            self._use(backbone)


def _lacking(sample: Sequence[npt.NDArray[np.uint8]]) -> str | None:
    """Why these prepared images cannot be compared by their pixels; None where they can."""
    if not sample:
        return "No image here may be learned from and can be opened: add others."
    if len(sample) == 1:
        return "One image to learn from is too few to compare images by their pixels: add others."
    if all(np.array_equal(each, sample[0]) for each in sample[1:]):
        return f"The {len(sample):,} images to learn from are all the same picture: add others."
    return None
