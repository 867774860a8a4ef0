"""Embeds the images of the pool batch by batch: fetch, decode, forward pass, store. It knows no labels.

The trainer's loop calls `step` repeatedly and fits a head whenever labels arrive, so a step is short: one batch. While
a batch is in the network, threads already fetch and decode the next one, also between two calls. For a GPU, processes
do this, because threads of one interpreter are too slow. An unreadable image is recorded as a problem with its reason
and blocks nothing. If the vectors come from a file, no image is read and the store contains copies of the file's rows,
keyed by content hash.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
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
from trainer.columns.hash_index import Hashes, as_hashes
from trainer.embeddings.auto_choice import Choice, Chooser, recall, remember
from trainer.embeddings.backbones import pixels
from trainer.embeddings.backbones.backbone import Backbone, are_here, is_auto, load_auto, load_backbone
from trainer.embeddings.backbones.pixels import PixelBackbone
from trainer.embeddings.backbones.preparation import Preprocessing
from trainer.embeddings.decoding.preparing import Fetch
from trainer.embeddings.decoding.read_ahead import ReadAhead
from trainer.embeddings.precomputed import OwnVectors
from trainer.embeddings.store import LARGEST, EmbeddingStore
from trainer.engine.engine import Engine, LocalEngine
from trainer.gpu.memory import give_back

log = logging.getLogger(__name__)

COLLECT_SECONDS = 0.5
"""Seconds that one step may spend on reading images to fit `pixels`, while there is nothing else to do."""
STEP_SECONDS = 0.3
"""Target duration of a batch, because a person's new label waits for it. A batch of 32 took 2 to 6 s on two cores."""
LEAST = 4
"""Size of the first batch, while the speed is unknown, and minimum size."""
READ_BYTES = 512 * 2**20
"""Memory for the images of a step on a GPU and of the next one."""
COPIED = 8_192
"""Vectors copied from a file in one step: each step waits for the disk."""
SEEN = 50_000
"""Pending images that `step` looks at until there is a backbone, to find train images for `pixels`."""
RATE_WINDOW = 30.0
"""Seconds over which the rate for `seconds_left` is measured."""


