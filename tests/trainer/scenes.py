"""Small scenes with objects whose places are known: red squares (class 1) and blue discs (class 2)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from PIL import Image, ImageDraw

from shared.wire.fields import Split
from shared.wire.images import ImageEntry
from shared.wire.log import Row
from tests.trainer.logs import WHEN, entry

WIDTH, HEIGHT = 160, 120
Placed = tuple[int, int, int, int, int]  # class id, x, y, w, h


def objects(number: int) -> list[Placed]:
    """What is in scene `number`: one to three objects that do not touch; nothing in every tenth."""
    draw = np.random.default_rng(number)
    found: list[Placed] = []
    for column in range(0 if number % 10 == 9 else int(draw.integers(1, 4))):
        size = int(draw.integers(24, 40))
        x, y = 52 * column + int(draw.integers(0, 12)), int(draw.integers(4, HEIGHT - 44))
        found.append((1 + int(draw.random() < 0.4), x, y, size, size))
    return found


def scene(number: int) -> bytes:
    """The picture, as PNG."""
    noise = np.random.default_rng(number).integers(150, 190, (HEIGHT, WIDTH, 1)).repeat(3, axis=2)
    image = Image.fromarray(noise.astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for class_id, x, y, w, h in objects(number):
        if class_id == 1:
            pen.rectangle((x, y, x + w - 1, y + h - 1), fill=(200, 30, 30))
        else:
            pen.ellipse((x, y, x + w - 1, y + h - 1), fill=(30, 30, 200))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def scenes(folder: Path, count: int, test: Sequence[int] = ()) -> tuple[Path, list[ImageEntry]]:
    """A folder of scenes, and its catalogue."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number in range(count):
        data = scene(number)
        (folder / f"{number}.png").write_bytes(data)
        split: Split = "test" if number in test else "train"
        entries.append(entry(number, split=split, sha256=sha256(data).hexdigest()))
    return folder, entries


def answer(number: int) -> dict[str, Any]:
    """What a person draws in scene `number`."""
    names = ("label", "x", "y", "w", "h")
    return {"boxes": [{**dict(zip(names, each, strict=True)), "origin": "drawn"} for each in objects(number)]}


def box_rows(images: Sequence[int], *, after: int) -> list[Row]:
    """The answers as rows after `after`."""
    return [
        Row(seq=seq, id=uuid4(), action="label", image_id=image, answer=answer(image), annotator="ann", created_at=WHEN)
        for seq, image in enumerate(images, start=after + 1)
    ]
