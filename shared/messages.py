"""The wire types: everything that passes between a browser, the labeler and the trainer.

They hold no behaviour beyond validation. Times are ISO 8601 UTC, ids of images and classes are integers that the
labeler gives, ids of annotations and pushes are UUIDs that their sender makes, which is what makes every message
repeatable.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from shared.backbone import ResolvedBackbone
from shared.settings import Source

Split = Literal["train", "validation", "test"]
Action = Literal[
    "label",
    "skip",
    "flag",
    "undo",
    "settle",
    "class_added",
    "class_renamed",
    "class_merged",
    "class_deleted",
    "split_changed",
    "image_removed",
]
TrainerState = Literal["waiting", "training", "paused", "stopping", "stopped", "failed"]
Purpose = Literal["query", "validation", "test"]

MAX_ROWS = 5_000
"""Rows in one message from the labeler to the trainer, and annotations in one post to the labeler."""
MAX_QUERIES = 10_000
"""Queries in one push."""

Name = Annotated[str, Field(min_length=1, max_length=200)]
ClassName = Annotated[str, Field(min_length=1, max_length=100)]
LARGEST = 2**63 - 1
"""Of an integer that SQLite, NumPy and the packed log can hold."""
Id = Annotated[int, Field(ge=0, le=LARGEST)]
"""Of an image or class, as the labeler gives it; also a place in the log, and a version of the queue."""
Stored = Annotated[int, Field(ge=-LARGEST - 1, le=LARGEST)]
"""An integer of a row that may be older than its bounds."""
Count = Id
"""How many there are of something."""
Score = Annotated[float, Field(allow_inf_nan=False)]
Confidence = Annotated[float, Field(ge=0, le=1)]


def _as_text(given: object) -> object:
    if not isinstance(given, str | datetime):
        raise ValueError("a time as ISO 8601 text is needed")  # noqa: TRY004 - pydantic takes no TypeError
    return given


Time = Annotated[datetime, Field(strict=False), BeforeValidator(_as_text)]
"""JSON has it as text; a number is none."""
Uuid = Annotated[UUID, Field(strict=False)]
"""An id that its sender makes. JSON has it as text."""


M = TypeVar("M", bound=BaseModel)


class Message(BaseModel):
    """What all wire types share: an unknown field is refused, so that a typo never passes in silence, and so is a value
    of another type: `true` is no 1 and "3" no 3. Infinity, which 1e999 means, is no number."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), strict=True, allow_inf_nan=False)


class Reply(BaseModel):
    """An answer. The reader ignores fields that it does not know, so that a newer peer can add some."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


# ---------------------------------------------------------------- the annotation log, labeler → trainer


class Row(Reply):
    """One fact of the annotation log, as it was written; see `shared.log` for what the rows mean together."""

    model_config = ConfigDict(strict=True)

    seq: int = Field(ge=1, le=LARGEST)
    id: Uuid
    action: Action
    image_id: Id | None = None
    label: Id | None = None  # a class id: of the label given, or of the class that a class_* row is about
    name: str | None = None  # class_added, class_renamed: the name from here on
    into: Id | None = None  # class_merged: the class id that takes over
    split: Split | None = None  # split_changed
    annotator: str = ""
    seconds: float | None = None  # from image on screen to answer
    query_version: Stored | None = None  # of the queue that asked
    target: Uuid | None = None  # undo: the row that vanishes
    reason: str | None = None
    note: str | None = None
    source: str | None = None  # "late", "import", "grid", "review", …; None for a person at the card
    confidence: float | None = None  # import: as the file gives it
    proposed: Stored | None = None  # review: the class id that was proposed instead
    created_at: Time  # import: when it was given, where the file tells


class AnnotationBatch(Message):
    """Labeler → trainer `POST /annotations`: the log's rows after `after_seq`, dense and in order."""

    log_id: Uuid
    after_seq: Id
    last_seq: Id  # the log's end, which may lie beyond this batch
    annotations: list[Row] = Field(max_length=MAX_ROWS)
    catalog_version: Id
    leased: list[Id] = Field(default_factory=list, max_length=100_000)


