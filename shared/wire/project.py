"""The project: its classes, counts, services, guidelines and settings."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from shared.wire.evaluation import Interval
from shared.wire.fields import ClassName, DiskTrouble, Id, Message, Name, Reply, Source, TrainerState
from shared.wire.images import ScanView
from shared.wire.log import Person


class ClassEntry(Reply):
    """A class. `hotkey` is its key on the card, or None; `labels` counts images.

    `aliases` are other names for it: former names, and names of classes that were merged into it.
    """

    id: int
    name: str
    hotkey: str | None
    labels: int | None = None
    aliases: list[str] = Field(default_factory=list)
    own_hotkey: bool = False  # whether a person chose the key; else it is the digit of its position
    colour: str | None = None  # #rrggbb; None: from the palette
    description: str | None = None


class ClassPost(Message):
    """`POST /api/classes`."""

    name: ClassName
    annotator: Name = "api"


class ClassPatch(Message):
    """`PATCH /api/classes/{id}`: a new name, a class to merge this one into, or how it looks on the pages.

    An empty colour, description or key resets it to the default.
    """

    name: ClassName | None = None
    into: Id | None = None
    colour: Annotated[str, Field(pattern=r"^(#[0-9A-Fa-f]{6})?$")] | None = None
    description: Annotated[str, Field(max_length=500)] | None = None
    hotkey: Annotated[str, Field(max_length=1)] | None = None
    place: Id | None = None  # position among the classes, from 0
    annotator: Name = "api"


class ImageCounts(Reply):
    """Images by current state. The parts add up to `total`."""

    total: int
    labeled: int
    skipped: int
    flagged: int
    unlabeled: int


class TrainerView(Reply):
    """The trainer as the labeler sees it. `absent`: it does not answer; `taken`: it follows another labeler."""

    state: TrainerState | Literal["absent", "taken"]
    acked_seq: int
    lag: int
    last_error: str | None
    url: str = ""
    stop_reason: str | None = None  # why it stopped or is about to stop
    disk: DiskTrouble | None = None  # why the trainer cannot write
    detail: dict[str, Any] = Field(default_factory=dict)  # the trainer's complete last /status


class OutboxView(Reply):
    """Rows waiting for the trainer."""

    pending: int
    oldest_seconds: float | None
    sent_seq: int
    failures: int  # consecutive failed attempts
    last_error: str | None


class Target(Reply):
    """The goal of labeling: an accuracy, or if that is None the end of the label budget. In a detection project, the
    accuracy is mAP at IoU 0.5.
    """

    accuracy: float | None
    labels: int  # still needed, approximately
    minutes: float | None  # at the recent speed; None without enough recent answers


class ProjectIdentity(Reply):
    """The project that a labeler is responsible for."""

    name: str
    task: str = "classification"
    workspace: str  # the absolute path of its folder
    demo: bool


class Project(ProjectIdentity):
    """`GET /api/project`."""

    log_id: UUID
    last_seq: int
    classes: list[ClassEntry]
    images: ImageCounts
    splits: dict[str, ImageCounts]
    trainer: TrainerView
    outbox: OutboxView
    query_version: int
    query_acked_seq: int = 0  # end of the log that the current list is based on
    catalog_version: int
    remaining: int = 0  # images not finished yet
    duplicates: int
    rejected: int
    missing: int = 0  # answered images whose file is missing
    scanning: ScanView
    accuracy: Interval | None = None  # in the latest evaluation
    macro_f1: Interval | None = None  # in the latest evaluation; multi-label projects show it instead of the accuracy
    map_50: Interval | None = None  # detection: instead of the accuracy
    labels_per_minute: float | None = None  # of everyone together
    people: list[Person] = Field(default_factory=list)  # active in the last minutes
    target: Target | None = None
    blind_mode: bool = False
    preselect_suggestions: bool = False  # multi-label: suggested classes are preselected on the card
    disk: DiskTrouble | None = None  # why the labeler cannot write
    name: str = ""  # of the project
    workspace: str = ""  # folder on the labeler's machine


class SettingView(Reply):
    """A setting of a running service."""

    value: Any
    source: Source
    changeable: bool  # whether it can be changed while the service runs


class StrategyEntry(Reply):
    """A query strategy's name, and one sentence on when to use it."""

    name: str
    when: str


class StrategyList(Reply):
    """`GET /strategies`."""

    strategies: list[StrategyEntry]


class GuidelinesView(Reply):
    """`GET /api/project/guidelines`. `html` is the rendered text, without raw HTML or images."""

    text: str = ""
    html: str = ""
    mark: str = ""  # changes with the text; empty if there is none
    annotator: str | None = None  # the last author,
    changed_at: datetime | None = None  # and the time of the change


class GuidelinesPatch(Message):
    """`PATCH /api/project/guidelines`. `as_of`: the mark of the edited text. If the text has changed since, the answer
    is 409.
    """

    text: Annotated[str, Field(max_length=20_000)]
    annotator: Name = "api"
    as_of: Annotated[str, Field(max_length=100)] | None = None
