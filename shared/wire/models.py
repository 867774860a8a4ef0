"""Saved model versions, how one is trained, and predictions. `model.json` on disk holds the same as the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from shared.wire.evaluation import Evaluation
from shared.wire.fields import Id, Message, Reply, Split
from shared.wire.jobs import VersionName
from shared.wire.project import Project

Learner = Literal["head", "fine_tuner"]
Preparation = Literal["middle square", "squeezed"]
Three = Annotated[list[float], Field(min_length=3, max_length=3)]
Text = Annotated[str, Field(max_length=500)]

FORMAT = 1
"""Of a version's folder. A newer one is refused, not guessed at."""


class ModelClass(Reply):
    """A class as the version learned it; its name may have changed since."""

    id: int
    name: Text


class ModelInput(Reply):
    """How an image becomes input: its middle square scaled (bicubic), or all of it squeezed to a square (bilinear).

    `trainer.embeddings.backbones.preparation` has every detail; `preprocessing` is the number of the definition that
    the version was made with.
    """

    preprocessing: int = 1
    size: int = Field(ge=1, le=4_096)  # pixels a side
    preparation: Preparation
    mean: Three  # of values from 0 to 1
    std: Three


class Description(Reply):
    """How a version came about and how good it was."""

    parent: Text | None = None  # the version that it was made from
    learner: Learner
    architecture: Text  # a timm name, `pixels`, or what else made the embeddings
    config: dict[str, Any] = Field(default_factory=dict)
    classes: list[ModelClass] = Field(min_length=2, max_length=100_000)  # in the order of the outputs
    input: ModelInput | None = None  # None: it has no network of its own, because its vectors came from a file
    embeddings: Text | None = None  # the head: key of the embeddings that it reads
    log_id: Text
    acked_seq: int  # rows of the log that it had seen
    labels: int  # that it learned from
    labels_by_class: dict[str, int] = Field(default_factory=dict)
    metrics: Evaluation | None = None  # on the test images labeled by then; None: none was
    seconds: float | None = None  # that the last training took
    reason: Text = ""
    how_to_use: str = ""


class ModelVersion(Description):
    """A saved version."""

    format: int = FORMAT
    version: str
    saved_at: datetime
    parameters: int  # numbers in `model.safetensors`
    bytes: int  # of the same file
    sha256: str
    promoted: bool = False  # it answers `POST /predict`; not part of the file
    all_bytes: int | None = None  # of all that answers, the network under a head too; not part of the file


class Unreadable(Reply):
    """A version that is refused, and why."""

    version: str
    reason: str


class ModelList(Reply):
    """`GET /models`: oldest first. `promoted` answers predictions; None: the current model does. `warning` says what
    speaks against the version that was to be promoted."""

    models: list[ModelVersion]
    promoted: str | None = None
    warning: str | None = None
    unreadable: list[Unreadable] = Field(default_factory=list)


class Pruned(Reply):
    """`DELETE /models`: what was deleted, and what is still needed, with the reason."""

    deleted: list[str]
    kept: dict[str, str]


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


class PredictRequest(Message):
    """`POST /predict` as JSON; images may also be uploaded, all fields named `images`."""

    image_ids: list[Id] = Field(max_length=10_000)


class Prediction(Reply):
    """One image's class probabilities, by class name."""

    label: str
    confidence: float
    probabilities: dict[str, float]


class Predictions(Reply):
    """In the order in which the images were given."""

    model_version: str
    predictions: list[Prediction]


Project.model_rebuild()
