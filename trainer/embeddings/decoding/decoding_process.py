"""The process that decodes images for a GPU: `python -m trainer.embeddings.decoding.decoding_process CONNECTION ROWS`.

Both arguments are open file descriptors: a connection to the trainer, and memory shared with it, into which inputs are
written. It imports no torch, so that it starts quickly and stays small. It ends when the trainer closes the connection
or is gone. An image that needs much memory is left to the trainer, where one limit holds for all decoding.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.images import decoding_limit
from shared.images.opening import ImageLimits, ImageProblem, ImageWaits
from shared.processes import end_with_parent, lower_priority, when_orphaned
from shared.wire.images import ImageEntry
from trainer.embeddings.backbones.preparation import Preprocessing
from trainer.embeddings.decoding.preparing import Fetch, prepare

LARGE = ""
"""The answer for an image that the trainer must decode itself, in place of a problem."""


@dataclass(frozen=True)
class Orders:
    """The first message to a process. It owns the rows from `first` on, in chunks of `chunk` rows."""

    fetch: Fetch
    limits: ImageLimits
    preprocessing: Preprocessing
    first: int
    chunk: int


Asked = tuple[int, list[ImageEntry]]
"""The number of a place for a chunk, and the images of the chunk."""
Answer = tuple[int, list[str | None]]
"""The number of the place, and for each image its problem, or None if its pixels are in its row."""


def rows_of(memory: mmap.mmap, size: int) -> NDArray[np.uint8]:
    """The shared memory as inputs (n, 3, S, S)."""
    return np.frombuffer(memory, np.uint8).reshape(-1, 3, size, size)


def main(argv: Sequence[str]) -> int:
    """Decode until the connection closes."""
    parent = os.getppid()
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches every process of a terminal; the trainer ends this one
    end_with_parent()
    when_orphaned(parent, lambda: os._exit(1))
    lower_priority()
    decoding_limit.refuse_large()
    connection: Connection[Any, Any] = Connection(int(argv[0]))
    orders: Orders = connection.recv()
    rows = rows_of(mmap.mmap(int(argv[1]), 0), orders.preprocessing.size)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the trainer closed the connection
        connection.send(None)  # ready
        while True:
            place, entries = connection.recv()
            first = orders.first + place * orders.chunk
            connection.send((place, [_decode(orders, entry, rows[first + n]) for n, entry in enumerate(entries)]))
    return 0


def _decode(orders: Orders, entry: ImageEntry, row: NDArray[np.uint8]) -> str | None:
    try:
        row[:] = prepare(orders.fetch, entry, orders.limits, orders.preprocessing)
    except ImageWaits:
        return LARGE
    except ImageProblem as problem:
        return str(problem)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
