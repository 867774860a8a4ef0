"""A fastai Learner of an exported version, with nothing of Flywheel and no pickle: pip install fastai timm safetensors

learner = load_learner("unpacked zip", "folder of photos"); learner.predict("photo.jpg"); learner.fine_tune(1)
"""

import json
from pathlib import Path

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
    RandomSplitter,
    Resize,
    accuracy,
)
from PIL import Image
from safetensors.torch import load_file


def load_learner(folder: str, photos: str) -> Learner:
    """The version in `folder`, with its train and validation images of `photos` to go on with; test images stay out."""
    said = json.loads((Path(folder) / "model.json").read_text(encoding="utf-8"))
    size, architecture = said["input"]["size"], said["architecture"]
    config = timm.get_pretrained_cfg(architecture)
    fixed = {"img_size": size} if config is not None and config.fixed_input_size else {}
    network = timm.create_model(architecture, num_classes=len(said["classes"]), **fixed)
    network.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    classes = [each["name"] for each in said["classes"]]
    table = pd.read_csv(Path(folder) / "dataset.csv", dtype=str)
    table[["uri", "label"]] = table[["uri", "label"]].apply(
        lambda cells: cells.str.removeprefix("'")
    )  # kept from spreadsheets
    table = table[(table["split"] != "test") & table["label"].isin(classes)].reset_index(drop=True)
    held_out = table.index[table["split"] == "validation"].tolist()
    block = DataBlock(
        (ImageBlock, CategoryBlock(vocab=classes, sort=False)),
        get_x=ColReader("uri", pref=f"{photos}/"),
        get_y=ColReader("label"),
        splitter=IndexSplitter(held_out) if held_out else RandomSplitter(seed=0),
        item_tfms=Resize(size, resamples=(Image.Resampling.BICUBIC, Image.Resampling.NEAREST)),
        batch_tfms=Normalize.from_stats(said["input"]["mean"], said["input"]["std"], cuda=False),
    )
    return Learner(block.dataloaders(table, bs=min(32, len(table) // 2)), network, metrics=accuracy)
