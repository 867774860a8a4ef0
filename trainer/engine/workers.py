"""The code on the workers: one class holds rows, the other embeds images. Neither knows Ray.

A restarted worker is empty and says so. The trainer still has everything that the worker held.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.settings.services import TrainerSettings
from shared.web.auth import TOKEN_VARIABLE, client_headers
from shared.wire.images import ImageEntry
from trainer.columns.half_rows import HalfRows, Matrix
from trainer.columns.spread_rows import CHUNK, Function, computed
from trainer.embeddings.decoding.read_ahead import ReadAhead
from trainer.sync.image_source import Photos
from trainer.sync.labeler_client import LabelerClient

Places = NDArray[np.uint16]
"""Row numbers within a chunk."""
Wanted = tuple[int, Places | None]
"""A chunk, and its rows that are needed; None: all of them."""


class RowHolder:
    """Chunks of the rows of one matrix, as they are stored: float16 or float32."""

    def __init__(self) -> None:
        self._name = ""
        self._chunks: dict[int, NDArray[Any]] = {}
        self._filled: dict[int, int] = {}

    def hold(self, name: str, chunk: int, start: int, rows: NDArray[Any]) -> bool:
        """Append `rows` (n, D) to a chunk that has `start` rows. False if it has another number: then send it again.

        Rows under a new name replace all rows that are here.
        """
        if name != self._name:
            self._name, self._chunks, self._filled = name, {}, {}
        if self._filled.get(chunk, 0) < start:
            return False
        kept = self._chunks.setdefault(chunk, np.empty((CHUNK, rows.shape[1]), rows.dtype))
        kept[start : start + len(rows)] = rows
        self._filled[chunk] = start + len(rows)
        return True

    def over(self, name: str, function: Function, wanted: Sequence[Wanted]) -> Matrix | None:
        """Apply `function` to rows of some chunks; returns all results (n, …), or None if some rows are missing."""
        parts = []
        for chunk, places in wanted:
            filled = self._filled.get(chunk, 0) if name == self._name else 0
            last = filled - 1 if places is None else int(places[-1])
            if last >= filled or not filled:
                return None
            kept = self._chunks[chunk][:filled]
            which = np.arange(filled) if places is None else places.astype(np.int64)
            parts.append((kept if kept.dtype == np.float32 else HalfRows(kept), which))
        return computed(parts, function)


class ImageEmbedder:
    """Reads images and embeds them with a backbone that is sent as a file. Two calls at once overlap: one reads while
    the other embeds.

    It reads an image where the trainer would: from a store of the project, a folder that this machine has too, or from
    the labeler, with the token in the environment.
    """

    def __init__(self, settings: TrainerSettings, key: str, frozen: bytes) -> None:
        from trainer.embeddings.backbones.saved_backbone import own_network, rebuild  # torch takes seconds
        from trainer.embeddings.backbones.torch_networks import device_named

        own = own_network(settings.model_fn) if settings.model_fn else None
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / f"{key}.safetensors").write_bytes(frozen)
            self._backbone = rebuild(Path(folder), key, device_named("auto"), model_fn=own)
        patience, token = settings.labeler_timeout_seconds, os.environ.get(TOKEN_VARIABLE) or None
        client = LabelerClient(settings.labeler_url, timeout_seconds=patience, headers=client_headers(token))
        photos = Photos(settings, client)
        self._reader = ReadAhead(photos.fetch, photos.limits)
        self._reading = Lock()
        self._embedding = Lock()

    def embed(self, entries: Sequence[ImageEntry]) -> tuple[Matrix, list[int], dict[int, str]]:
        """Vectors (n, dim) of images, their ids, and why others cannot be read. Images from a slow store may be
        missing in all of them.
        """
        unread: dict[int, str] = {}
        with self._reading:
            backbone = self._backbone
            on_gpu = backbone.at_once > 0
            read = self._reader.take(entries, len(entries), backbone.preprocessing, unread, processes=on_gpu)
        if not read:
            return np.empty((0, self._backbone.dim), np.float32), [], unread
        with self._embedding:
            return self._backbone.embed([each for _, each in read]), [entry.id for entry, _ in read], unread
