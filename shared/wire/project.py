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
    """A class. `hotkey` is the key that gives it on the card, None where there is none; `labels` the images.

    `aliases` are the other names that stand for it: its old ones, and those of classes that were merged into it.
    """

    id: int
    name: str
    hotkey: str | None
    labels: int | None = None
    aliases: list[str] = Field(default_factory=list)
    own_hotkey: bool = False  # the key was chosen for it, and is no digit by its place
    colour: str | None = None  # #rrggbb; None: by the palette
    description: str | None = None


class ClassPost(Message):
    """`POST /api/classes`."""

    name: ClassName
    annotator: Name = "api"


class ClassPatch(Message):
    """`PATCH /api/classes/{id}`: a new name, the class that this one becomes part of, or how it looks on the pages.

    An empty colour, description or key is the default again.
    """

    name: ClassName | None = None
    into: Id | None = None
    colour: Annotated[str, Field(pattern=r"^(#[0-9A-Fa-f]{6})?$")] | None = None
    description: Annotated[str, Field(max_length=500)] | None = None
    hotkey: Annotated[str, Field(max_length=1)] | None = None
    place: Id | None = None  # in the order of the classes, the first is 0
    annotator: Name = "api"


class ImageCounts(Reply):
    """Images by what they are now. The parts add up to `total`."""

    total: int
    labeled: int
    skipped: int
    flagged: int
    unlabeled: int


class TrainerView(Reply):
    """The trainer as the labeler sees it: `absent` when it does not answer, `taken` when it follows another labeler."""

    state: TrainerState | Literal["absent", "taken"]
    acked_seq: int
    lag: int
    last_error: str | None
    url: str = ""
    stop_reason: str | None = None  # why it stopped, or is about to
    disk: DiskTrouble | None = None  # what keeps the trainer from writing
    detail: dict[str, Any] = Field(default_factory=dict)  # the trainer's last /status, whole


class OutboxView(Reply):
    """What waits for the trainer."""

    pending: int
    oldest_seconds: float | None
    sent_seq: int
    failures: int  # in a row
    last_error: str | None


class Target(Reply):
    """What labeling heads for: an accuracy, or where that is None, the end of the label budget."""

    accuracy: float | None
    labels: int  # still to give, about
    minutes: float | None  # at the pace of the last minutes; None while nobody labels


class ProjectIdentity(Reply):
    """Which project a labeler serves."""

    name: str
    task: Literal["classification"]
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
    query_acked_seq: int = 0  # what the list in force had seen of the log
    catalog_version: int
    remaining: int = 0  # images that somebody is still to answer
    duplicates: int
    rejected: int
    missing: int = 0  # images with an answer whose file is not found any more
    scanning: ScanView
    accuracy: Interval | None = None  # of the latest evaluation
    labels_per_minute: float | None = None  # of all together
    people: list[Person] = Field(default_factory=list)  # who answered in the last minutes
    target: Target | None = None
    blind_mode: bool = False
    disk: DiskTrouble | None = None  # what keeps the labeler from writing
    name: str = ""  # of the project
    workspace: str = ""  # its folder, on the labeler's machine


class SettingView(Reply):
    """A setting of a running service."""

    value: Any
    source: Source
    changeable: bool  # while it runs


class StrategyEntry(Reply):
    """A query strategy that goes by a name, and one sentence on when to use it."""

    name: str
    when: str


class StrategyList(Reply):
    """`GET /strategies`."""

    strategies: list[StrategyEntry]


class GuidelinesView(Reply):
    """`GET /api/project/guidelines`. `html` is the text rendered, without markup or images of its own."""

    text: str = ""
    html: str = ""
    mark: str = ""  # changes with the text; empty while there is none
    annotator: str | None = None  # who wrote it last,
    changed_at: datetime | None = None  # and when


class GuidelinesPatch(Message):
    """`PATCH /api/project/guidelines`. `as_of`: the mark of the text that was edited; 409 if it changed since."""

    text: Annotated[str, Field(max_length=20_000)]
    annotator: Name = "api"
    as_of: Annotated[str, Field(max_length=100)] | None = None
