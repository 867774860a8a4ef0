"""Images per second that a GPU embeds, from files to vectors: `python -m benchmarks.gpu --images 8192`.

For each network, the bare forward pass of the same network in the same precision, on a batch that already lies on the
device, is compared with our way from decoded images in memory to vectors in memory, and with the whole way of a
trainer: read files, compare hashes, decode, resize, forward, store. Decoding alone is measured first, because it bounds
the whole way: where the network is faster than all cores decode, no program reaches its speed. Networks have random
weights, which take the same time. It also tells how far the vectors are from those of a CPU in float32.

It makes JPEGs of 640 × 480 pixels with the detail and size of a photo. A few are encoded, and the rest are copies with
another hash. Without a GPU it measures the CPU in the same way, with fewer images.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.machine import describe
from shared.images.opening import ImageLimits
from shared.settings.services import TrainerSettings
from shared.wire.images import ImageEntry
from trainer.embeddings.backbones.feature_blocks import with_layout
from trainer.embeddings.backbones.preparation import Preprocessing
from trainer.embeddings.backbones.torch_networks import TorchBackbone
from trainer.embeddings.decoding.decoders import usual_count
from trainer.embeddings.decoding.read_ahead import ReadAhead
from trainer.embeddings.embedder import Embedder
from trainer.gpu.runner import Runner
from trainer.sync.image_source import Photos
from trainer.sync.labeler_client import LabelerClient

NETWORKS = {
    "lite0": "tf_efficientnet_lite0",
    "resnet50": "resnet50",
    "vit_small": "vit_small_patch16_224",
    "dinov2": "vit_small_patch14_dinov2",
}
SIZE = 224
WIDTH, HEIGHT = 640, 480
ENCODED = 128
"""Different pictures; the others are copies with another hash."""
DECODED = 4_096
"""Decoded images in memory, 0.6 GB."""
LIMITS = ImageLimits(max_bytes=100 * 2**20, max_pixels=100_000_000)
COMPARED = 64
BATCH = 32
"""Images per forward pass on a CPU."""


def main() -> None:
    """Measure and print."""
    options = _options()
    device = torch.device(options.device)
    on_gpu = device.type == "cuda"
    card = torch.cuda.get_device_name(device) if on_gpu else "no GPU"
    print(f"{describe('torch', 'timm', 'pillow')}, {card}", flush=True)
    with tempfile.TemporaryDirectory(prefix="flywheel-gpu-") as folder:
        scratch = Path(folder)
        entries = _photos(scratch / "photos", options.images)
        size = _megabytes(scratch / "photos", entries)
        print(
            f"{len(entries):,} JPEGs of {WIDTH} × {HEIGHT} pixels, {size:.3f} MB each; "
            f"inputs of {SIZE} × {SIZE} pixels; {options.rounds} rounds, the median counts"
        )
        decoding = statistics.median(_decoding(scratch, entries, on_gpu) for _ in range(options.rounds))
        how = f"{usual_count()} processes" if on_gpu else "threads"
        print(f"Decoding alone, with {how}: {decoding:,.0f} images/s. No program embeds these files faster here.\n")
        columns = ["network", "images at once", "bare forward", "decoded → vectors", "ratio", "files → vectors"]
        columns += ["of the bare forward", "of the slower of forward and decoding", "distance to float32 on a CPU"]
        print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
        for name in options.networks.split(","):
            print(_row(name, scratch, entries, decoding, options, device), flush=True)


def _row(
    name: str,
    scratch: Path,
    entries: list[ImageEntry],
    decoding: float,
    options: argparse.Namespace,
    device: torch.device,
) -> str:
    network = TorchBackbone(
        name, drawn(NETWORKS[name]), input_size=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3, device=device, published=False
    )
    decoded = _decoded(scratch, entries[: min(len(entries), DECODED)], network.preprocessing)
    runner = network._runner
    bare: Callable[[], float] = (
        (lambda: _forward_gpu(runner, options.images)) if runner else lambda: _forward(network, options.images)
    )
    bare(), _embedded(network, decoded[: 4 * (network.at_once or 1)])  # warm
    bares, memories, wholes = [], [], []
    for turn in range(options.rounds):
        bares.append(bare())
        memories.append(_embedded(network, decoded))
        wholes.append(_whole(name, scratch / f"{name}-{turn}", scratch / "photos", entries, options.device))
    forward, memory, whole = (statistics.median(each) for each in (bares, memories, wholes))
    cells = [
        f"{name} ({network.dim} values)",
        f"{network.at_once or BATCH}",
        f"{forward:,.0f} images/s",
        f"{memory:,.0f}",
        f"{memory / forward:.2f}",
        f"{whole:,.0f}",
        f"{whole / forward:.2f}",
        f"{whole / min(forward, decoding):.2f}",
        _distance(name, network, decoded[:COMPARED]) if runner else "–",
    ]
    return f"| {' | '.join(cells)} |"


def drawn(name: str) -> torch.nn.Module:
    """The timm network with random weights, prepared as in the trainer."""
    torch.manual_seed(0)
    more: dict[str, Any] = {"img_size": SIZE} if "vit" in name else {}
    network: torch.nn.Module = timm.create_model(name, num_classes=0, **more)
    return with_layout(network)


def lite0() -> torch.nn.Module:
    """For the setting `model_fn`."""
    return drawn(NETWORKS["lite0"])


def resnet50() -> torch.nn.Module:
    """For the setting `model_fn`."""
    return drawn(NETWORKS["resnet50"])


def vit_small() -> torch.nn.Module:
    """For the setting `model_fn`."""
    return drawn(NETWORKS["vit_small"])


def dinov2() -> torch.nn.Module:
    """For the setting `model_fn`."""
    return drawn(NETWORKS["dinov2"])


def _forward_gpu(runner: Runner, images: int) -> float:
    """Images/s of the network alone, on a normalised batch in the memory of the GPU."""
    noise = torch.randint(0, 256, (runner.at_once, 3, SIZE, SIZE), dtype=torch.uint8, device=runner.device)
    passes = max(images // runner.at_once, 4)
    with torch.inference_mode():
        inputs = runner.normalised(noise)
        torch.cuda.synchronize(runner.device)
        began = time.perf_counter()
        for _ in range(passes):
            runner.network(inputs)
        torch.cuda.synchronize(runner.device)
    return passes * runner.at_once / (time.perf_counter() - began)


def _forward(network: TorchBackbone, images: int) -> float:
    """The same on a CPU."""
    noise = torch.rand(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    passes = max(images // BATCH, 1)
    with torch.inference_mode():
        began = time.perf_counter()
        for _ in range(passes):
            network.network(noise)
    return passes * BATCH / (time.perf_counter() - began)


def _embedded(network: TorchBackbone, decoded: Sequence[NDArray[Any]]) -> float:
    """Images/s from decoded images to vectors."""
    at_once = len(decoded) if network.at_once else BATCH
    began = time.perf_counter()
    for start in range(0, len(decoded), at_once):
        network.embed(decoded[start : start + at_once])
    return len(decoded) / (time.perf_counter() - began)


def _whole(name: str, folder: Path, photos: Path, entries: list[ImageEntry], device: str) -> float:
    """Images/s from files to stored vectors, without the start of the processes."""
    settings = _settings(photos, folder, device, model_fn=f"benchmarks.gpu:{name}", input_size=SIZE)
    with _Reader(settings) as reader:
        embedder = Embedder(settings, folder, reader.fetch)
        try:
            warm = min(len(entries) // 4, 2_048) if device == "cuda" else 0
            _step_through(embedder, entries[:warm])
            began = time.perf_counter()
            _step_through(embedder, entries[warm:])
            seconds = time.perf_counter() - began
        finally:
            embedder.close()
    return (len(entries) - warm) / seconds


def _step_through(embedder: Embedder, entries: list[ImageEntry]) -> None:
    """Like the trainer's loop: pass the next images, and drop those that are embedded."""
    pending = {entry.id: entry for entry in entries}
    while pending:
        first = [entry for _, entry in zip(range(embedder.appetite), pending.values(), strict=False)]
        for entry in embedder.step(first, more_coming=True):
            del pending[entry.id]
        if embedder.problems:
            raise SystemExit(f"An image cannot be read: it {next(iter(embedder.problems.values()))}.")


