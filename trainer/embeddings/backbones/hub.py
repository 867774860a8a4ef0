"""The model hub: whether it is reachable, which weights are cached on this machine, and how to download the rest."""

from __future__ import annotations

import inspect
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import huggingface_hub
from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars, tqdm

from shared.figures import megabytes

log = logging.getLogger(__name__)

HUB_SECONDS = 4.0
"""Seconds after which a hub that does not answer counts as unreachable."""
TELL_SECONDS = 0.5
"""Seconds between two progress reports of a download."""
LEFT_SECONDS = 3_600.0
"""A part of a file that was not written for so long is of a download that was killed: a stalled one ends sooner."""
FILES = ("model.safetensors", "pytorch_model.bin")
"""File names of weights in a hub repository; the first one is what we download."""


class UnreachableError(RuntimeError):
    """Pretrained weights that are neither cached nor available from the hub. The message is one sentence."""


def cached_weights(repository: str | None) -> str | None:
    """Path of the weights in the hub's cache on this machine, or None."""
    for name in FILES:
        path = try_to_load_from_cache(repository, name) if repository else None
        if isinstance(path, str):
            return path
    return None


def any_cached(name: str) -> bool:
    """Whether the cache seems to contain a timm model whose name starts with `name`: a cheap check, not a proof."""
    return any(Path(constants.HF_HUB_CACHE).glob(f"models--timm--{name}*"))


def hub_answers() -> bool:
    """Whether the hub answers within HUB_SECONDS. Asked in a thread, because DNS look-ups have no timeout."""
    answers: list[bool] = []

    def ask() -> None:
        with suppress(httpx.HTTPError, httpx.InvalidURL):
            answers.append(httpx.head(_endpoint(), timeout=HUB_SECONDS, follow_redirects=True).is_success)

    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    thread = Thread(target=ask, name="hub", daemon=True)
    if not offline:
        thread.start()
        thread.join(HUB_SECONDS)
    return answers == [True]


@dataclass(frozen=True, slots=True)
class Download:
    """A download in progress."""

    name: str
    done: int  # bytes
    total: int  # bytes


OnDownload = Callable[[Download], None]


def fetch_weights(name: str, repository: str, on_download: OnDownload | None = None) -> str:
    """Download the weights of `name` into the hub's cache and return the file. Raises UnreachableError, also if they
    do not fit on the disk.

    `on_download` is told the progress twice a second. Within a call, an interrupted download resumes. A file whose size
    the hub does not tell is not downloaded, because nothing would limit it. A download that brings more ends. What
    killed downloads of networks left in the cache is deleted.
    """
    endpoint = _endpoint()
    try:
        address = huggingface_hub.hf_hub_url(repository, FILES[0], endpoint=endpoint)
        total = huggingface_hub.get_hf_file_metadata(address, timeout=HUB_SECONDS).size
        if not total:
            raise OSError("the hub does not tell their size")  # noqa: TRY301 - told like any other reason
        _delete_leftovers()
        _check_room(total)
        log.info(
            "Downloading the weights of %s from the model hub, %.0f MB. To prevent this, set auto_download = false.",
            name,
            total / 1e6,
        )
        with _told(on_download, name, repository, total):
            return str(
                huggingface_hub.hf_hub_download(
                    repository, FILES[0], endpoint=endpoint, cache_dir=constants.HF_HUB_CACHE, **_at_most(total)
                )
            )
    except Exception as error:  # network, disk or a broken response: many kinds of error, none of them ours
        log.debug("The hub did not give %s", repository, exc_info=True)
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
        raise UnreachableError(f"The weights of {name!r} cannot be downloaded from the model hub ({reason}).") from None


def _delete_leftovers() -> None:
    """Delete the parts of files in the hub's cache that killed downloads of timm networks left. Each download begins a
    new file."""
    for part in Path(constants.HF_HUB_CACHE).glob("models--timm--*/blobs/*.incomplete"):
        with suppress(OSError):  # another process may be faster
            if time.time() - part.stat().st_mtime > LEFT_SECONDS:
                part.unlink()


def _at_most(total: int) -> dict[str, Any]:
    """The argument of a download that ends it after `total` bytes. The library counts them for its progress bar."""
    if "tqdm_class" not in inspect.signature(huggingface_hub.hf_hub_download).parameters:
        return {}  # an older version of the library

    class Limit(tqdm):
        received = 0

        def update(self, n: float | None = 1) -> Any:
            Limit.received += int(n or 0)
            if Limit.received > total:
                raise OSError(f"the hub sends more than the {megabytes(total)} that it announced")
            return super().update(n)

    return {"tqdm_class": Limit}


def _check_room(total: int) -> None:
    """Raise OSError if the hub says that a file is larger than the free space for its cache."""
    cache = Path(constants.HF_HUB_CACHE).absolute()
    there = next(each for each in (cache, *cache.parents) if each.is_dir())
    free = shutil.disk_usage(there).free
    if total > free:
        raise OSError(f"they have {megabytes(total)}, and {megabytes(free)} are free in {there}")


@contextmanager
def _told(on_download: OnDownload | None, name: str, repository: str, total: int) -> Iterator[None]:
    """Report the bytes received so far, while inside."""
    if on_download is None:
        yield
        return
    blobs = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "blobs"
    before = {each: _size(each) for each in blobs.glob("*.incomplete")}  # of downloads that were killed
    ended = Event()

    def look() -> None:
        while True:
            sizes = {each: _size(each) for each in blobs.glob("*.incomplete")}
            coming = sum(size for each, size in sizes.items() if size != before.get(each))
            on_download(Download(name, min(coming, total), total))
            if ended.wait(TELL_SECONDS):
                return

    quiet = are_progress_bars_disabled()
    disable_progress_bars()  # we show our own on the page and in the terminal
    thread = Thread(target=look, name="download", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if not quiet:
            enable_progress_bars()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # complete by now, under another name
        return 0


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")
