"""Loads the weights of torchvision's detectors, which were trained on COCO. Missing weights are downloaded into torch's
cache.

A download has finite timeouts and a maximum size, and is written atomically. Its content must match the hash in its
name.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import torch
from torchvision.models import get_model_weights

from shared.figures import megabytes
from shared.processes import is_alive

log = logging.getLogger(__name__)

REACH_SECONDS = 4.0
READ_SECONDS = 30.0
PART = 2**20
MOST_BYTES = 2**30
"""The largest file that is downloaded; the weights of the detectors have less than 200 MB."""
OnBytes = Callable[[int, int], None]
"""Called with the number of bytes received and the total, which is 0 if unknown."""


class NotHereError(RuntimeError):
    """The weights are not in the cache and cannot be downloaded. The message is for a person."""


def address_of(name: str) -> str:
    """Where torchvision publishes the weights of its detector `name`."""
    return str(next(iter(get_model_weights(name))).url)


def coco_weights(
    name: str, *, download: bool = True, address: str | None = None, on_bytes: OnBytes = lambda _, __: None
) -> dict[str, torch.Tensor]:
    """The tensors of torchvision's detector `name`, by name. Raises NotHereError."""
    address = address or address_of(name)
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(address).path).name
    if not file.is_file():
        missing = f"The weights of {name!r} are not on this machine"
        if not download:
            raise NotHereError(f"{missing}, and the setting 'auto_download' forbids downloading them.")
        try:
            _fetch(address, file, on_bytes)
        except (httpx.HTTPError, OSError, ValueError) as error:
            log.debug("no weights", exc_info=True)
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
            raise NotHereError(
                f"{missing}, and cannot be downloaded from {urlsplit(address).hostname} ({reason}). Train a timm "
                f"network, or put {file.name} into {file.parent}."
            ) from None
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
        return {str(key): each for key, each in dict(found).items() if isinstance(each, torch.Tensor)}
    except Exception as error:
        log.debug("weights", exc_info=True)
        raise NotHereError(f"{file} cannot be read ({error}). Delete it, and it is downloaded again.") from None


def _fetch(address: str, file: Path, on_bytes: OnBytes) -> None:
    """Download to `file`. Raises httpx.HTTPError, OSError, and ValueError if the content does not match the hash, or
    too much of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    timeout = httpx.Timeout(READ_SECONDS, connect=REACH_SECONDS)
    for left in file.parent.glob(f"{file.stem}.*.part"):
        process = left.stem.rpartition(".")[2]
        if process.isdecimal() and not is_alive(int(process)):  # its download was killed
            left.unlink(missing_ok=True)
    partial = file.with_suffix(f".{os.getpid()}.part")
    try:
        with (
            httpx.stream("GET", address, timeout=timeout, follow_redirects=True) as answer,
            partial.open("wb") as stream,
        ):
            answer.raise_for_status()
            total, done = int(answer.headers.get("content-length", 0)), 0
            for part in answer.iter_bytes(PART):
                done += len(part)
                if max(done, total) > MOST_BYTES:
                    raise ValueError(f"what comes is larger than {megabytes(MOST_BYTES)}")
                stream.write(part)
                digest.update(part)
                on_bytes(done, total)
        if not digest.hexdigest().startswith(file.stem.rpartition("-")[2]):
            raise ValueError("the download is damaged")
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
