"""Load an exported version as a fastai Learner, without Flywheel and without pickle: pip install fastai timm
safetensors

learner = load_learner("unpacked zip", "folder of photos"); learner.predict("photo.jpg"); learner.fine_tune(1)
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import timm
import torch
from fastai.vision.all import (
    BCEWithLogitsLossFlat,
    CategoryBlock,
    ColReader,
    DataBlock,
    ImageBlock,
    IndexSplitter,
    Learner,
    MultiCategoryBlock,
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
    tensors = load_file(Path(folder) / "model.safetensors")
    several = "thresholds" in tensors  # an image can have several classes, each from its own threshold on
    network.load_state_dict({name: each for name, each in tensors.items() if name not in ("thresholds", "temperature")})
    classes = [each["name"] for each in said["classes"]]
    table = pd.read_csv(Path(folder) / "dataset.csv", dtype=str)
    cells = ["uri", "label", "class_id"] if several else ["uri", "label"]
    table[cells] = table[cells].apply(
        lambda cells: cells.str.replace(r"(?<![^;|\t\r\n])'('*[^\S\t\r\n]*[=+\-@\t\r＝＋－＠])", r"\1", regex=True)
    )  # drop the apostrophes that keep spreadsheets from running a cell as a formula
    usable = table["class_id"].notna() if several else table["label"].isin(classes)
    table = table[(table["split"] != "test") & usable].reset_index(drop=True)
    held_out = table.index[table["split"] == "validation"].tolist()

    class Photo(PILImage):  # type: ignore[misc]  # fastai is not typed
        """An image file as the network's input."""

        @classmethod
        def create(cls, file: str | Path, **_: object) -> PILImage:
            """Open and prepare the file."""
            return cls(prepare(str(file), size, squeezed=False))

    def answers(cell: str) -> list[int]:
        """1 for each class that the image has, 0 for those that it lacks, -1 if unknown: "3;-5" has 3, not 5."""
        said_of = {each.lstrip("-"): int(not each.startswith("-")) for each in cell.split(";")}
        return [said_of.get(str(each["id"]), -1) for each in said["classes"]]

    target = MultiCategoryBlock(encoded=True, vocab=classes) if several else CategoryBlock(vocab=classes, sort=False)
    block = DataBlock(
        (ImageBlock(Photo), target),
        get_x=ColReader("uri", pref=f"{photos}/"),
        get_y=(lambda row: answers(row["class_id"])) if several else ColReader("label"),
        splitter=IndexSplitter(held_out) if held_out else RandomSplitter(seed=0),
        batch_tfms=Normalize.from_stats(said["input"]["mean"], said["input"]["std"], cuda=False),
    )
    data = block.dataloaders(table, bs=min(32, len(table) // 2))
    if several:
        loss = KnownAnswers(thresh=tensors["thresholds"])
        loss.temperature = tensors["temperature"]
        return Learner(data, network, loss_func=loss, metrics=known_accuracy)
    return Learner(data, network, metrics=accuracy)


class KnownAnswers(BCEWithLogitsLossFlat):  # type: ignore[misc]  # fastai is not typed
    """Binary cross-entropy of the known answers; a target of -1 is unknown."""

    temperature: torch.Tensor

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor, **_: object) -> Any:
        """The mean loss."""
        known = targets >= 0
        return super().__call__(logits[known], targets[known])

    def activation(self, logits: torch.Tensor) -> torch.Tensor:
        """Probabilities, as Flywheel gives them."""
        return torch.sigmoid(logits / self.temperature)

    def decodes(self, probabilities: torch.Tensor) -> Any:
        """Which classes are predicted."""
        return probabilities >= self.thresh


def known_accuracy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The share of known answers that the network predicts correctly, at a threshold of one half."""
    known = targets >= 0
    return ((logits[known] > 0) == (targets[known] == 1)).float().mean()
