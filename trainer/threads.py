"""How many threads a process of the trainer computes with."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController


def leave_a_core(*, load_torch: bool = True) -> None:
    """Leave one core free for labeling, decoding or training: threads that wait for a busy core are a net loss.

    The threads of linear algebra even wait by spinning. On two busy cores, a round over 100,000 images took 1.0 s with
    one thread and 1.6 s with two, and eight rounds over 300 images 0.3 s of CPU time instead of 1.1 s.
    tf_efficientnet_lite0 embedded 4.7 images/s at 224 px with one thread and 2.0 to 3.3 with two.

    To load torch takes seconds. A process that may never need it says so by `load_torch`, and calls this again for its
    first network.
    """
    most = max((os.cpu_count() or 1) - 1, 1)
    if load_torch or "torch" in sys.modules:
        import torch

        torch.set_num_threads(min(torch.get_num_threads(), most))
    for library in ThreadpoolController().select(user_api="blas").lib_controllers:
        library.set_num_threads(min(library.get_num_threads(), most))


class _OneThread:
    """The limit, which holds while anyone needs it: it is one for the whole process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._limit: AbstractContextManager[Any] | None = None
        self._threads: ThreadpoolController | None = None  # finding them takes milliseconds, so it is done once

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._limit is None:
                self._threads = self._threads or ThreadpoolController()
                self._limit = self._threads.limit(limits=1, user_api="blas")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._limit is not None:
                self._limit.__exit__(None, None, None)
                self._limit = None


_ONE_THREAD = _OneThread()


def one_thread() -> AbstractContextManager[None]:
    """One thread for linear algebra: small problems wait longer for a second one than they take.

    Several threads may ask for it at once; the last one to leave restores what was before.
    """
    return _ONE_THREAD
