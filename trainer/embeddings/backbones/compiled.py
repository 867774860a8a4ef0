"""A convolutional network compiled for the CPU: a graph that ONNX Runtime computes, several times as fast as torch.

Most small networks filter each channel on its own, and torch is slow at this on a CPU: one core takes 15 to 30 ms for
an image of 224 pixels in tf_efficientnet_lite0, and 6 ms for the graph (docs/measurements/figures.md).

A graph is made in a process of its own (`trainer.work.tracing`), because tracing a network takes ten seconds in which
labeling must not wait. It is kept in the user's cache, so that the next start and the next project have it at once.
Until it is there, and wherever it cannot be made or gives other numbers, torch computes. The numbers are the same up to
rounding.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from typing import Literal

import numpy as np
import torch
from safetensors.torch import save_file

from shared.processes import child_environment
from shared.settings.user_folders import cache_folder
from trainer.embeddings.backbones.feature_blocks import Layout

log = logging.getLogger(__name__)

FOLDER = "compiled"
"""Folder of the graphs."""
MOST = 8
"""Number of graphs that are kept in it. Those used last stay: each challenger has a network of its own."""
WORTH_SECONDS = 2.0
"""Processor time that torch has taken before a graph is made: a small project is done sooner without one."""
AT_ONCE = 8
"""Inputs that a graph computes at once. More are no faster on a CPU, and its memory is kept for the next ones."""
TRACE_SECONDS = 600.0
TOLERANCE = 1e-3
"""Maximum distance of an output from torch's, relative to its length. Vectors are kept in 16 bits, which round by half
of this."""

Outputs = tuple[torch.Tensor, ...]
Compute = Callable[[torch.Tensor], Outputs]
"""Normalised inputs (B, 3, S, S) → outputs, whose first dimension is B."""


@dataclass(frozen=True)
class Part:
    """What is compiled of a network that timm calls `name`, for inputs of `size` pixels a side.

    `of` is the layout in the version `numbers`, before its projection, or the maps of the stages `numbers`.
    """

    name: str
    size: int
    of: Literal["layout", "stages"]
    numbers: tuple[int, ...]


class Compiled:
    """Computes `part` of a `network` as `compute` does, by a graph as soon as that is worth it. Thread-safe.

    Graphs are kept in the user's cache, or under `folder` if that cannot be written. `content` names the weights of the
    network.
    """

    def __init__(self, compute: Compute, network: torch.nn.Module, part: Part, content: str, folder: Path) -> None:
        self.graph: Compute | None = None
        name = "-".join([content, f"{part.size}px", part.of, *map(str, part.numbers)])
        self.path = _folder(folder) / f"{name}.onnx"
        self._compute = compute
        self._network = network
        self._part = part
        self._spent = 0.0
        self._begun = Lock()  # taken for good
        if self.path.is_file():
            self._begin()

    def __call__(self, images: torch.Tensor) -> Outputs:
        """The outputs for normalised inputs (B, 3, S, S)."""
        graph = self.graph
        if graph is not None:
            try:
                return graph(images)
            except Exception as error:  # ONNX Runtime has errors of its own kind
                log.warning("ONNX Runtime cannot compute the network: %s. PyTorch does it, more slowly.", error)
                self.graph = None
        began = time.thread_time()
        found = self._compute(images.contiguous(memory_format=torch.channels_last))
        self._spent += time.thread_time() - began
        if self._spent >= WORTH_SECONDS:
            self._begin()
        return found

    def _begin(self) -> None:
        if not self._begun.acquire(blocking=False):
            return
        if find_spec("onnxruntime") is not None and find_spec("onnxscript") is not None:
            Thread(target=self._compile, name="compiler", daemon=True).start()

    def _compile(self) -> None:
        from_before = self.path.is_file()
        try:
            if not from_before:
                self._trace()
            graph = _opened(self.path)
            self._check(graph)
            self.path.touch()  # the graphs used last stay
        except Exception as error:  # of torch, its exporter, ONNX Runtime or the disk: any of these may fail
            log.info("The network is not compiled, so PyTorch computes it: %s", error)
            if from_before:  # the next start makes another one
                with suppress(OSError):
                    self.path.unlink()
            return
        self.graph = graph

    def _trace(self) -> None:
        with TemporaryDirectory(prefix="flywheel-") as scratch:
            weights = Path(scratch) / "weights.safetensors"
            save_file({name: each.contiguous() for name, each in self._network.state_dict().items()}, weights)
            files = {"weights": str(weights), "graph": str(self.path.absolute())}
            done = run(json.dumps({**asdict(self._part), **files}), child_environment())
        if done.returncode:
            raise RuntimeError(done.stderr.strip().rpartition("\n")[2])
        for old in sorted(self.path.parent.glob("*.onnx"), key=_used)[:-MOST]:
            old.unlink(missing_ok=True)

    def _check(self, graph: Compute) -> None:
        """Raises ValueError if the graph and torch disagree about noise."""
        size = self._part.size
        noise = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, size, size), np.float32))
        with torch.inference_mode():
            for images in (noise[:1], noise):
                for said, wanted in zip(graph(images), self._compute(images), strict=True):
                    if said.shape != wanted.shape:
                        raise ValueError(f"the graph returns {tuple(said.shape)} in place of {tuple(wanted.shape)}")
                    apart = float((said - wanted).norm() / wanted.norm())
                    if not apart <= TOLERANCE:
                        raise ValueError(f"the graph differs from the network by {apart:.2g}")


class Quick(torch.nn.Module):
    """A layout of which `eye` computes the views: normalised inputs (B, 3, S, S) → vectors (B, dim)."""

    def __init__(self, layout: Layout, eye: Compiled) -> None:
        super().__init__()
        self.layout = layout
        self.eye = eye

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The vectors of `layout`."""
        return self.layout.joined(images, self.eye)


def run(request: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `trainer.work.tracing` in its own process. Raises subprocess.TimeoutExpired."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "trainer.work.tracing"],
        input=request,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TRACE_SECONDS,
    )


def _folder(otherwise: Path) -> Path:
    """The folder of the graphs: of this user, so that the next project has them, or else in the workspace."""
    folder = cache_folder() / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return otherwise / FOLDER
    return folder if os.access(folder, os.W_OK) else otherwise / FOLDER


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another trainer deleted it
        return 0.0


def _opened(path: Path) -> Compute:
    """The graph in the file at `path`. Raises what ONNX Runtime raises for a file that it cannot compute."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a busy core has other work to do
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def compute(images: torch.Tensor) -> Outputs:
        parts = [session.run(None, {"images": part.contiguous().numpy()}) for part in torch.split(images, AT_ONCE)]
        return tuple(torch.from_numpy(np.concatenate(each)) for each in zip(*parts, strict=True))

    return compute
