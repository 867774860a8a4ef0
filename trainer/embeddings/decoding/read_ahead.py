"""Yields a network's inputs for images in a given order, and reads the next images in advance.

Threads read them, or, for a GPU, processes (`decoders`). A slow store delays no other image: its images
keep loading, and the next call checks again. Knows neither networks nor vectors.
"""

from __future__ import annotations

import logging
import os
import pickle
import time
from collections.abc import Callable, MutableMapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from numpy.typing import NDArray

from shared.images.opening import ImageLimits, ImageProblem
from shared.wire.images import ImageEntry
from trainer.embeddings.backbones.preparation import Preprocessing
from trainer.embeddings.decoding.decoders import DecodeHere, Decoders, are_possible, usual_count
from trainer.embeddings.decoding.preparing import Fetch, prepare

log = logging.getLogger(__name__)

ENOUGH = 256
"""Images for which processes are worth their start, which takes half a second of a core each."""
FETCH_SECONDS = 2.0
"""Seconds that one call waits for images. A store may be slow, and a person's new label waits for the call."""

Input = NDArray[Any]


class ReadAhead:
    """Reads images by `fetch`. One thread calls `take`; any thread may call `open`."""

    def __init__(self, fetch: Fetch, limits: ImageLimits) -> None:
        self._fetch, self._limits = fetch, limits
        self._threads = ThreadPoolExecutor((os.cpu_count() or 1) + 1, thread_name_prefix="decode")
        self._ahead: dict[tuple[int, str], Future[Input]] = {}  # by (image id, hash): started, not used yet
        self._decoders: Decoders | None = None
        self._possible = are_possible()

    def take(
        self,
        entries: Sequence[ImageEntry],
        count: int,
        preprocessing: Preprocessing,
        problems: MutableMapping[int, str],
        *,
        known: MutableMapping[str, Input] | None = None,
        seconds: float | None = None,
        processes: bool = False,
    ) -> list[tuple[ImageEntry, Input]]:
        """The inputs of the first `count` of `entries`, without those that do not arrive in time; the rest is read
        ahead. With `processes`, others that have arrived take the places of those that have not.

        `seconds` is the time to wait, by default FETCH_SECONDS. `problems` receives why images cannot be read. `known`
        are inputs by content hash, which are removed once used.
        """
        earlier, self._ahead = self._ahead, {}
        new: list[ImageEntry] = []
        for entry in entries:
            key = (entry.id, entry.sha256)
            if key in earlier:
                self._ahead[key] = earlier.pop(key)
            elif known is not None and entry.sha256 in known:
                self._ahead[key] = _done(known.pop(entry.sha256))
            else:
                new.append(entry)
        for unwanted in earlier.values():
            unwanted.cancel()
        self._begin(new, preprocessing, processes=processes)
        taken: list[tuple[ImageEntry, Input]] = []
        until = time.monotonic() + (FETCH_SECONDS if seconds is None else seconds)
        for entry in entries if processes else entries[:count]:
            if len(taken) == count:
                break
            key = (entry.id, entry.sha256)
            try:
                taken.append((entry, self._ahead[key].result(max(until - time.monotonic(), 0))))
            except TimeoutError:
                continue  # its store is slow: reading continues, and the next call checks again
            except DecodeHere:
                self._ahead[key] = self._in_thread(entry, preprocessing)
                continue
            except ImageProblem as problem:
                problems[entry.id] = str(problem)
            del self._ahead[key]
        return taken

    def open(self, images: Sequence[bytes], read: Callable[[bytes], Input]) -> list[Future[Input]]:
        """Decode the contents of images with `read`, in threads."""
        return [self._threads.submit(read, data) for data in images]

    def close(self) -> None:
        """Stop the threads and processes."""
        self._threads.shutdown(cancel_futures=True)
        if self._decoders is not None:
            self._decoders.close()

    # ------------------------------------------------------------ details

    def _begin(self, entries: Sequence[ImageEntry], preprocessing: Preprocessing, *, processes: bool) -> None:
        decoders = self._processes(preprocessing) if processes and len(entries) + len(self._ahead) >= ENOUGH else None
        if decoders is None:
            begun = [self._in_thread(entry, preprocessing) for entry in entries]
        else:
            begun = decoders.submit(entries)
        self._ahead.update(zip(((entry.id, entry.sha256) for entry in entries), begun, strict=True))

    def _in_thread(self, entry: ImageEntry, preprocessing: Preprocessing) -> Future[Input]:
        return self._threads.submit(prepare, self._fetch, entry, self._limits, preprocessing)

    def _processes(self, preprocessing: Preprocessing) -> Decoders | None:
        """The processes for this preprocessing, or None if they are not possible here."""
        if self._decoders is not None and self._decoders.broken:
            self._possible = False
            self._decoders.close()
            self._decoders = None
        if self._possible and self._decoders is None:
            try:
                pickle.dumps(self._fetch)
            except Exception:  # `fetch` cannot be sent to another process
                log.debug("Images are decoded by threads.", exc_info=True)
                self._possible = False
                return None
            self._decoders = Decoders(self._fetch, self._limits, preprocessing, usual_count())
        return self._decoders


def _done(value: Input) -> Future[Input]:
    future: Future[Input] = Future()
    future.set_result(value)
    return future
