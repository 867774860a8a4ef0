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


class SecondLookView(Reply):
    """Whether each image is embedded a second time, in several views: `done` of `total`.

    It waits until every image has its first vector. Once it is used, new images get all views at once. `problems` could
    not be read the second time, and are tried again.
    """

    state: Literal["off", "waiting", "embedding", "used"]
    message: str = ""  # why it is off, as a sentence
    done: int = 0
    total: int = 0
    problems: int = 0
    seconds_left: float | None = None


class EmbeddingProgress(Reply):
    """The number of embedded images out of those in the catalogue. `problems` could not be read."""

    done: int
    total: int
    backbone: str = ""
    seconds_left: float | None = None
    problems: int = 0
    banner: str | None = None  # how much accuracy this backbone loses, and how to improve that
    resolved: ResolvedBackbone | None = (
        None  # the backbone; None while it is being chosen, and for embeddings from a file
    )
    download: Downloading | None = None
    lacks: str | None = None  # why nothing can be embedded until images are added, as a sentence
    second_look: SecondLookView | None = None  # None where there is nothing to gain by it

    @property
    def unfinished(self) -> bool:
        """Whether images are still to be read. Those that could not be read are tried again later."""
        return self.done + self.problems < self.total


class Saved(Reply):
    """What was saved when the trainer stopped, and where."""

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
    metric: str = "accuracy"  # what is compared; macro_f1 in a multi-label project
    accuracy: Interval  # this metric of a head on the new network's embeddings
    head: Interval  # of the live head
    gain: Interval  # gain of the challenger, with its 95 % bootstrap interval
    p: float  # McNemar's exact test for accuracy, a permutation test for macro F1
    better: bool  # significantly better, so it replaces the live model
    embeddings: str | None = None  # key of the new embeddings, if it does
    seconds: float = 0.0
    notes: list[str] = Field(default_factory=list)  # deviations from the plan, such as a smaller batch


class ChallengerView(Reply):
    """The state of the challenger, the network trained during labeling: `done` of `total` steps, and in words."""

    state: Literal["off", "waiting", "training", "embedding", "halted"]
    message: str
    round: int = 0  # the current round, or the last
    done: int = 0
    total: int = 0
    seconds_left: float | None = None  # computing time, without pauses; None while unknown
    aim: str = ""  # what this or the next round would replace, and when; "" while off
    last: ChallengerRound | None = None
    serving: str | None = None  # the version whose embeddings are live; None: those from the settings


class Tracking(Reply):
    """Whether metrics are also logged to wandb, and where."""

    mode: Literal["offline", "online", "off"]
    run: str | None = None  # folder or URL of the run; None until there is something to log
    error: str | None = None  # why nothing is logged now; it is retried


class ClassNames(Reply):
    """How the words of the class names provide the first predictions (setting `text_network`)."""

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
    advice: Advice | None = None  # based on the latest evaluation
    challenger: ChallengerView | None = None
    class_names: ClassNames | None = None
    wants_each: bool = False  # each label brings the first model closer, so the labeler sends it at once
    label_budget: int = 0  # labels after which training stops; 0: no budget, or continued beyond it
    tracking: Tracking = Tracking(mode="off")
    not_learned: list[str] = Field(default_factory=list)  # multi-label: classes whose labels lack a yes or a no
    marks: dict[str, str] = Field(default_factory=dict)  # change markers of versions and of jobs
    disk: DiskTrouble | None = None  # why the trainer cannot write
    engine: Literal["local", "ray"] = "local"  # where it embeds images and computes over all of them
    workers_away: str | None = None  # a sentence: why the workers of the engine do not work; the trainer does it alone
    version: str = ""
    name: str = ""  # of the project
    workspace: str = ""  # folder on the trainer's machine