def _decoding(scratch: Path, entries: list[ImageEntry], processes: bool) -> float:
    """Images/s decoded for a network; the results are discarded."""
    with _Reader(_settings(scratch / "photos", scratch / "decoding", "cpu")) as source:
        reader = ReadAhead(source.fetch, LIMITS)
        warm = min(len(entries) // 4, 1_024) if processes else 0
        try:
            _read_through(reader, entries[:warm], processes)
            began = time.perf_counter()
            _read_through(reader, entries[warm:], processes)
            return (len(entries) - warm) / (time.perf_counter() - began)
        finally:
            reader.close()


def _read_through(reader: ReadAhead, entries: list[ImageEntry], processes: bool) -> None:
    pending = {entry.id: entry for entry in entries}
    while pending:
        first = [entry for _, entry in zip(range(2_048), pending.values(), strict=False)]
        for entry, _ in reader.take(first, 1_024, Preprocessing(SIZE), {}, processes=processes):
            del pending[entry.id]


def _distance(name: str, network: TorchBackbone, images: Sequence[NDArray[Any]]) -> str:
    """The distance of vectors from those in float32 on the CPU, relative to their length."""
    cpu = torch.device("cpu")
    plain = TorchBackbone(
        name, drawn(NETWORKS[name]), input_size=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3, device=cpu, published=False
    )
    wanted, found = plain.embed(images), network.embed(images)
    cosine = (found * wanted).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
    away = np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
    return f"{100 * float(np.median(away)):.2f} %, cosine {float(cosine.min()):.5f} or more"


class _Reader:
    """Reads photos like a trainer, without a labeler."""

    def __init__(self, settings: TrainerSettings) -> None:
        self._client = LabelerClient(settings.labeler_url, timeout_seconds=1.0)
        self.fetch = Photos(settings, self._client).fetch

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()


def _settings(photos: Path, workspace: Path, device: str, **more: object) -> TrainerSettings:
    workspace.mkdir(exist_ok=True)
    given = {"images": str(photos), "workspace": str(workspace), "labeler_url": "http://127.0.0.1:9", "device": device}
    return TrainerSettings.load(command_line={**given, **more})[0]


def _photos(folder: Path, count: int) -> list[ImageEntry]:
    """JPEGs with the detail of a photo, coarse shapes, edges and grain, and their catalogue."""
    folder.mkdir()
    random = np.random.default_rng(0)
    grain = Image.effect_noise((WIDTH, HEIGHT), 30).convert("RGB")
    pictures = []
    for _ in range(min(count, ENCODED)):
        coarse = Image.fromarray(random.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize((WIDTH, HEIGHT))
        edges = Image.fromarray(random.integers(0, 255, (48, 64, 3), dtype=np.uint8))
        shapes = Image.blend(coarse, edges.resize((WIDTH, HEIGHT), Image.Resampling.NEAREST), 0.3)
        stream = BytesIO()
        Image.blend(shapes, grain, 0.2).save(stream, "JPEG", quality=88)
        pictures.append(stream.getvalue())
    entries = []
    for number in range(count):
        data = pictures[number % len(pictures)] + number.to_bytes(8, "big")  # behind its end, which decoders ignore
        name = f"{number:07}.jpg"
        (folder / name).write_bytes(data)
        digest = sha256(data).hexdigest()
        entries.append(ImageEntry(id=number, uri=name, sha256=digest, split="train", removed=False))
    return entries


def _megabytes(folder: Path, entries: list[ImageEntry]) -> float:
    return sum((folder / entry.uri).stat().st_size for entry in entries[:ENCODED]) / len(entries[:ENCODED]) / 1e6


def _decoded(scratch: Path, entries: list[ImageEntry], way: Preprocessing) -> list[NDArray[Any]]:
    """Different arrays in memory, more than a cache can hold."""
    few = [way.read((scratch / "photos" / entry.uri).read_bytes(), LIMITS) for entry in entries[:ENCODED]]
    return [few[number % len(few)].copy() for number in range(len(entries))]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    cuda = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if cuda else "cpu", choices=("cuda", "cpu"))
    parser.add_argument("--images", type=int, default=8_192 if cuda else 32)
    parser.add_argument("--networks", default="lite0,resnet50,vit_small", help=f"of {', '.join(NETWORKS)}")
    parser.add_argument("--rounds", type=int, default=3 if cuda else 1, help="repetitions; the median counts")
    return parser.parse_args()


if __name__ == "__main__":
    main()
