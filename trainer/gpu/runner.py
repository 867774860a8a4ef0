"""Runs a network over many images on a GPU. Copies overlap with the computation.

Images are copied as bytes from pinned memory, a quarter of their size as float32, while the GPU computes the previous
batch. The GPU normalises them. The vectors are copied back while it computes the next batch. If memory runs out, the
batch size is halved, down to one image. It is not raised again, because other programs are expected to keep their share
of the GPU. There are few different batch sizes, because libraries choose their kernels for each size. Vectors that
overflow in 16 bits are computed again.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.gpu.half import Module
from trainer.gpu.memory import give_back, images_at_once, out_of_memory

log = logging.getLogger(__name__)

MOST = 512
"""Images per pass, if the memory allows it."""
UNDER_WAY = 2
"""Batches in progress: one is computed, one is copied."""

Images = Sequence[NDArray[Any]] | NDArray[Any]


@dataclass
class _UnderWay:
    vectors: torch.Tensor
    done: torch.cuda.Event | None

    def result(self) -> NDArray[np.float32]:
        if self.done is not None:
            self.done.synchronize()
        return np.array(self.vectors.numpy())  # a copy: pinned memory is scarce


class Runner:
    """Maps images (3, S, S) uint8 to vectors by `network`, after (images - `mean`) * `scale`, both (3, 1, 1), in
    float32. Thread-safe.

    `at_once` images go through the network together; 0: as many as the memory allows. `exact` computes what is not
    finite by `network`.
    """

    def __init__(
        self,
        network: Module,
        mean: torch.Tensor,
        scale: torch.Tensor,
        size: int,
        device: torch.device,
        *,
        at_once: int = 0,
        exact: Module | None = None,
    ) -> None:
        self.network, self.device = network, device
        self._mean, self._scale = mean, scale
        self._exact = exact
        self._dtype = getattr(network, "dtype", torch.float32)
        self._copying = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

        def run(images: int) -> None:
            with torch.inference_mode():
                self.network(self.normalised(torch.zeros(images, 3, size, size, dtype=torch.uint8, device=device)))

        self.at_once = at_once or (images_at_once(run, device, MOST) if self._copying is not None else MOST)

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, S, S) uint8 on the device → the network's inputs, computed in float32 and rounded once."""
        inputs = torch.empty(pixels.shape, dtype=self._dtype, device=pixels.device, memory_format=torch.channels_last)
        return torch.mul(torch.sub(pixels, self._mean), self._scale, out=inputs)

    def vectors(self, images: Images) -> NDArray[np.float32]:
        """Images (3, S, S) uint8 → vectors (n, D) float32. Raises torch's error if not even one image fits."""
        found: list[NDArray[np.float32]] = []
        waiting: deque[_UnderWay] = deque()
        start = 0
        on_it = torch.cuda.device(self.device) if self._copying is not None else nullcontext()
        with torch.inference_mode(), on_it:
            while start < len(images):
                some = images[start : start + self.at_once]
                begun = self._begin(some)
                if begun is None:  # the batch is smaller now; batches in progress free their memory first
                    found += [each.result() for each in waiting]
                    waiting.clear()
                    give_back()
                    continue
                waiting.append(begun)
                start += len(some)
                if len(waiting) >= UNDER_WAY:
                    found.append(waiting.popleft().result())
            found += [each.result() for each in waiting]
            vectors = np.concatenate(found)
            wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1)).tolist() if self._exact is not None else []
            for place in wrong:
                vectors[place] = self._exactly(images[place])
        return vectors

    def _begin(self, images: Images) -> _UnderWay | None:
        """Begin one batch. None if it does not fit; then `at_once` is smaller."""
        try:
            return self._launched(images)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not out_of_memory(error) or len(images) == 1:
                raise
        self.at_once = max(len(images) // 2, 1)
        log.warning("The memory of %s ran out. From now on, the batch size is %d.", self.device, self.at_once)
        return None

    def _exactly(self, image: NDArray[Any]) -> NDArray[np.float32]:
        pixels = torch.from_numpy(np.ascontiguousarray(image[None])).to(self.device)
        assert self._exact is not None  # noqa: S101 - else nobody asks
        inputs = (torch.sub(pixels, self._mean) * self._scale).contiguous(memory_format=torch.channels_last)
        vector: NDArray[np.float32] = self._exact(inputs)[0].float().cpu().numpy()
        return vector

    def _launched(self, images: Images) -> _UnderWay:
        count, pinned = len(images), self._copying is not None
        room = min(1 << (count - 1).bit_length(), max(self.at_once, count))  # few different sizes
        host = torch.empty((room, *images[0].shape), dtype=torch.uint8, pin_memory=pinned)  # from torch's cache
        rows = host.numpy()
        for place, image in enumerate(images):
            rows[place] = image
        rows[count:] = 0
        if self._copying is None:
            return _UnderWay(self.network(self.normalised(host.to(self.device))).float().cpu()[:count], None)
        computing = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self._copying):
            pixels = host.to(self.device, non_blocking=True)
        computing.wait_stream(self._copying)
        pixels.record_stream(computing)
        on_device = self.network(self.normalised(pixels)).float()[:count]
        vectors = torch.empty(on_device.shape, dtype=torch.float32, pin_memory=True)
        vectors.copy_(on_device, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record(computing)
        return _UnderWay(vectors, done)
