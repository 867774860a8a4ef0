"""Images with boxes for benchmarks: a folder in COCO's format, scikit-learn's digits, or scenes composed of photos.

Composed scenes have tight boxes that nobody had to draw, and they differ from each other in what makes detection hard:
`hands` are many small objects of ten kinds, `animals` are one or two large ones. No photo is used twice, so that no
object of a held-out scene was seen in another scene.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage
from sklearn.datasets import load_digits

from trainer.detection.detector import Example

SPLIT = 12_345
"""Seed of the held-out third."""
SCENES = 240
SMALL = (12, 36)
"""Least and most pixels of the side of a small digit."""
WIDTH, HEIGHT = 480, 360
"""Pixels of a scene."""
SKIN = 25
"""A hand is redder than the wall behind it: red minus blue is at least this."""

Drawn = list[tuple[list[float], int]]
"""Boxes as x, y, width, height, each with its class id."""


@dataclass(frozen=True)
class Data:
    """Images by content hash, and the objects in each."""

    files: dict[str, bytes | Path]
    examples: list[Example]
    names: dict[int, str]

    def read(self, sha256: str) -> bytes:
        """The content of an image."""
        found = self.files[sha256]
        return found if isinstance(found, bytes) else found.read_bytes()

    def held_out(self) -> tuple[list[Example], list[Example]]:
        """The images to label, and the third to measure on."""
        order = np.random.default_rng(SPLIT).permutation(len(self.examples))
        third = len(order) // 3
        return [self.examples[i] for i in order[third:]], [self.examples[i] for i in order[:third]]


def coco(folder: Path) -> Data:
    """A folder of images with annotations.json in COCO's format."""
    said = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    drawn: dict[int, Drawn] = {each["id"]: [] for each in said["images"]}
    for each in said["annotations"]:
        if each["bbox"][2] >= 1 and each["bbox"][3] >= 1:
            drawn[each["image_id"]].append((each["bbox"], each["category_id"]))
    files: dict[str, bytes | Path] = {}
    examples = []
    for image in said["images"]:
        path = folder / "images" / image["file_name"]
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        files[sha256] = path
        examples.append(_example(sha256, drawn[image["id"]]))
    return Data(files, examples, {each["id"]: each["name"] for each in said["categories"]})


def digits(count: int = SCENES, seed: int = 0, sides: tuple[int, int] = (24, 120)) -> Data:
    """Two to eight of scikit-learn's digits on a ground of blots, some hiding a corner of another; every tenth scene is
    empty. `sides` are the least and most pixels of a digit."""
    found, draws = load_digits(), np.random.default_rng(seed)
    composed = _Composed({digit: str(digit) for digit in range(10)})
    for number in range(count):
        blots = draws.integers(60, 160, (9, 12, 3)).astype(np.uint8)
        scene = Image.fromarray(blots).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        boxes: Drawn = []
        for _ in range(int(draws.integers(2, 9)) if number % 10 else 0):
            digit = int(draws.integers(len(found.target)))
            side = round(float(np.exp(draws.uniform(*np.log(sides)))))
            x, y = int(draws.integers(0, WIDTH - side)), int(draws.integers(0, HEIGHT - side))
            if _hides(boxes, x, y, side):
                continue
            ink = Image.fromarray((found.images[digit] * 15.9).astype(np.uint8)).resize((side, side))
            colour = tuple(int(each) for each in draws.choice([0, 255], 3) * 0.9 + draws.integers(0, 25, 3))
            scene.paste(colour, (x, y), ink)
            left, top, right, bottom = ink.point(lambda value: 255 * (value > 60)).getbbox() or (0, 0, side, side)
            boxes.append(([x + left, y + top, right - left, bottom - top], int(found.target[digit])))
        composed.add(scene, boxes)
    return composed.data()


def hands(folder: Path, grounds: Path, count: int = SCENES, seed: int = 0) -> Data:
    """Two to six hands of 40 to 130 pixels, cut out of photos of ten signs, on photos of other things; every tenth
    scene is empty. `folder` and `grounds` have labels.csv and images/."""
    return _pasted(folder, grounds, count, seed, most=6, sides=(40, 130), cut=_hand)


