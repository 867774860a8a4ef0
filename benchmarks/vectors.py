"""Writes the vectors for `benchmarks.label_efficiency --npz` from labeled photos, as the trainer embeds them.

    python -m benchmarks.vectors PHOTOS-BY-CLASS photos.npz --backbone mobilenetv2_100 --input-size 160
    python -m benchmarks.vectors labels.csv photos.npz --images photos --most 4000 …

Labels can have any form that `flywheel import` reads: a folder per class, a table, an export of another tool.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

import numpy as np
from rich.progress import track

from labeler.transfer.sources import open_source
from shared.images.finding import read
from shared.images.opening import ImageLimits
from shared.settings.services import TrainerSettings
from shared.wire.imports import ImportRow
from trainer.embeddings.backbones.backbone import load_backbone

BATCH = 64


def main() -> None:
    """Embed and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=Path, help="base folder of file names (default: the folder of the labels)")
    parser.add_argument("--most", type=int, help="number of images, drawn at random with seed 0")
    parser.add_argument("--views", action="store_true", help="features of three views, as after the second look")
    network = ("backbone", "backbone_weights", "backbone_mean", "backbone_std", "input_size")
    for name in network:
        parser.add_argument(f"--{name.replace('_', '-')}")
    given = parser.parse_args()
    source = open_source(given.labels)
    labeled = [row for row in source.rows() if isinstance(row, ImportRow)]
    if given.most is not None and given.most < len(labeled):
        labeled = random.Random(0).sample(labeled, given.most)
    settings = TrainerSettings.load(command_line={name: str(v) for name in network if (v := getattr(given, name))})[0]
    limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
    vectors = []
    with tempfile.TemporaryDirectory() as folder:
        backbone = load_backbone(settings, Path(folder))
        if backbone is None:
            raise SystemExit("No backbone is named, and none can be had here: see docs/guides/backbones.md.")
        if given.views:
            from trainer.embeddings.backbones.feature_blocks import VIEWS
            from trainer.embeddings.backbones.torch_networks import TorchBackbone

            if not isinstance(backbone, TorchBackbone) or not backbone.version:
                raise SystemExit(f"{backbone.key} has no features of several views.")
            backbone = backbone.in_version(VIEWS)
        for start in track(range(0, len(labeled), BATCH), "Embedding"):
            files = (read(row.uri, given.images or source.folder, limits) for row in labeled[start : start + BATCH])
            inputs = [backbone.preprocessing.read(file, limits) for file in files]
            vectors.append(backbone.embed(np.stack(inputs)))
    kept = np.concatenate(vectors).astype(np.float16)  # as the trainer stores them
    names = np.array([row.label for row in labeled])
    np.savez(given.out, X=kept.astype(np.float32), labels=names, blocks=np.array(backbone.blocks))
    print(f"{given.out}: {len(labeled)} images, {kept.shape[1]} values each, {backbone.key}")


if __name__ == "__main__":
    main()
