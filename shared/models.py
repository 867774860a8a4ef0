"""The wire types of saved model versions. What a version says of itself on disk (`model.json`) is the same thing."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from shared.messages import Evaluation, Reply

Learner = Literal["head", "fine_tuner"]
Preparation = Literal["middle square", "squeezed"]
Three = Annotated[list[float], Field(min_length=3, max_length=3)]
Text = Annotated[str, Field(max_length=500)]

FORMAT = 1
"""Of a version's folder. A newer one is refused, not guessed at."""
CONFIG = ("backbone", "backbone_weights", "input_size", "model_fn", "embeddings", "query_strategy", "seed")
"""The settings that a version's `config` records: with other values it would be another version."""


class ModelClass(Reply):
    """A class as the version learned it; its name may have changed since."""

    id: int
    name: Text


class ModelInput(Reply):
    """How an image becomes input: its middle square scaled (bicubic), or all of it squeezed to a square (bilinear).

    `trainer.embeddings.preparation` has every detail; `preprocessing` is the number of the definition that the version
    was made with.
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
