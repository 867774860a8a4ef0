"""The speed of embedding image files, as a share of the network's own speed: `python -m benchmarks.embedding`.

It embeds small files (short side 160 px) and 12-megapixel JPEGs through the real `Embedder` (read, hash, decode,
forward, store), each as a ratio to a bare forward pass of the same backbone on prepared batches; the two alternate in
one run. Then it reads and inspects the same files as a catalogue scan does, in one thread. Without `--images` it makes
photos. Without `--backbone` the network has random weights, which take the same time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image

from benchmarks.machine import describe
from shared.images.finding import find_images, read
from shared.images.opening import ImageLimits, inspect
from shared.settings.services import TrainerSettings
from shared.wire.images import ImageEntry
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


def untrained() -> torch.nn.Module:
    """The default backbone: the values of the weights do not change its speed."""
    network: torch.nn.Module = timm.create_model("mobilenetv2_100", num_classes=0)
    return network


def _embedding(
    name: str, root: Path, entries: list[ImageEntry], settings: TrainerSettings, scratch: Path, rounds: int
) -> None:
    whole, bare = [], []
    for turn in range(rounds):
        embedder = Embedder(settings, scratch / f"{name} {turn}", lambda entry: read(entry.uri, root, LIMITS))
        if not isinstance(embedder.backbone, TorchBackbone):
            raise SystemExit("This measures networks; `pixels` has none.")
        bare.append(_forward(embedder.backbone, len(entries), settings.batch_size))
        start, pending = time.perf_counter(), entries
        while pending:
            done = {entry.id for entry in embedder.step(pending, more_coming=False)} | set(embedder.problems)
            pending = [entry for entry in pending if entry.id not in done]
        whole.append(len(entries) / (time.perf_counter() - start))
        embedder.close()
    ratios = [part / full for part, full in zip(whole, bare, strict=True)]
    print(
        f"{name}: {statistics.median(whole):.1f} images/s embedded, {statistics.median(bare):.1f} in a bare forward "
        f"pass, ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f} in {rounds} turns of "
        f"{len(entries)} images; {embedder.key})"
    )


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
    network = {"backbone": options.backbone} if options.backbone else {"model_fn": "benchmarks.embedding:untrained"}
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
    parser.add_argument("--backbone", help="timm name (default: an untrained mobilenetv2_100)")
    parser.add_argument("--weights", help="local weights of that backbone")
    parser.add_argument("--mean", help="three numbers: 0.5,0.5,0.5")
    parser.add_argument("--std", help="three numbers")
    parser.add_argument("--size", type=int, default=160, help="pixels per side of the network's input")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    parser.add_argument("--count", type=int, default=320, help="small photos")
    parser.add_argument("--large", type=int, default=32, help="12-megapixel photos")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions; the median counts")
    return parser.parse_args()


if __name__ == "__main__":
    main()
