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
    """A network on its way from the model hub; `total_bytes` is 0 while its size is unknown."""

    name: str
    done_bytes: int
    total_bytes: int


class EmbeddingProgress(Reply):
    """Images embedded out of those catalogued; `problems` could not be read."""

    done: int
    total: int
    backbone: str = ""
    seconds_left: float | None = None
    problems: int = 0
    banner: str | None = None  # what this backbone costs in accuracy and how to do better
    resolved: ResolvedBackbone | None = None  # what embeds; None while it is being chosen, and for vectors of a file
    download: Downloading | None = None
    lacks: str | None = None  # why nothing can be embedded until other images join, in a sentence


class Saved(Reply):
    """What a stop saved, and where."""

    model: str
    dataset: str
    model_version: str
    reason: str
    at: datetime


class ChallengerRound(Reply):
    """What came of a round of the challenger: it and the head that serves, on the same images.

    Those are validation images, or train images that neither has learned from when it is asked (out of fold).
    """

    round: int
    labels: int  # of train images when it began
    ground: Literal["validation", "out of fold"]
    accuracy: Interval  # of a head over the vectors of the network just trained
    head: Interval  # of the head that serves
    gain: Interval  # of accuracy, with its 95 % bootstrap interval
    p: float  # McNemar's exact test
    better: bool  # beyond noise, so that it takes over
    embeddings: str | None = None  # key of those that take over
    seconds: float = 0.0
    notes: list[str] = Field(default_factory=list)  # what was not as planned, such as a smaller batch


class ChallengerView(Reply):
    """What the challenger, the network trained beside labeling, does now: `done` of `total` steps, and in words."""

    state: Literal["off", "waiting", "training", "embedding", "halted"]
    message: str
    round: int = 0  # the one at work, or the last
    done: int = 0
    total: int = 0
    last: ChallengerRound | None = None
    serving: str | None = None  # the version that brought the embeddings that serve; None: the settings did


class Tracking(Reply):
    """Whether figures are kept with wandb too, and where."""

    mode: Literal["offline", "online", "off"]
    run: str | None = None  # its folder or address; None before there is anything to keep
    error: str | None = None  # why nothing is kept now; it is tried again


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
    timings: dict[str, float]  # milliseconds of the last round, by step
    stop_reason: str | None = None
    saved: Saved | None = None
    advice: Advice | None = None  # of the latest evaluation
    challenger: ChallengerView | None = None
    label_budget: int = 0  # labels after which it stops by itself; 0: none, or somebody went on beyond it
    tracking: Tracking = Tracking(mode="off")
    marks: dict[str, str] = Field(default_factory=dict)  # of versions, jobs: another one once those are others
    disk: DiskTrouble | None = None  # what keeps it from writing
    version: str = ""
    name: str = ""  # of the project, as the workspace says it
    workspace: str = ""  # its folder, on the trainer's machine
