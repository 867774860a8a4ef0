"""Load an exported version as a fastai Learner, without Flywheel and without pickle: pip install fastai timm
safetensors

learner = load_learner("unpacked zip", "folder of photos"); learner.predict("photo.jpg"); learner.fine_tune(1)
"""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import timm
from fastai.vision.all import (
    CategoryBlock,
    ColReader,
    DataBlock,
    ImageBlock,
    IndexSplitter,
    Learner,
    Normalize,
    PILImage,
    RandomSplitter,
    accuracy,
)
from PIL import Image, ImageOps
from safetensors.torch import load_file


def prepare(path: str, size: int, squeezed: bool) -> Image.Image:
    """An image file as the input of the network, exactly as Flywheel makes it.

    But for colour of 16 bits a channel, of which Pillow keeps the high byte: save such a file with 8 bits first.
    """
    file = Image.open(path)
    file.draft(None, (2 * size, 2 * size))  # a large JPEG at 1/2, 1/4 or 1/8, but no smaller than this
    image = ImageOps.exif_transpose(file)
    if image.mode == "F" or image.mode.startswith("I"):  # grey of more than 8 bits
        values = np.nan_to_num(np.asarray(image, dtype=np.float32)).clip(0)
        brightest = float(values.max(initial=0))
        scale = 255 if image.mode == "F" and brightest <= 1 else 2.0 ** -max(math.frexp(brightest)[1] - 8, 0)
        image = Image.fromarray((values * scale).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    if squeezed:
        return image.resize((size, size), Image.Resampling.BILINEAR)
    return image if image.size == (size, size) else ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)


def load_learner(folder: str, photos: str) -> Learner:
    """The version in `folder` with its train and validation images from `photos`, to continue training."""
    said = json.loads((Path(folder) / "model.json").read_text(encoding="utf-8"))
    size, architecture = said["input"]["size"], said["architecture"]
    config = timm.get_pretrained_cfg(architecture)
    fixed = {"img_size": size} if config is not None and config.fixed_input_size else {}
    network = timm.create_model(architecture, num_classes=len(said["classes"]), **fixed)
    network.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    classes = [each["name"] for each in said["classes"]]
    table = pd.read_csv(Path(folder) / "dataset.csv", dtype=str)
    table[["uri", "label"]] = table[["uri", "label"]].apply(
        lambda cells: cells.str.replace(r"(?<![^;|\t\r\n])'('*[^\S\t\r\n]*[=+\-@\t\r＝＋－＠])", r"\1", regex=True)
    )  # drop the apostrophes that keep spreadsheets from running a cell as a formula
    table = table[(table["split"] != "test") & table["label"].isin(classes)].reset_index(drop=True)
    held_out = table.index[table["split"] == "validation"].tolist()

    class Photo(PILImage):  # type: ignore[misc]  # fastai is not typed
        """An image file as the network's input."""

        @classmethod
        def create(cls, file: str | Path, **_: object) -> PILImage:
            """Open and prepare the file."""
            return cls(prepare(str(file), size, squeezed=False))

    block = DataBlock(
        (ImageBlock(Photo), CategoryBlock(vocab=classes, sort=False)),
        get_x=ColReader("uri", pref=f"{photos}/"),
        get_y=ColReader("label"),
        splitter=IndexSplitter(held_out) if held_out else RandomSplitter(seed=0),
        batch_tfms=Normalize.from_stats(said["input"]["mean"], said["input"]["std"], cuda=False),
    )
    return Learner(block.dataloaders(table, bs=min(32, len(table) // 2)), network, metrics=accuracy)
