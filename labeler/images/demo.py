"""The demo: the 1,797 handwritten digits that come with scikit-learn, written as image files."""

from __future__ import annotations

import csv
import os
import shutil
from io import StringIO
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = [str(digit) for digit in range(10)]
SCALE = 8
"""Each of the 8 × 8 pixels becomes a square with this side in pixels, so that a person can recognize the digit."""


def truth() -> dict[str, str]:
    """The true classes, file name → class, for a simulated annotator."""
    from sklearn.datasets import load_digits

    return {_file_name(number): str(label) for number, label in enumerate(load_digits().target)}


def write_digits(folder: Path) -> Path:
    """Write `folder/images/*.png` once, and `folder/labels.csv` for a simulated annotator; returns the image folder."""
    images = folder / "images"
    if images.is_dir():
        return images
    from sklearn.datasets import load_digits  # takes two seconds to import, and only the demo needs it

    digits = load_digits()
    part = folder / f".images.{os.getpid()}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    table = StringIO(newline="")
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["filename", "label"])
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        name = _file_name(number)
        grey = np.kron(255 - pixels * (255 / 16), np.ones((SCALE, SCALE))).astype(np.uint8)  # (64, 64), dark ink
        Image.fromarray(grey).save(part / name)
        rows.writerow([name, label])
    (folder / "labels.csv").write_text(table.getvalue(), encoding="utf-8")
    part.rename(images)
    return images


def _file_name(number: int) -> str:
    return f"digit-{number:04d}.png"
