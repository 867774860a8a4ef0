"""From a catalogued image to a network's input: fetch, compare the hash, decode. Threads and processes both use it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from shared.images.opening import ImageLimits, ImageProblem
from shared.wire.images import ImageEntry
from trainer.embeddings.backbones.preparation import Preprocessing

log = logging.getLogger(__name__)

Fetch = Callable[[ImageEntry], bytes]
"""The content of an image. Raises ImageProblem."""


def prepare(fetch: Fetch, entry: ImageEntry, limits: ImageLimits, preprocessing: Preprocessing) -> NDArray[Any]:
    """The network's input (3, S, S) of one image. Raises only ImageProblem."""
    try:
        data = fetch(entry)
    except ImageProblem:
        raise
    except Exception as error:  # the fetcher may raise anything, which must not stop the others
        log.warning("Could not fetch image %d (%s).", entry.id, entry.uri, exc_info=True)
        raise ImageProblem(f"could not be fetched ({type(error).__name__})") from None
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise ImageProblem("has changed since it was catalogued")
    return preprocessing.read(data, limits)
