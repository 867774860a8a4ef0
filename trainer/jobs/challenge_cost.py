"""Estimates how long a challenger round takes on this computer, and how much of it is left.

The estimate measures how long the live network takes to embed a few black images. Learning from an image takes a few
times as long. This module imports no torch, because the trainer uses it too. `trainer.jobs.challenge` takes its number
of epochs and threads from here.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.wire.jobs import Job

PASSES = 8_000
"""Image views per training; more labels get fewer epochs."""
EPOCHS = (3, 20)
STEP = 4.2
"""Cost of learning from an image, in embedded images: 4.3 with mobilenetv2_035 at 96 px and 4.2 with mobilenetv2_100 at
160 px, CPU seconds of one thread. The epoch that trains the classifier alone costs little less (3.2 to 3.7).
"""
AROUND = 3.0
"""Further cost of a learned image, in embedded images: for the first classifier, and for the head that judges."""
PROBED = 32
"""Images embedded at once, as many as in a training batch. The batch size matters: mobilenetv2_100 took 11 ms an image
in batches of 4, and 23 ms in batches of 32.
"""
PROBES = 2
TIMED = 50
"""Number of recent steps whose median duration predicts the remaining time."""


class Network(Protocol):
    """A network that embeds images."""

    @property
    def input_size(self) -> int:
        """Pixels per side."""
        ...

    @property
    def looks(self) -> int:
        """How often it sees an image."""
        ...

    def embed(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, 3, S, S) → (B, D)."""
        ...


def seconds_per_image(network: Network) -> float:
    """Seconds to embed one image here and now, the best of a few batches. Each view of it counts as one."""
    batch = np.zeros((PROBED, 3, network.input_size, network.input_size), np.uint8)
    taken = []
    for _ in range(PROBES):
        began = time.perf_counter()
        network.embed(batch)
        taken.append((time.perf_counter() - began) / PROBED)
    return min(taken) / network.looks


def seconds_of_round(labels: int, folds: int, images: int, per_image: float) -> float:
    """Seconds of a round that takes over: one training on all `labels`, one for each of the `folds`, and embedding all
    `images` again, with `few_threads`.
    """
    trained = [labels - labels // max(folds, 1)] * folds + [labels]
    views = sum(rows * (1 + int(np.clip(PASSES // max(rows, 1), *EPOCHS))) for rows in trained)
    slower = max((os.cpu_count() or 1) - 1, 1) / few_threads()  # the trainer, which was measured, has more threads
    return per_image * slower * (STEP * views + AROUND * sum(trained) + images)


def in_pauses(job: Job) -> bool:
    """Whether the job is a round that only uses pauses."""
    return job.kind == "challenge" and bool(job.request["challenge"].get("in_pauses"))


def few_threads() -> int:
    """Threads of a round that only uses pauses: half the cores, so that a laptop stays quick and cool."""
    return max((os.cpu_count() or 1) // 2, 1)


class Pace:
    """Estimates how long the remaining steps take, from the median of recent ones: steps during which the process was
    halted are outliers.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: float | None = None
        self._steps: deque[float] = deque(maxlen=TIMED)

    def begin(self) -> None:
        """Start timing the next step."""
        self._last = self._clock()

    def left(self, steps: float) -> float | None:
        """Seconds for `steps`, after one more was done; None before the first."""
        now = self._clock()
        if self._last is not None:
            self._steps.append(now - self._last)
        self._last = now
        return float(np.median(self._steps)) * steps if self._steps else None
