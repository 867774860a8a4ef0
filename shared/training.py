"""The wire types of training a version: what is asked, and what came of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.comparison import VersionName
from shared.messages import Message, Reply

Weights = Literal["auto", "pretrained", "file", "base", "none"]


class TrainRequest(Message):
    """Train a network on all labels of now and keep it as a version. What is None is taken from `base`, else default.

    `weights`: `pretrained` from the model hub or its cache, `file` (the setting 'backbone_weights'), those of the
    version `base` (shrunk and perturbed, because an over-fitted network learns badly what is new), or `none`, from
    scratch; `auto` takes the first of file, pretrained, none that can be had. Sizes are pixels a side; a batch or a
    rate of None is found.
    """

    base: VersionName | None = None
    architecture: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    weights: Weights = "auto"
    input_size: Annotated[int, Field(ge=16, le=1_024)] | None = None
    epochs: Annotated[int, Field(ge=1, le=1_000)] | None = None
    batch_size: Annotated[int, Field(ge=2, le=4_096)] | None = None
    learning_rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    patience: Annotated[int, Field(ge=1, le=1_000)] | None = None  # epochs without gain on validation until it ends
    flip: bool | None = None  # whether a mirrored image is the same; not so for letters and digits
    seed: Annotated[int, Field(ge=0)] | None = None


class Trained(Reply):
    """What came of it; all else stands in the version."""

    version: str
    epochs: int  # that were trained
    best_epoch: int  # whose weights were kept, chosen on validation
    seconds: float
    images_per_second: float
    notes: list[str] = Field(default_factory=list)  # what was not as asked, such as a smaller batch


class NewModel(Message):
    """`POST /models`: keep the model of now as version `name`, or with `train`, train one."""

    name: Annotated[str, Field(max_length=100)]
    train: TrainRequest | None = None
