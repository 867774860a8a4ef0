"""The trainer's status."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from shared.backbone import ResolvedBackbone
from shared.wire.evaluation import Advice, Interval
from shared.wire.fields import DiskTrouble, Reply, TrainerState


class Downloading(Reply):
    """A network being downloaded from the model hub; `total_bytes` is 0 while its size is unknown."""

    name: str
    done_bytes: int
    total_bytes: int


class EmbeddingProgress(Reply):
    """Images embedded, out of those in the catalogue; `problems` could not be read."""

    done: int
    total: int
    backbone: str = ""
    seconds_left: float | None = None
    problems: int = 0
    banner: str | None = None  # what this backbone costs in accuracy, and how to improve it
    resolved: ResolvedBackbone | None = (
        None  # the backbone; None while it is being chosen, and for embeddings from a file
    )
    download: Downloading | None = None
    lacks: str | None = None  # a sentence: why nothing can be embedded until other images are added


class Saved(Reply):
    """What was saved on stopping, and where."""

    model: str
    dataset: str
    model_version: str
    reason: str
    at: datetime


class ChallengerRound(Reply):
    """The result of a challenger round: the challenger and the live head, compared on the same images.

    These are validation images, or train images predicted by models that did not learn from them (out of fold).
    """

    round: int
    labels: int  # of train images at its start
    ground: Literal["validation", "out of fold"]
    accuracy: Interval  # of a head on the new network's embeddings
    head: Interval  # of the live head
    gain: Interval  # of accuracy, with its 95 % bootstrap interval
    p: float  # McNemar's exact test
    better: bool  # significantly better: it takes over
    embeddings: str | None = None  # key of the new ones if it takes over
    seconds: float = 0.0
    notes: list[str] = Field(default_factory=list)  # deviations from the plan, such as a smaller batch


class ChallengerView(Reply):
    """What the challenger, the network trained during labeling, is doing: `done` of `total` steps, and in words."""

    state: Literal["off", "waiting", "training", "embedding", "halted"]
    message: str
    round: int = 0  # the current round, or the last
    done: int = 0
    total: int = 0
    seconds_left: float | None = None  # of computing, without pauses; None while unknown
    aim: str = ""  # what the round, or the next one, would replace, and when; "" while off
    last: ChallengerRound | None = None
    serving: str | None = None  # the version whose embeddings are live; None: those of the settings


class Tracking(Reply):
    """Whether metrics are also kept with wandb, and where."""

    mode: Literal["offline", "online", "off"]
    run: str | None = None  # its folder or URL; None before there is anything to keep
    error: str | None = None  # why nothing is kept now; it is retried


class ClassNames(Reply):
    """How the words of the class names serve as a first guess (setting `text_network`)."""

    state: Literal["off", "loading", "used", "dropped", "failed"]
    message: str  # a sentence for people; "" while off


class TrainerStatus(Reply):
    """`GET /status` of the trainer."""

    state: TrainerState
    log_id: UUID | None
    acked_seq: int
    round: int
    labels: int
    model_version: str | None
    strategy: str
    metrics: dict[str, Any]
    last_error: str | None
    embedding: EmbeddingProgress
    timings: dict[str, float]  # milliseconds of the last round, per step
    stop_reason: str | None = None
    saved: Saved | None = None
    advice: Advice | None = None  # from the latest evaluation
    challenger: ChallengerView | None = None
    class_names: ClassNames | None = None
    label_budget: int = 0  # labels after which it stops by itself; 0: no budget, or continued beyond it
    tracking: Tracking = Tracking(mode="off")
    not_learned: list[str] = Field(default_factory=list)  # multi-label: classes without a yes and a no among the labels
    marks: dict[str, str] = Field(default_factory=dict)  # of versions and jobs: a mark changes when any of them does
    disk: DiskTrouble | None = None  # what keeps the trainer from writing
    version: str = ""
    name: str = ""  # of the project
    workspace: str = ""  # folder on the trainer's machine