def animals(folder: Path, grounds: Path, count: int = SCENES, seed: int = 0) -> Data:
    """One or two photos of animals of ten species, in an oval of 170 to 330 pixels, on photos of other things; every
    tenth scene is empty. `folder` and `grounds` have labels.csv and images/."""
    return _pasted(folder, grounds, count, seed, most=2, sides=(170, 330), cut=_oval)


class _Composed:
    """Scenes made so far."""

    def __init__(self, names: dict[int, str]) -> None:
        self._names = names
        self._files: dict[str, bytes | Path] = {}
        self._examples: list[Example] = []

    def add(self, scene: Image.Image, boxes: Drawn) -> None:
        """Keep a scene as a JPEG."""
        stream = io.BytesIO()
        scene.save(stream, "JPEG", quality=90)
        sha256 = hashlib.sha256(stream.getvalue()).hexdigest()
        self._files[sha256] = stream.getvalue()
        self._examples.append(_example(sha256, boxes))

    def data(self) -> Data:
        """All scenes."""
        return Data(self._files, self._examples, self._names)


def _pasted(
    folder: Path,
    grounds: Path,
    count: int,
    seed: int,
    *,
    most: int,
    sides: tuple[int, int],
    cut: Callable[[Image.Image], tuple[Image.Image, Image.Image] | None],
) -> Data:
    draws = np.random.default_rng(seed)
    photos, behind = _photos(folder), _photos(grounds)
    names = sorted({label for _, label in photos})
    composed = _Composed(dict(enumerate(names)))
    order, backs = draws.permutation(len(photos)).tolist(), draws.permutation(len(behind)).tolist()
    for number in range(count):
        scene = Image.open(behind[backs.pop()][0]).convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        boxes: Drawn = []
        for _ in range(int(draws.integers(1 + (most > 2), most + 1)) if number % 10 else 0):
            path, label = photos[order.pop()]
            cutout = cut(Image.open(path).convert("RGB"))
            side = round(float(np.exp(draws.uniform(*np.log(sides)))))
            x, y = int(draws.integers(0, WIDTH - side)), int(draws.integers(0, HEIGHT - side))
            if cutout is None or _hides(boxes, x, y, side):
                continue
            photo, mask = (each.resize(_within(each.size, side), Image.Resampling.BICUBIC) for each in cutout)
            scene.paste(photo, (x, y), mask)
            boxes.append(([x, y, *photo.size], names.index(label)))
        composed.add(scene, boxes)
    return composed.data()


def _photos(folder: Path) -> list[tuple[Path, str]]:
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        return [(folder / "images" / row["filename"], row["label"]) for row in csv.DictReader(file)]


def _hand(photo: Image.Image) -> tuple[Image.Image, Image.Image] | None:
    """The hand in front of a plain wall, and its mask. None if it is not clearly one piece."""
    pixels = np.asarray(photo).astype(np.int16)
    pieces, found = ndimage.label(ndimage.binary_opening(pixels[..., 0] - pixels[..., 2] > SKIN))
    if not found:
        return None
    sizes = np.bincount(pieces.ravel())[1:]
    hand: NDArray[np.bool_] = ndimage.binary_fill_holes(pieces == 1 + sizes.argmax())
    if not 0.08 < hand.mean() < 0.6:
        return None
    mask = Image.fromarray((hand * 255).astype(np.uint8))
    place = mask.getbbox()
    return photo.crop(place), mask.crop(place).filter(ImageFilter.GaussianBlur(0.7))


def _oval(photo: Image.Image) -> tuple[Image.Image, Image.Image]:
    mask = Image.new("L", photo.size, 0)
    ImageDraw.Draw(mask).ellipse((0, 0, photo.width - 1, photo.height - 1), fill=255)
    return photo, mask


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    """The size with its longer side scaled to `side`."""
    scale = side / max(size)
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def _hides(boxes: Drawn, x: int, y: int, side: int) -> bool:
    """Whether a square would hide much of a box, or the other way round."""
    return any(
        x < bx + 0.7 * bw and bx < x + 0.7 * side and y < by + 0.7 * bh and by < y + 0.7 * side
        for (bx, by, bw, bh), _ in boxes
    )


def _example(sha256: str, boxes: Sequence[tuple[list[float], int]]) -> Example:
    places = np.array([box for box, _ in boxes], np.float32).reshape(-1, 4)
    return Example(sha256, places, np.array([label for _, label in boxes], np.int64))
