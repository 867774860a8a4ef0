"""The speed of embedding image files, as a share of the network's own speed: `python -m benchmarks.embedding`.

It embeds small files (short side 160 px) and 12-megapixel JPEGs through the real `Embedder` (read, hash, decode,
forward, store), each as a ratio to a bare forward pass of the same backbone on prepared batches; the two alternate in
one run. On a CPU, it does so with PyTorch, and with the compiled network (`trainer.embeddings.backbones.compiled`),
which is made before. Then it reads and inspects the same files as a catalogue scan does, in one thread. Without
`--images` it makes photos.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.machine import describe
from shared.images.finding import find_images, read
from shared.images.opening import ImageLimits, inspect
from shared.settings.services import TrainerSettings
from shared.settings.user_folders import ENVIRONMENT
from shared.wire.images import ImageEntry
from tests.services import wait_for
from trainer.embeddings.backbones import compiled, installed
from trainer.embeddings.backbones.backbone import Backbone
from trainer.embeddings.backbones.torch_networks import TorchBackbone
from trainer.embeddings.embedder import Embedder

LIMITS = ImageLimits(max_bytes=100 * 2**20, max_pixels=100_000_000)


def main() -> None:
    """Measure and print."""
    options = _options()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print(f"{describe('torch', 'timm', 'pillow')}, {gpu}")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        small = options.images or _photos(scratch / "small", options.count, (213, 160))
        large = _photos(scratch / "large", options.large, (4000, 3000))
        for name, root, count in (("160 px files", small, options.count), ("12-megapixel JPEGs", large, options.large)):
            entries = _catalogue(root, count)
            _embedding(name, root, entries, _settings(options), scratch, options.rounds)
            _inspecting(name, root, entries)


def _embedding(
    name: str, root: Path, entries: list[ImageEntry], settings: TrainerSettings, scratch: Path, rounds: int
) -> None:
    found: dict[str, list[tuple[float, float]]] = {"PyTorch": [], "compiled": []}
    for turn in range(rounds):
        for way, speeds in found.items():
            folder = scratch / f"{name} {way} {turn}"
            compiled.WORTH_SECONDS = 0.0 if way == "compiled" else float("inf")
            os.environ[ENVIRONMENT] = str(scratch / way)  # its cache has the graph, or nothing
            embedder = Embedder(settings, folder, lambda entry: read(entry.uri, root, LIMITS))
            backbone = embedder.backbone
            if not isinstance(backbone, TorchBackbone):
                raise SystemExit("This measures networks; `pixels` has none.")
            if way == "compiled" and not _is_compiled(backbone):
                continue
            bare = _forward(backbone, len(entries), settings.batch_size)
            start, pending = time.perf_counter(), entries
            while pending:
                done = {entry.id for entry in embedder.step(pending, more_coming=False)} | set(embedder.problems)
                pending = [entry for entry in pending if entry.id not in done]
            speeds.append((len(entries) / (time.perf_counter() - start), bare))
            embedder.close()
    for way, speeds in found.items():
        if speeds:
            whole, bare = (statistics.median(each) for each in zip(*speeds, strict=True))
            ratios = [part / full for part, full in speeds]
            print(
                f"{name}, {way}: {whole:.1f} images/s embedded, {bare:.1f} in a bare forward pass, ratio "
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f} in {rounds} turns of "
                f"{len(entries)} images)"
            )


def _is_compiled(backbone: TorchBackbone) -> bool:
    """Wait for the graph of `backbone`; False if it has none."""
    eye = backbone.eye
    if eye is None:
        return False
    backbone.embed(np.zeros((1, 3, backbone.input_size, backbone.input_size), dtype=np.uint8))
    wait_for(lambda: eye.graph, "the compiled network", 300)
    return True


def _forward(backbone: Backbone, count: int, batch_size: int) -> float:
    """Images/s of the network alone."""
    batch = np.zeros((batch_size, 3, backbone.input_size, backbone.input_size), dtype=np.uint8)
    backbone.embed(batch)
    start = time.perf_counter()
    for first in range(0, count, batch_size):
        backbone.embed(batch[: count - first])
    return count / (time.perf_counter() - start)


def _inspecting(name: str, root: Path, entries: list[ImageEntry]) -> None:
    start = time.perf_counter()
    for entry in entries:
        inspect(read(entry.uri, root, LIMITS), LIMITS)
    print(f"{name}: {len(entries) / (time.perf_counter() - start):.0f} images/s read and inspected in one thread")


def _catalogue(root: Path, count: int) -> list[ImageEntry]:
    uris = [uri for uri, _ in zip(find_images(root), range(count), strict=False)]
    hashes = [sha256(read(uri, root, LIMITS)).hexdigest() for uri in uris]
    return [
        ImageEntry(id=number, uri=uri, sha256=digest, split="train", removed=False)
        for number, (uri, digest) in enumerate(zip(uris, hashes, strict=True))
    ]


def _photos(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """JPEGs with the detail of a photo: coarse shapes and grain."""
    folder.mkdir()
    random = np.random.default_rng(0)
    grain = Image.effect_noise(size, 30).convert("RGB")
    for number in range(count):
        shapes = Image.fromarray(random.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize(size)
        stream = BytesIO()
        Image.blend(shapes, grain, 0.2).save(stream, "JPEG", quality=85)
        (folder / f"{number:06}.jpg").write_bytes(stream.getvalue())
    return folder


def _settings(options: argparse.Namespace) -> TrainerSettings:
    network = {"backbone": options.backbone, "auto_download": "false"}
    given = {
        "backbone_weights": options.weights,
        "backbone_mean": options.mean,
        "backbone_std": options.std,
        "input_size": options.size,
        "device": options.device,
    }
    return TrainerSettings.load(command_line={**network, **given})[0]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=Path, help="folder of small photos (default: generated)")
    parser.add_argument("--backbone", default=installed.NAME, help="timm name (default: the installed one)")
    parser.add_argument("--weights", help="local weights of that backbone")
    parser.add_argument("--mean", help="three numbers: 0.5,0.5,0.5")
    parser.add_argument("--std", help="three numbers")
    parser.add_argument("--size", type=int, default=0, help="pixels per side of the network's input (default: its own)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    parser.add_argument("--count", type=int, default=320, help="small photos")
    parser.add_argument("--large", type=int, default=32, help="12-megapixel photos")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions; the median counts")
    return parser.parse_args()


if __name__ == "__main__":
    main()