class Acknowledgement(Reply):
    """Trainer's answer: everything up to `acked_seq` is durable there."""

    acked_seq: int


class AnnotationPage(Reply):
    """`GET /api/annotations`: a page of the log; `last_seq` is the log's end, not the page's."""

    log_id: UUID
    annotations: list[Row]
    last_seq: int


# ---------------------------------------------------------------- a person's or a program's answers, → labeler


class Annotation(Message):
    """One answer, or an `undo` of the answer `target`. `label` is a class id (int) or a class name (str)."""

    id: Uuid
    image_id: Id
    action: Literal["label", "skip", "flag", "settle", "undo"]
    label: Stored | str | None = None
    annotator: Name
    session: Name | None = None  # whose lease the answer came under; the annotator's own by default
    seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    query_version: Id | None = None
    target: Uuid | None = None
    reason: str | None = Field(default=None, max_length=500)
    note: str | None = Field(default=None, max_length=5_000)
    source: str | None = Field(default=None, max_length=100)
    as_of: Id | None = None  # the log's end that the sender had seen, see `AnnotationReceipt`
    proposed: Id | None = None  # in a review, the class id that was proposed instead


class Person(Reply):
    """An annotator: answers given so far, and labels a minute over the last minutes of work."""

    name: str
    answers: int
    per_minute: float


class AnnotationPost(Message):
    """`POST /api/annotations`: all of it is written, or nothing."""

    annotations: list[Annotation] = Field(max_length=MAX_ROWS)


class AnnotationReceipt(Reply):
    """What was written. A duplicate is an id that the log already holds with the same content.

    What came `as_of` a moment since which others have answered its image, or while it is on their screen, is not
    written but named here.
    """

    last_seq: int
    accepted: int
    duplicates: int
    answered: list[int] = Field(default_factory=list)  # images that others have answered since
    held: list[int] = Field(default_factory=list)  # images on the screen of others


AnsweringPage = Literal["label", "grid", "review"]
"""Where an answer was given: many at once in the grid, as a verdict on a doubt, or one by one, as programs do too."""


class Undo(Message):
    """`POST /api/undo`: take back `target`, or the annotator's last answer that still stands; imported ones are none.

    Answers given in one post from the grid are one step: whichever is named, all of them are taken back. With `page`
    only what was answered there counts. With `ask` a step of several answers, or of another page than the one that
    asks (`page`, else `label`), is not taken back but named: 409 with `undone`, `page` and the `target` to send then.
    """

    id: Uuid
    annotator: Name
    session: Name | None = None
    target: Uuid | None = None
    page: AnsweringPage | None = None
    ask: bool = False


# ---------------------------------------------------------------- labels brought along, → labeler


def _past(told: datetime) -> datetime:
    """A time without a zone is taken as UTC; a day is for clocks that are ahead."""
    at = told if told.tzinfo else told.replace(tzinfo=UTC)
    if not datetime(1970, 1, 2, tzinfo=UTC) <= at <= datetime.now(UTC) + timedelta(days=1):
        raise ValueError("a time between 1970 and now is needed")
    return at


GivenAt = Annotated[Time, AfterValidator(_past)]
"""When an answer was given that is brought along."""


def _storable(row: M) -> M:
    """A file may hold the character NUL: a fault of this row, and of none that it is sent with."""
    if any("\0" in text for text in vars(row).values() if isinstance(text, str)):
        raise ValueError("holds the character NUL")
    return row


class ImportedAnswer(Message):
    """What one annotator said of an image, or what it was settled on: without a class, as belonging to none."""

    action: Literal["label", "skip", "flag", "settle"]
    label: ClassName | None = None
    annotator: Name
    reason: str | None = Field(default=None, max_length=500)
    note: str | None = Field(default=None, max_length=5_000)
    at: GivenAt | None = None

    @model_validator(mode="after")
    def _has_what_it_says(self) -> Self:
        if self.action != "settle" and (self.action == "label") != (self.label is not None):
            raise ValueError("a label names its class, and a skip or a flag names none")
        return _storable(self)


