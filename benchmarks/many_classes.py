"""Data sets with 30 and with 100 classes for `benchmarks.imbalance`. Nothing is downloaded.

- *Together*: several sets of photos as one, each class of each set a class, cut to a number of photos at random. So the
  sizes of the classes differ as they differ there.
- *Pairs*: two handwritten digits of scikit-learn side by side, as 128 raw pixels; a class is a number from 00 to 99. No
  drawing of a digit is in both a train and a test image. Classes share their halves, so that what a class looks like
  says much about others.
- *Characters*: 100 letters, numerals and signs in the fonts that come with matplotlib, turned, sheared, scaled and
  shifted at random, in random colours. The network that comes with the installation embeds them like photos. Some are
  hard to tell apart, such as O and Ο, or l and I in some fonts.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich.progress import track
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from benchmarks.data_sets import Ids, Rows
from shared.settings.services import TrainerSettings
from trainer.embeddings.backbones.backbone import load_backbone

SIGNS = "ABCDEFGHJKLMNPQRSTUVWXYZabdefghijkmnqrtuy0123456789&@#%?!§+=~$£¥{ΓΔΘΛΞΠΣΦΨΩαβγδεζηθλμξπρστφχψω∂∞∫√≈≠"
FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSerif-BoldItalic",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "STIXGeneral",
    "STIXGeneralBol",
)
SIDE = 224
PER_CLASS = 30
BATCH = 64
PAIRS = 2_400, 1_000  # train and test images


class Embedded(NamedTuple):
    """Raw vectors X (n, D), classes y (n,), and the lengths of the blocks of features."""

    X: Rows
    y: Ids
    blocks: tuple[int, ...]


def together(sets: list[Embedded], size: int) -> Embedded:
    """At most `size` images of all sets together. No two sets share a class."""
    first = np.cumsum([0, *(int(each.y.max()) + 1 for each in sets)])
    X = np.concatenate([each.X for each in sets])
    y = np.concatenate([each.y + start for each, start in zip(sets, first, strict=False)])
    if len(y) > size:
        kept, _ = train_test_split(np.arange(len(y)), train_size=size, stratify=y, random_state=0)
        X, y = X[kept], y[kept]
    return Embedded(X, y, sets[0].blocks)


def pairs(seed: int) -> tuple[Rows, Ids, Ids, Ids]:
    """Vectors and classes, train rows and test rows."""
    X, y = load_digits(return_X_y=True)
    images, rng = X.reshape(-1, 8, 8).astype(np.float32), np.random.default_rng(seed)
    parts = train_test_split(np.arange(len(y)), test_size=0.25, stratify=y, random_state=seed)
    rows, classes = [], []
    for drawings, count in zip(parts, PAIRS, strict=True):
        left, right = rng.choice(drawings, (2, count))
        rows.append(np.concatenate([images[left], images[right]], axis=2).reshape(count, -1))
        classes.append(10 * y[left] + y[right])
    train, test = np.split(np.arange(sum(PAIRS)), [PAIRS[0]])
    return np.concatenate(rows), np.concatenate(classes).astype(np.int64), train, test


def characters() -> Embedded:
    """Draw and embed them: a minute or more."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(len(SIGNS)), PER_CLASS)
    settings, _ = TrainerSettings.load(command_line={"input_size": str(SIDE)})
    with tempfile.TemporaryDirectory() as folder:
        backbone = load_backbone(settings, Path(folder))
    if backbone is None:
        raise SystemExit("No network is installed that could embed the characters: see docs/guides/backbones.md.")
    vectors = []
    for start in track(range(0, len(y), BATCH), "Drawing and embedding"):
        drawn = [np.asarray(_drawn(SIGNS[k], rng)) for k in y[start : start + BATCH]]
        vectors.append(backbone.embed(np.stack(drawn).transpose(0, 3, 1, 2)))
    return Embedded(np.concatenate(vectors).astype(np.float32), y, tuple(backbone.blocks))


def _drawn(character: str, rng: np.random.Generator) -> Image.Image:
    """A picture of the character (224 × 224, RGB)."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    font = ImageFont.truetype(str(folder / f"{rng.choice(FONTS)}.ttf"), int(rng.integers(70, 150)))
    paper, ink = rng.integers(0, 256, 3), rng.integers(0, 256, 3)
    while abs(int(paper.mean()) - int(ink.mean())) < 50:
        ink = rng.integers(0, 256, 3)
    picture = Image.new("RGB", (SIDE, SIDE), tuple(paper.tolist()))
    middle = SIDE / 2
    ImageDraw.Draw(picture).text((middle, middle), character, fill=tuple(ink.tolist()), font=font, anchor="mm")
    turn, shear = rng.uniform(-0.25, 0.25), rng.uniform(-0.25, 0.25)
    across, down = rng.uniform(-25, 25, 2)
    cos, sin = np.cos(turn), np.sin(turn)
    a, b, d, e = cos, sin + shear, -sin, cos
    inverse = (a, b, middle - a * middle - b * middle + across, d, e, middle - d * middle - e * middle + down)
    turned = picture.transform(
        (SIDE, SIDE), Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR, fillcolor=tuple(paper.tolist())
    )
    noise = rng.normal(0, 8, (SIDE, SIDE, 1))
    return Image.fromarray(np.clip(np.asarray(turned) + noise, 0, 255).astype(np.uint8))