class Embedder:
    """Embeddings of images, stored under `folder`/<backbone key>. One thread calls `step`; any thread may read.

    `fetch` returns the content of an image or raises ImageProblem; several threads call it. A given `backbone` replaces
    the one in the settings. If the settings say `auto`, `remembered` is the choice of an earlier start (default: the
    one stored in this folder). `on_backbone` is called with the chosen backbone. Workers of the `engine`
    embed as many images as they can. Raises SettingsError if the backbone or the file of vectors is not available.
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
        engine: Engine | None = None,
    ) -> None:
        self.engine: Engine = engine or LocalEngine()
        self.problems: dict[int, str] = {}  # image id → reason
        self.lacks: str | None = None  # why nothing can be embedded until more images arrive
        self._settings = settings
        self._folder = folder
        self._on_backbone = on_backbone
        self._fetch = fetch
        self._limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
        self._reader = ReadAhead(fetch, self._limits)
        self._sample: dict[str, npt.NDArray[np.uint8]] = {}  # train images to fit `pixels` on
        self._recent: deque[tuple[float, int]] = deque()  # (time, images embedded)
        self._batch = min(LEAST, settings.batch_size)  # images of the next one
        self._store: EmbeddingStore | None = None
        self._backbone: Backbone | None = None
        self._chooser: Chooser | None = None  # not None while `auto` is undecided
        self._held = False  # the GPU's memory for a batch
        self._small = False  # `auto` chose `pixels` because the images are small, so that a network would add nothing
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
        """The source of vectors; None while `pixels` waits for train images to fit on."""
        return self._own or self._backbone

    @property
    def resolved(self) -> ResolvedBackbone | None:
        """The backbone and the source of its weights; None until it is loaded, and for vectors from a file."""
        return self._backbone.resolved if self._backbone is not None else None

    @property
    def dim(self) -> int:
        """Length of a vector; 0 until there is a backbone."""
        return self.backbone.dim if self.backbone else 0

    @property
    def blocks(self) -> tuple[int, ...]:
        """Lengths of the blocks of features in a vector; () until there is a backbone."""
        return self.backbone.blocks if self.backbone else ()

    @property
    def key(self) -> str:
        """Identifies backbone, weights, size and normalisation; "auto" or "pixels" until there is a backbone."""
        if self._chooser is not None:
            return "auto"
        return self.backbone.key if self.backbone else "pixels"

    @property
    def banner(self) -> str | None:
        """A notice about this backbone for the person, or None."""
        if self._chooser is not None or self._small:
            return None
        return self.backbone.banner if self.backbone else pixels.BANNER

    @property
    def appetite(self) -> int:
        """How many pending entries `step` can use."""
        if self._own is not None:
            return COPIED
        return max(4 * self._most, 2 * self.engine.room) if self._backbone is not None else SEEN

    def step(self, pending: Sequence[ImageEntry], *, more_coming: bool) -> list[ImageEntry]:
        """Embed one batch: the first of `pending` that have neither a vector nor a known problem.

        Returns all entries that have a vector now, including those already in the store. `more_coming` says that the
        catalogue is incomplete, so that `pixels` waits for more train images to fit on. Pass as many as the
        `appetite` says. Raises OSError if the disk refuses.
        """
        if self._chooser is not None:
            choice = self._chooser.step(pending, more_coming=more_coming)
            if choice is None:
                return []
            self._chooser = None
            self._small = choice.small_images
            if choice.backbone is not None:
                self._use(choice.backbone)
        if self.backbone is None:
            self._collect(pending, more_coming)
        if self._store is None:
            return []
        done: list[ImageEntry] = []
        missing: list[ImageEntry] = []  # this batch and the next one
        most = COPIED if self._own is not None else max(self._window, self.engine.room)
        there = self._store.known(as_hashes([entry.sha256 for entry in pending]))
        for entry, has_vector in zip(pending, there.tolist(), strict=True):
            if has_vector:
                done.append(entry)
            elif entry.id not in self.problems:
                missing.append(entry)
                if len(missing) == most:
                    break
        if self._own is not None:
            return done + self._copy(missing, self._own, self._store)
        found = self.engine.embed(self._backbone, missing) if self._backbone is not None and missing else None
        if found is not None:
            done += self._keep(found.entries, found.vectors, self._store)
            missing = [entry for entry in missing if entry.id in found.here]
        missing = missing[: self._window]
        began = time.monotonic()
        taken = self._take(missing)
        if taken and self._backbone is not None:
            began = time.monotonic() if self._backbone.at_once else began  # on a GPU, reading does not count
            vectors = self._backbone.embed([prepared for _, prepared in taken])
            done += self._keep([entry for entry, _ in taken], vectors, self._store)
            self._fit_batch(len(taken), time.monotonic() - began)
            self._held = self._backbone.at_once > 0
        elif self._held and not missing:
            self._held = False
            give_back()  # a challenger may need it
        return done

    def has(self, sha256: str) -> bool:
        """Whether there is a vector for this content hash."""
        return self._store is not None and sha256 in self._store

    def known(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Which of these content hashes (n, 32) have a vector."""
        return self._store.known(hashes) if self._store is not None else np.zeros(len(hashes), bool)

    def read(self, sha256s: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors (n, dim) by content hash, in the given order. Raises KeyError for a missing one."""
        if self._store is None:
            raise KeyError(next(iter(sha256s), "no backbone yet"))
        return self._store.read(sha256s)

    def embed_images(self, images: Sequence[bytes]) -> npt.NDArray[np.float32]:
        """Vectors (n, dim) of images outside the pool, in the given order; nothing is stored.

        Raises ImageProblem, with the number of the image, if one cannot be opened; ValueError if vectors come from a
        file; RuntimeError until there is a backbone.
        """
        if self._own is not None:
            raise ValueError(
                f"The embeddings come from {self._own.path.name} (setting 'embeddings') and not from a network: only "
                "catalogued images can be predicted."
            )
        backbone = self._backbone
        if backbone is None:
            raise RuntimeError("There is no backbone yet: it waits for train images to fit on.")
        size = max(self._settings.batch_size, backbone.at_once)
        vectors = [np.empty((0, backbone.dim), dtype=np.float32)]
        for start in range(0, len(images), size):
            opened = self._reader.open(images[start : start + size], self._open)
            inputs, wrong = [], ""
            for number, future in enumerate(opened, start + 1):
                try:
                    inputs.append(future.result())
                except ImageProblem as problem:
                    wrong = wrong or f"(number {number}) {problem}"
            del opened, future  # break the cycle of futures and error, which would wait for the garbage collector
            if wrong:
                raise ImageProblem(wrong)
            vectors.append(backbone.embed(inputs))
        return np.concatenate(vectors)

    def progress(self, total: int) -> EmbeddingProgress:
        """How many of `total` images are embedded, and the time left at the rate of the last 30 seconds.

        `done` counts stored vectors, including those of images that have left the catalogue.
        """
        done, problems = min(len(self._store) if self._store else 0, total), len(self.problems)
        now, seconds_left = time.monotonic(), None
        recent = [each for each in list(self._recent) if now - each[0] <= RATE_WINDOW]
        if len(recent) > 1 and now > recent[0][0]:
            rate = sum(count for _, count in recent[1:]) / (now - recent[0][0])
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
        """Forget all problems, so that the images are tried again."""
        self.problems.clear()

    def close(self) -> None:
        """Stop the threads and processes, and close the store."""
        self._reader.close()
        if self._store is not None:
            self._store.close()

    # ------------------------------------------------------------ one batch

    def _take(self, entries: Sequence[ImageEntry]) -> list[tuple[ImageEntry, npt.NDArray[Any]]]:
        """The first batch of `entries` as network inputs, without problems; the rest is read ahead.

        On a GPU, the batch is what arrives in time, because a GPU is faster than reading.
        """
        backbone = self._backbone
        known = self._sample if backbone is not None else None
        if backbone is not None and backbone.at_once:
            way = (entries, self._batch, self._preprocessing, self.problems)
            return self._reader.take(*way, known=known, seconds=STEP_SECONDS, processes=True)
        return self._reader.take(entries, self._batch, self._preprocessing, self.problems, known=known)

    @property
    def _preprocessing(self) -> Preprocessing:
        backbone = self._backbone
        return backbone.preprocessing if backbone else pixels.preprocessing(pixels.input_size(self._settings))

    @property
    def _most(self) -> int:
        """Maximum batch size: on a GPU, as many as fit into its memory and into READ_BYTES."""
        backbone = self._backbone
        if backbone is None or not backbone.at_once:
            return self._settings.batch_size
        return max(backbone.at_once, READ_BYTES // (2 * 3 * backbone.input_size**2))

    @property
    def _window(self) -> int:
        """Images that are read at a time: this batch and the next one, or as many as may be read for a GPU."""
        return 2 * (self._most if self._backbone is not None and self._backbone.at_once else self._batch)

    def _fit_batch(self, images: int, seconds: float) -> None:
        """Choose the size of the next batch: up to twice this one, and within STEP_SECONDS."""
        least = LEAST // getattr(self._backbone, "looks", 1)  # each look at an image takes as long
        fitting = max(int(STEP_SECONDS * images / max(seconds, 1e-9)), least)
        at_once = self._backbone.at_once if self._backbone is not None else 0
        if 0 < at_once < fitting:
            fitting -= fitting % at_once  # whole batches
        self._batch = min(fitting, 2 * self._batch, self._most)

    def _copy(self, entries: Sequence[ImageEntry], own: OwnVectors, store: EmbeddingStore) -> list[ImageEntry]:
        """Copy the vectors of `entries` from the file; entries without a vector become problems."""
        known = own.known([entry.uri for entry in entries]).tolist()
        found = [entry for entry, there in zip(entries, known, strict=True) if there]
        lacking = (entry.id for entry, there in zip(entries, known, strict=True) if not there)
        self.problems |= dict.fromkeys(lacking, f"has no vector in {own.path.name}")
        return self._keep(found, own.vectors([entry.uri for entry in found]), store) if found else []

    def _keep(
        self, entries: Sequence[ImageEntry], vectors: npt.NDArray[np.float32], store: EmbeddingStore
    ) -> list[ImageEntry]:
        """Store `vectors` (n, dim) and return the entries that have one now; unusable vectors become problems."""
        usable = np.abs(vectors).max(axis=1) < LARGEST  # False for NaN
        kept = []
        for entry, fine in zip(entries, usable, strict=True):
            if fine:
                kept.append(entry)
            else:
                self.problems[entry.id] = "gets infinite or too large numbers from the backbone"
        store.append([entry.sha256 for entry in kept], vectors[usable])
        now = time.monotonic()
        self._recent.append((now, len(entries)))
        while now - self._recent[0][0] > RATE_WINDOW:
            self._recent.popleft()
        return kept

    def _open(self, data: bytes) -> npt.NDArray[Any]:
        return self._preprocessing.read(data, self._limits)

    # ------------------------------------------------------------ the backbone

    def _begin_auto(self, remembered: ResolvedBackbone | None) -> Backbone | None:
        """The network of an earlier start if its weights are here; otherwise start the Chooser and return None."""
        known = recall(self._folder)
        remembered = remembered or (known[0] if known is not None else None)
        if remembered is not None and remembered.weights != "none" and are_here(remembered):
            resolved, backbone = load_auto(self._settings, self._folder, remembered=remembered)
            remember(self._folder, Choice(resolved, backbone, small_images=False))  # jobs read it there
            return backbone
        if known is not None and known[0].weights == "none":
            self._small = known[1]
            return load_auto(self._settings, self._folder, small_images=True)[1]
        self._chooser = Chooser(self._settings, self._folder, self._fetch, self.problems, remembered)
        return None

    def _downloading(self) -> Downloading | None:
        now = getattr(self._chooser, "download", None)  # read once: the loop's thread may end the choice meanwhile
        return Downloading(name=now.name, done_bytes=now.done, total_bytes=now.total) if now is not None else None

    def _use(self, backbone: Backbone) -> None:
        self._store = EmbeddingStore(self._folder / backbone.key, backbone.dim)
        self._backbone = backbone
        backbone.compile_in(self._folder)
        self._batch = max(self._batch, backbone.at_once)
        self._on_backbone(backbone.resolved)

    def _collect(self, pending: Sequence[ImageEntry], more_coming: bool) -> None:
        """Read train images for `pixels` for a short time; fit it once there are enough or no more will come."""
        train = [entry for entry in pending if entry.split == "train"]  # never test or validation images
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
    """Why these prepared images cannot be compared by their pixels, or None if they can."""
    if not sample:
        return "None of the train images can be opened: add others."
    if len(sample) == 1:
        return "There is only one train image, too few to compare images by their pixels: add others."
    if all(np.array_equal(each, sample[0]) for each in sample[1:]):
        return f"All {len(sample):,} train images are the same picture: add others."
    return None