class ImportRow(Message):
    """A label as a file gives it, or that there is none. `line` is where it stands there, for whoever mends it.

    Where `answers` are given, it is they that are written, each under its annotator's name, and the label only tells
    what follows from them; `open` is an image of which nothing follows, or that nobody answered, with its split.
    """

    line: Count
    uri: Annotated[str, Field(min_length=1, max_length=4_096)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None  # of the image's bytes, found by them first
    action: Literal["label", "skip", "flag", "open"] = "label"
    label: ClassName | None = None  # of a `label` alone
    split: Split | None = None
    annotator: Name | None = None
    confidence: Confidence | None = None  # the annotator's own
    labeled_at: GivenAt | None = None
    answers: list[ImportedAnswer] = Field(default_factory=list, max_length=1_000)

    @model_validator(mode="after")
    def _has_what_it_says(self) -> Self:
        if (self.action == "label") != (self.label is not None):
            raise ValueError("a label names its class, and a skip or a flag names none")
        if self.action == "open" and not self.answers and self.split is None:
            raise ValueError("an image that is open has answers or a split")
        return _storable(self)


Conflicts = Literal["keep", "overwrite", "review"]
"""What becomes of an image that has another answer than its row: the answer stays, the row counts instead, or the image
is open until somebody decides."""


class ImportPost(Message):
    """`POST /api/import`: all rows of an import, or a part of it. Sent again, they change nothing.

    An import of more rows comes in parts: the first one says `more`, its receipt has the `import_id` that the others
    give, and the last one does not say `more`. Together they do what one post with all rows would do. The three
    choices below are those of the first part. Parts are sent one after the other.
    """

    rows: list[ImportRow] = Field(max_length=MAX_ROWS)
    import_id: Uuid | None = None  # of the import that this is a further part of
    more: bool = False  # further parts follow
    conflicts: Conflicts = "keep"
    dry_run: bool = False  # look, and write nothing
    add_classes: bool = False  # an unknown class is added; without, its rows are rejected if the project has classes
    began: Id | None = None  # the log's end when an import began that is sent without `import_id`; now by default


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


Printable = Annotated[str, AfterValidator(_printable)]
"""Text out of a file, which may hold half a surrogate pair: no terminal and no store takes that."""


class ImportIssue(Reply):
    """What is the matter with one row, in words for a person."""

    line: int
    uri: Printable
    reason: Printable

    def __str__(self) -> str:
        return f"line {self.line}: {' '.join(filter(None, (self.uri, self.reason)))}"


class CellIssue(ImportIssue):
    """An optional cell that cannot be read: its row counts without it."""


class ImportReceipt(Reply):
    """What became of the rows."""

    import_id: UUID | None = None  # while more parts may follow: see `ImportPost`
    labels: int = 0  # written to the log, skips and flags too, or in a dry run: that would be
    known: int = 0  # imported before
    images: int = 0  # new in the catalogue
    held_out: int = 0  # labels left out: the project drew the image to measure with, and will ask for it
    new_classes: dict[str, int] = Field(default_factory=dict)  # rows of each
    counted_as: dict[str, str] = Field(default_factory=dict)  # another spelling, or an old name → the class
    conflicts: list[ImportIssue] = Field(default_factory=list)  # rows that contradict an answer; each is one of:
    kept: int = 0  # not written: the answer that there is stays
    overwritten: int = 0  # written, and counts instead of it
    reopened: int = 0  # written beside it: the image is open until somebody decides
    rejected: list[ImportIssue] = Field(default_factory=list)
    matched: dict[str, int] = Field(default_factory=dict)  # rows whose file is called otherwise, by what differs
    matched_as: dict[str, tuple[str, str]] = Field(default_factory=dict)  # of each the first: as it is named, the file
    cells: list[ImportIssue] = Field(default_factory=list)  # optional cells left out, by whoever reads the file


# ---------------------------------------------------------------- queries, trainer → labeler


class Suggestion(Message):
    """A class that the model proposes, with its probability."""

    label: Id
    confidence: Confidence


class Query(Message):
    """One image to ask about. `score` falls along the list; `reason` is a few words for the person."""

    image_id: Id
    score: Score = 0.0
    reason: str | None = Field(default=None, max_length=500)
    suggestions: list[Suggestion] = Field(default_factory=list, max_length=50)


class QueryPush(Message):
    """`POST /api/queries`: a ranked list, best first, made by a model that had seen the log up to `acked_seq`."""

    id: Uuid
    log_id: Uuid
    model_version: Name
    acked_seq: Id
    strategy: Name
    queries: list[Query] = Field(max_length=MAX_QUERIES)


class QueryReceipt(Reply):
    """The version under which the list is in force."""

    query_version: int


class SuggestionOut(Reply):
    """A suggestion as the queue hands it out: the class by id and by its name of now."""

    label: int
    name: str
    confidence: float


class QueueItem(Reply):
    """One leased image."""

    image_id: int
    url: str
    uri: str = ""  # name and folder of its file, relative to the image folder
    purpose: Purpose
    rank: int
    score: float | None = None
    reason: str | None = None
    suggestions: list[SuggestionOut] = Field(default_factory=list)
    query_version: int


class UndoReceipt(QueueItem):
    """The image given back, the first of `undone` ones."""

    undone: int = 1


class GivenAnswer(Reply):
    """An answer that its annotator may correct."""

    id: UUID
    action: Literal["label", "skip", "flag"]
    label: int | None
    note: str | None


class OpenedImage(QueueItem):
    """`GET /api/images/{id}/question`: an image opened by its own address, and what may be done with it."""

    given: GivenAnswer | None  # what the annotator answered
    label: int | None  # what it is labeled now, whoever did
    status: Literal["labeled", "skipped", "flagged", "unlabeled"]
    settles: bool  # others have answered it: a class given now overrides them
    held: bool  # on someone else's screen: to be looked at only


class QueuePage(Reply):
    """`GET /api/queue`."""

    items: list[QueueItem]
    query_version: int
    remaining: int  # images that nobody has finished yet


# ---------------------------------------------------------------- evaluations, trainer → labeler


class Measured(Reply):
    """A part of an evaluation. What is kept of it must be readable again: its numbers are checked on the way in."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class Interval(Measured):
    """A proportion with its 95 % Wilson interval, and the number of images it was measured on."""

    value: float
    low: float
    high: float
    n: Count


class ClassMetrics(Measured):
    """One class on the test sample. Precision is None while nothing is predicted as it, recall while it has none."""

    label: Id
    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: Count


class CalibrationBin(Measured):
    """Test images on which the model was about equally sure, and how often it was right; empty bins are left out."""

    low: float  # edges of the bin: of the probability given to the class predicted
    high: float
    confidence: float  # mean of that probability
    accuracy: Interval


class Expected(Measured):
    """Accuracy expected once `labels` are trained on, with a 95 % band."""

    labels: Count
    accuracy: float
    low: float
    high: float


class Needed(Measured):
    """About `labels` more to train on, `low` to `high`, reach accuracy `goal`; None is more than can be said."""

    goal: float
    labels: Count | None
    low: Count
    high: Count | None


class Advice(Measured):
    """Whether more labels are worth it. Each part is empty while there is no ground for it; nothing stops by it."""

    agreement: float | None = None  # mean kappa of the last three models, a fixed number of labels apart
    stable: bool = False  # they agree so well that more labels change little
    slope: float | None = None  # accuracy gained per hundred labels, of late
    flat: bool = False  # that is less than half a point
    forecast: list[Expected] = Field(default_factory=list)
    needed: Needed | None = None


class RandomEstimate(Measured):
    """Accuracy that `labels` random labels would have given: an estimate made inside the test sample, for display.

    `chosen` is what the first as many labels that were asked for give on that sample; one estimate of a list has it.
    """

    labels: Count
    accuracy: Interval
    chosen: Interval | None = None


class Evaluation(Measured):
    """How good a model is on the test images labeled so far, which nothing learns from."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    id: Uuid
    log_id: Uuid
    acked_seq: Id
    model_version: str
    round: Count
    labels: Count  # that the model was trained on
    spent: Count  # all labels given, test ones included
    created_at: Time
    accuracy: Interval
    macro_f1: float | None
    macro_f1_low: float | None = None  # its 95 % bootstrap interval
    macro_f1_high: float | None = None
    log_loss: float | None
    classes: list[ClassMetrics] = Field(default_factory=list)
    confusion: list[list[Count]] = Field(default_factory=list)  # rows: truth, columns: prediction, order of `classes`
    final: bool = False  # made by a stop
    advice: Advice | None = None
    random_baseline: list[RandomEstimate] = Field(default_factory=list)  # fewest labels first; empty: too few to say
    calibration: list[CalibrationBin] = Field(default_factory=list)  # the least sure first
    calibration_error: float | None = None  # ECE: mean distance of confidence and accuracy over the images
    timings: dict[str, float] = Field(default_factory=dict)  # milliseconds of the round's steps so far, this one last


# ---------------------------------------------------------------- catalogue and project


class ImageEntry(Reply):
    """One image of the catalogue, as of its last change."""

    id: int
    uri: str
    sha256: str
    split: Split
    removed: bool


class ImagePage(Reply):
    """`GET /api/images`: entries in order of change; ask again with `after=next`."""

    images: list[ImageEntry]
    next: int
    catalog_version: int
    log_id: UUID | None = None  # of the project that the images belong to


class SimilarImage(Reply):
    """An image with a label, like another one that is asked about."""

    image_id: int
    url: str  # of its thumbnail
    label: int
    name: str  # of the class
    similarity: float  # cosine


class SimilarImages(Reply):
    """`GET /api/images/{id}/similar`: most similar first; none while the trainer cannot say."""

    images: list[SimilarImage]


class NamesPost(Message):
    """`POST /api/images/named`: names of files, as a table or script has them."""

    names: list[Annotated[str, Field(min_length=1, max_length=4_096)]] = Field(max_length=MAX_ROWS)


class NamedImages(Reply):
    """The image of each name, and why the others have none. `matched` counts names that are not as their file is
    called, by what differs, and `matched_as` has the first of each, with its file."""

    images: dict[str, int] = Field(default_factory=dict)
    unclear: dict[str, str] = Field(default_factory=dict)
    matched: dict[str, int] = Field(default_factory=dict)
    matched_as: dict[str, tuple[str, str]] = Field(default_factory=dict)


class ImagePost(Message):
    """`POST /api/images`."""

    uris: list[str] = Field(max_length=100_000)


class Rejection(Reply):
    """An image that could not be taken, and why, in words for a person."""

    uri: str
    reason: str


class ImageReceipt(Reply):
    """What became of the images posted."""

    added: int
    duplicates: int
    rejected: list[Rejection]
    duplicate_uris: list[str] = Field(default_factory=list)  # as they were posted


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


DiskKind = Literal["full", "quota", "read_only", "failing", "descriptors", "damaged"]


class DiskTrouble(Reply):
    """What keeps a service from writing. `message` says it to a person, with what to do."""

    kind: DiskKind
    folder: str
    free_bytes: int
    message: str


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


class ScanView(Reply):
    """How far the catalogue is with the image folder."""

    running: bool
    done: int
    total: int | None
    seconds_left: float | None
    error: str | None = None
    left_out: list[str] = Field(default_factory=list)  # of the image folders, in words


class Progress(Reply):
    """`GET /api/progress`: everything a curve needs."""

    evaluations: list[Evaluation]
    labels_per_class: dict[str, int]
    labels_per_minute: float
    labels: int


class Stretch(Reply):
    """`GET /api/history`: a stretch of labeling, with how often each class was given in it."""

    labels: int  # given up to its end
    until: datetime
    classes: dict[str, int]


# ---------------------------------------------------------------- the trainer's own


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
