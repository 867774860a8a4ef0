"""Saved model versions, how they are trained, and predictions. `model.json` on disk has the same format."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from shared.wire.evaluation import Evaluation
from shared.wire.fields import Id, Message, Reply, Split
from shared.wire.jobs import VersionName
from shared.wire.project import Project

Learner = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,49}$")]
"""The learner that made a version, such as `head` or `fine_tuner`."""
Preparation = Literal["middle square", "squeezed", "letterbox"]
Three = Annotated[list[float], Field(min_length=3, max_length=3)]
Text = Annotated[str, Field(max_length=500)]

FORMAT = 1
"""Format number of a version's folder. A newer one is refused."""


class ModelClass(Reply):
    """A class as it was when the version learned it. It may have been renamed since."""

    id: int
    name: Text


class ModelInput(Reply):
    """How an image is turned into input: its centre square, scaled (bicubic), the whole image squeezed to a square
    (bilinear), or the whole image scaled to fit into the middle of a square (`letterbox`, for boxes).

    `trainer.embeddings.backbones.preparation` has the details. `preprocessing` is the number of the definition with
    which the version was made.
    """

    preprocessing: int = 1
    size: int = Field(ge=1, le=4_096)  # pixels per side
    preparation: Preparation
    mean: Three  # for values from 0 to 1
    std: Three


FINE_TUNED = ("fine_tuner", "sigmoid_fine_tuner")
"""Learners whose versions are one network with its own classifier."""


class Description(Reply):
    """How a version was made and how good it is."""

    parent: Text | None = None  # the version it was made from
    learner: Learner
    architecture: Text  # a timm name, `pixels`, or another source of embeddings
    config: dict[str, Any] = Field(default_factory=dict)
    classes: list[ModelClass] = Field(min_length=1, max_length=100_000)  # in the order of the network's outputs
    input: ModelInput | None = None  # None: no network, because the embeddings came from a file
    embeddings: Text | None = None  # key of the embeddings, for heads only
    log_id: Text
    acked_seq: int  # end of the log that it has seen
    labels: int  # number of labels it was trained on
    labels_by_class: dict[str, int] = Field(default_factory=dict)
    metrics: Evaluation | None = None  # on the test images labeled by then; None if there were none
    seconds: float | None = None  # of the last training
    reason: Text = ""
    how_to_use: str = ""

    @property
    def opens_in_fastai(self) -> bool:
        """Whether it is a whole timm network that classifies."""
        return self.learner in FINE_TUNED and ":" not in self.architecture


class ModelVersion(Description):
    """A saved version."""

    format: int = FORMAT
    version: str
    saved_at: datetime
    parameters: int  # in `model.safetensors`
    bytes: int  # of the same file
    sha256: str
    promoted: bool = False  # whether it answers `POST /predict`; not in the file
    all_bytes: int | None = None  # including the network under a head; not in the file


class Unreadable(Reply):
    """A version that cannot be used, with the reason."""

    version: str
    reason: str


class ModelList(Reply):
    """`GET /models`: oldest first. `promoted` is the version that answers predictions; None if the live model does.
    `warning` says what speaks against the promoted version.
    """

    models: list[ModelVersion]
    promoted: str | None = None
    warning: str | None = None
    unreadable: list[Unreadable] = Field(default_factory=list)


class Pruned(Reply):
    """`DELETE /models`: what was deleted, and what was kept because it is still needed, with reasons."""

    deleted: list[str]
    kept: dict[str, str]


Weights = Literal["auto", "pretrained", "file", "base", "none"]

NAME_PATTERN = r"^(?!now$)[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""Name of a version. If a name is invalid, the registry says why."""


class ImageFilter(Message):
    """Selects labeled images of a split that match all given fields. `annotator`: the author of the current answer."""

    split: Split | None = None  # the split that this filter is for; optional
    label: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    annotator: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class TrainConfig(Message):
    """How a network is trained. None means the value of the cloned version, else the default.

    `weights` are the initial weights: `pretrained` from the installation, the model hub or its cache; `file` from the
    settings 'backbone_weights' and 'weights_folder'; those of the version `base` (shrunk and perturbed, because an
    over-fitted network is slow to learn new labels); or `none`, from scratch. `auto` takes the first available of file,
    pretrained and none. Sizes are pixels per side. A batch size or learning rate of None is chosen automatically.
    `train`, `validation` and `test` leave out images of their split, and never use images of another.
    """

    architecture: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    weights: Weights = "auto"
    input_size: Annotated[int, Field(ge=16, le=1_024)] | None = None
    epochs: Annotated[int, Field(ge=1, le=1_000)] | None = None
    batch_size: Annotated[int, Field(ge=2, le=4_096)] | None = None
    learning_rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    patience: Annotated[int, Field(ge=1, le=1_000)] | None = None  # epochs without gain before stopping
    flip: bool | None = None  # allow horizontal flips; wrong for letters and digits
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    train: ImageFilter | None = None  # images to train on
    validation: ImageFilter | None = None  # images on which the best epoch is chosen
    test: ImageFilter | None = None  # images to measure on

    @model_validator(mode="after")
    def _own_splits(self) -> Self:
        for split in get_args(Split):
            chosen = getattr(self, split)
            if chosen is not None and chosen.split not in (None, split):
                raise ValueError(f"{split!r} can only select {split} images, not split={chosen.split}")
        return self


class TrainRequest(TrainConfig):
    """Train a network on all current labels and save it as a version. With `base`, it is a clone of that version."""

    base: VersionName | None = None


class Trained(Reply):
    """The result of a training; the saved version has the rest."""

    version: str
    epochs: int  # number of epochs trained
    best_epoch: int  # the epoch whose weights were kept, chosen on validation images
    seconds: float
    images_per_second: float
    history: list[dict[str, float]] = Field(default_factory=list)  # per epoch: number, losses, accuracy on validation
    notes: list[str] = Field(default_factory=list)  # deviations from the request, such as a smaller batch


class NetworkName(Reply):
    """A network that can be trained."""

    name: str


class NewModel(Message):
    """`POST /models`: save the live model as version `name`, or train one with `train`."""

    name: Annotated[str, Field(max_length=100, json_schema_extra={"pattern": NAME_PATTERN})]
    train: TrainRequest | None = None


class PredictRequest(Message):
    """`POST /predict` as JSON. Images can also be uploaded, all as fields named `images`."""

    image_ids: list[Id] = Field(max_length=10_000)


class PredictedBox(Reply):
    """An object in an image: its class by name, and its box in pixels of the upright original."""

    label: str
    confidence: float
    x: float  # of the top left corner
    y: float
    w: float
    h: float


class Prediction(Reply):
    """One image's class probabilities, by class name.

    In a multi-label project, each class has its own probability, and they do not sum to 1. `labels` are the classes at
    or above their threshold, and `label` has the same names, separated by `;` (a backslash escapes a `;` within a
    name). `confidence` is the probability that all of this is right if classes were independent.

    In a detection project, `boxes` are those that the page Label would suggest, most confident first. `labels` are
    their classes, `probabilities` the highest confidence of each class, and `confidence` that of the least certain box.
    """

    label: str
    confidence: float
    probabilities: dict[str, float]
    labels: list[str] | None = None  # multi-label and detection only
    boxes: list[PredictedBox] | None = None  # detection only


class Predictions(Reply):
    """Predictions in the order of the images."""

    model_version: str
    predictions: list[Prediction]


Project.model_rebuild()
