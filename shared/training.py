"""The wire types of training a version: what is asked, and what came of it."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from shared.comparison import VersionName
from shared.messages import Message, Reply, Split

Weights = Literal["auto", "pretrained", "file", "base", "none"]

NAME_PATTERN = r"^(?!now$)[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""Of a version; the registry says what is wrong with another name."""


class ImageFilter(Message):
    """Some labeled images of a split: all that is given must hold. `annotator`: whose answer stands."""

    split: Split | None = None  # its own, for whoever likes to write it down
    label: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    annotator: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class TrainConfig(Message):
    """How a network is trained. What is None is taken from the version that it is cloned from, else default.

    `weights`: `pretrained` from the installation, the model hub or its cache, `file` (of the settings
    'backbone_weights' and 'weights_folder'), those of the version `base` (shrunk and perturbed, because an over-fitted
    network learns badly what is new), or `none`, from scratch; `auto` takes the first of file, pretrained and none that
    can be had. Sizes are pixels a side; a batch or a rate of None is found. `train`, `validation` and `test` leave out
    images of their split, and never take one of another.
    """

    architecture: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    weights: Weights = "auto"
    input_size: Annotated[int, Field(ge=16, le=1_024)] | None = None
    epochs: Annotated[int, Field(ge=1, le=1_000)] | None = None
    batch_size: Annotated[int, Field(ge=2, le=4_096)] | None = None
    learning_rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    patience: Annotated[int, Field(ge=1, le=1_000)] | None = None  # epochs without gain on validation until it ends
    flip: bool | None = None  # whether a mirrored image is the same; not so for letters and digits
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    train: ImageFilter | None = None  # that are learned from
    validation: ImageFilter | None = None  # that choose the epoch
    test: ImageFilter | None = None  # that the version is measured on

    @model_validator(mode="after")
    def _own_splits(self) -> Self:
        for split in get_args(Split):
            chosen = getattr(self, split)
            if chosen is not None and chosen.split not in (None, split):
                raise ValueError(f"{split!r} can only choose among {split} images, not split={chosen.split}")
        return self


class TrainRequest(TrainConfig):
    """Train a network on all labels of now and keep it as a version; a clone of `base`, where one is named."""

    base: VersionName | None = None


class Trained(Reply):
    """What came of it; all else stands in the version."""

    version: str
    epochs: int  # that were trained
    best_epoch: int  # whose weights were kept, chosen on validation
    seconds: float
    images_per_second: float
    history: list[dict[str, float]] = Field(
        default_factory=list
    )  # an epoch: its number, losses, accuracy on validation
    notes: list[str] = Field(default_factory=list)  # what was not as asked, such as a smaller batch


class NetworkName(Reply):
    """A network that can be trained."""

    name: str


class NewModel(Message):
    """`POST /models`: keep the current model as version `name`, or with `train`, train one."""

    name: Annotated[str, Field(max_length=100, json_schema_extra={"pattern": NAME_PATTERN})]
    train: TrainRequest | None = None
