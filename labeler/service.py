"""One labeler: composes the rooms of a workspace and is what routes and pages call.

Everything that changes state holds the store's lock; the log's listeners keep queue, counts and open pages in step
with each row that is written. Nothing here decides anything that a room could decide.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from labeler.asking.labeling_queue import LabelingQueue
from labeler.asking.leases import Leases
from labeler.change_markers import Shown, marks
from labeler.errors import Conflict, Invalid
from labeler.explore.grid import Gallery
from labeler.explore.similar_labels import Reminder
from labeler.images.adding import Arrivals
from labeler.images.catalog import Catalog
from labeler.images.demo import CLASSES as DEMO_CLASSES
from labeler.images.demo import write_digits
from labeler.images.file_index import MEDIA_TYPES, UNKNOWN_TYPE, Files
from labeler.images.file_registry import Root
from labeler.images.roots import Folders, roots_of
from labeler.images.scanner import Scanner
from labeler.images.splits import Splitting
from labeler.images.thumbnails import LARGE_PIXELS, Thumbnails
from labeler.images.watcher import Watcher
from labeler.labeling.answers import Annotations
from labeler.labeling.classes import Classes, name_of
from labeler.labeling.guidelines import Guidelines
from labeler.labeling.questions import Questions
from labeler.labeling.single_image import Addresses
from labeler.live_settings import RunningSettings
from labeler.people.disagreements import Disagreements
from labeler.progress.evaluations import Evaluations
from labeler.progress.goal import target
from labeler.progress.labels_over_time import label_history
from labeler.push import Events
from labeler.review.doubts import Review
from labeler.review.odd_images import OddImages
from labeler.review.verdicts import Verdicts
from labeler.store.annotation_log import AnnotationLog
from labeler.store.counts import SPLITS, Tally
from labeler.store.database import Store
from labeler.store.workspace import WorkspaceLock
from labeler.trainer_link.client import TrainerClient
from labeler.trainer_link.controls import Trainer
from labeler.trainer_link.log_sender import Outbox
from labeler.transfer.downloads import Downloads
from labeler.transfer.formats import FORMATS, Format
from labeler.transfer.importing import Imports
from labeler.transfer.label_files import LabelFiles
from labeler.transfer.rows.exported import EVERYTHING, USUAL, Extras, Wanted, count_rows, export_rows
from labeler.transfer.snapshots import Snapshots
from labeler.transfer.test_set import import_test_set, open_test_set
from labeler.visibility import Visibility
from shared.images.opening import ImageLimits
from shared.settings.project_file import LABELER_HEADER, LOG_HEADER
from shared.settings.services import LabelerSettings
from shared.settings.starting import identity
from shared.storage.disk_errors import Disk
from shared.wire.dataset import ExportCount
from shared.wire.evaluation import Evaluation, Progress, Stretch
from shared.wire.fields import Source
from shared.wire.log import Annotation, AnnotationReceipt, Person, Row, Undo, UndoReceipt
from shared.wire.project import ClassEntry, Project, Target
from shared.wire.queries import QueryPush, QueryReceipt, QueuePage

logger = logging.getLogger(__name__)
_current: list[Service] = []


def current() -> Service:
    """The service that runs in this process. Raises RuntimeError when there is none."""
    if not _current:
        raise RuntimeError("No labeler runs in this process.")
    return _current[-1]


class Service:
    """The labeler of one workspace. Raises SettingsError when it cannot be had as the settings say."""

    def __init__(
        self,
        settings: LabelerSettings,
        sources: Mapping[str, Source] | None = None,
        *,
        token: str | None = None,
        address: str | None = None,
    ) -> None:
        """`address` is where the trainer's machine reaches this labeler."""
        self.settings = settings
        self.sources = dict(sources or {})
        self.workspace = WorkspaceLock(settings.workspace)
        try:
            self._open(token, address)
        except BaseException:
            self.workspace.release()
            raise

    def _open(self, token: str | None, address: str | None) -> None:
        settings = self.settings
        limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
        self._test_set = open_test_set(settings.test_set) if settings.test_set else None
        self.disk = Disk(settings.workspace, lambda: self.events.notify())
        self.store = Store(settings, self.disk)
        self.engine = self.store.engine
        self.log = AnnotationLog(self.store)
        self.tally = Tally(self.log.fold)
        self.verdicts = Verdicts(self.log.fold)
        self.log.load(self._observe)
        self.visibility = Visibility(self.tally.splits, settings)
        self.leases = Leases()
        self.queue = LabelingQueue(self.store, self.log, self.tally, self.leases, settings)
        self.catalog = Catalog(self.store, self.log, self.tally, self.queue, settings, self.sources)
        self.classes = Classes(self.store, self.log, lambda: self.events.notify())
        self.guidelines = Guidelines(self.store, lambda: self.events.notify())
        self.questions = Questions(self.log, self.queue, self.catalog, self.visibility, settings)
        self.addresses = Addresses(
            self.store, self.log, self.tally, self.queue, self.questions, self.visibility, settings
        )
        self.annotations = Annotations(self.store, self.log, self.tally, self.leases, self.queue, settings)
        self.disagreements = Disagreements(self.store, self.log, self.tally, self.catalog, self.annotations, settings)
        self.evaluations = Evaluations(self.store, self.log.log_id)
        self.events = Events(self.snapshot)
        tested = self._test_set.folder if self._test_set is not None else None
        self.files = Files(roots_of(settings, tested, self.catalog), limits, settings.workspace)
        self.imports = Imports(self.store, self.log, self.tally, self.classes, self.catalog, self.files)
        self.downloads = Downloads()
        self.thumbnails = Thumbnails(settings.workspace / "thumbnails", settings.display_pixels, limits, self.disk)
        self.scanner = Scanner(self.files, self.catalog, self._scans(), self.events.notify)
        self.folders = Folders(settings, self.files, self.catalog, self.scanner, self.events.notify)
        self.watcher = Watcher(self.folders, settings.workspace)
        self.identity = identity(settings)
        self.arrivals = Arrivals(self.files, self.catalog, self.events.notify)
        self.label_files = LabelFiles(
            settings.workspace / "label-files", self.files.roots["uploads"], self.imports, self.scanner
        )
        sender = {LABELER_HEADER: address, LOG_HEADER: str(self.log.log_id)} if address else None
        self.client = TrainerClient(
            settings.trainer_url, timeout=settings.trainer_timeout_seconds, token=token, sender=sender
        )
        self.reminder = Reminder(self.store, self.log, self.visibility, self.catalog, self.client)
        self.outbox = Outbox(
            self.log,
            self.client,
            settings,
            catalog_version=lambda: self.catalog.version,
            leased=self._leased,
            changed=self.events.notify,
        )
        self.trainer = Trainer(self.client, self.outbox)
        self.gallery = Gallery(
            self.store, self.log, self.visibility, self.leases, self.queue, self.catalog, self.trainer, settings
        )
        self.snapshots = Snapshots(self.store, self.log, self.catalog)
        self.splitting = Splitting(self.store, self.log, self.tally, self.catalog)
        self.oddities = OddImages(
            self.store,
            self.visibility,
            self.catalog,
            self.trainer,
            lambda image_id, size: self.thumbnail(image_id, size)[0],
        )
        self.review = Review(
            self.store, self.log, self.visibility, self.catalog, self.annotations, self.verdicts, self.trainer, settings
        )
        self.running = RunningSettings(
            settings, self.sources, self._settings_changed, has_token=token is not None, disk=self.disk
        )
        self.disk.on_recovery(self.scanner.again)
        self.log.listen(self._written)
        began = settings.images or self.log.last_seq  # else it is the demo
        self.classes.begin_with(settings.classes or ([] if began else DEMO_CLASSES))

    def start(self) -> None:
        """Begin to scan and to talk to the trainer."""
        _current.append(self)
        self.disk.start()
        self.outbox.start()
        self.scanner.start()
        if self.settings.watch:
            self.watcher.start()

    def close(self) -> None:
        """End the threads and let go of the workspace. Nothing waits to be written: it was, when it was answered."""
        self.disk.close()
        self.watcher.close()
        self.scanner.close()
        self.label_files.close()
        self.oddities.close()
        self.outbox.close()
        self.client.close()
        self.store.close()
        self.workspace.release()
        if self in _current:
            _current.remove(self)

    # ---------------------------------------------------------------- where the project stands

    def project(self) -> Project:
        """Everything about the workspace in one answer."""
        with self.store.lock:
            return Project(
                **self.identity.model_dump(),
                log_id=self.log.log_id,
                last_seq=self.log.last_seq,
                classes=self._class_entries(),
                images=self.tally.counts(),
                splits={split: self.tally.counts(split) for split in SPLITS},
                trainer=self.trainer.view(),
                outbox=self.outbox.view(),
                query_version=self.queue.version,
                query_acked_seq=self.queue.acked_seq,
                catalog_version=self.catalog.version,
                remaining=self.queue.remaining,
                duplicates=self.catalog.duplicates,
                rejected=self.catalog.files.rejected,
                missing=len(self.catalog.missing),
                scanning=self.scanner.view(),
                accuracy=self.evaluations.last.accuracy if self.evaluations.last else None,
                labels_per_minute=self.tally.pace.per_minute(),
                people=self.tally.pace.active(),
                target=self._target(),
                blind_mode=self.settings.blind_mode,
                disk=self.disk.trouble,
            )

    def progress(self) -> Progress:
        """What the curve needs."""
        evaluations = self.evaluations.all()
        with self.store.lock:
            per_class = {entry.name: entry.labels or 0 for entry in self._class_entries()}
            return Progress(
                evaluations=evaluations,
                labels_per_class=per_class,
                labels_per_minute=self.tally.pace.per_minute(),
                labels=sum(per_class.values()),
            )

    def history(self) -> list[Stretch]:
        """Which classes were given when; see `label_history`."""
        return label_history(self.store, self.log)

    def snapshot(self) -> dict[str, Any]:
        """What open pages are told when something changes."""
        with self.store.lock:
            trainer = self.trainer.view()
            last = self.evaluations.last
            return {
                "query_version": self.queue.version,
                "last_seq": self.log.last_seq,
                "trainer": trainer.model_dump(mode="json", exclude={"detail"}),
                "embedding": trainer.detail.get("embedding"),
                "challenger": trainer.detail.get("challenger"),
                "metrics": last.model_dump(mode="json", exclude={"classes", "confusion"}) if last else None,
                "images": self.tally.counts().model_dump(),
                "splits": {split: self.tally.counts(split).model_dump() for split in SPLITS},
                "outbox": self.outbox.view().model_dump(),
                "classes": [entry.model_dump() for entry in self._class_entries()],
                "catalog_version": self.catalog.version,
                "accuracy": last.accuracy.model_dump() if last else None,
                "labels_per_minute": self.tally.pace.per_minute(),
                "people": [person.model_dump() for person in self.tally.pace.active()],
                "target": ahead.model_dump() if (ahead := self._target()) else None,
                "blind_mode": self.settings.blind_mode,
                "scanning": self.scanner.view().model_dump(),
                "disk": trouble.model_dump() if (trouble := self.disk.trouble) else None,
                "marks": self.marks(),
            }

    def marks(self) -> dict[Shown, str]:
        """By what an open page sees that what it shows is another; see `labeler.change_markers`."""
        with self.store.lock:
            looks = [(each.name, each.colour) for each in self.classes.entries()]
            there = (self.log.last_seq, self.catalog.version, self.scanner.view())
            return marks(*there, self.evaluations.last, self.trainer.status(), looks, self.guidelines.view.mark)

    # ---------------------------------------------------------------- questions and answers

    def serve(self, annotator: str, session: str | None, limit: int, keep: Sequence[int] = ()) -> QueuePage:
        """Lease the next images to a page; see `LabelingQueue.serve`."""
        with self.store.lock:
            picks = self.queue.serve(annotator, session or annotator, limit, keep)
            return QueuePage(
                items=self.questions.of(picks), query_version=self.queue.version, remaining=self.queue.remaining
            )

    def push(self, push: QueryPush) -> QueryReceipt:
        """Take a ranked list; see `LabelingQueue.push`."""
        with self.store.lock:
            receipt = self.queue.push(push)
        self.events.notify()
        return receipt

    def annotate(self, annotations: Sequence[Annotation], log_id: UUID | None = None) -> AnnotationReceipt:
        """Write answers; see `Annotations.annotate`. Raises Conflict when they are meant for another log."""
        if log_id not in (None, self.log.log_id):
            raise Conflict("The answers are for another project than the one served here.", log_id=str(self.log.log_id))
        return self.annotations.annotate(annotations)

    def undo(self, undo: Undo) -> UndoReceipt:
        """Take a step back; see `Annotations.undo`. Returns its first image, leased to the session."""
        with self.store.lock:
            image_ids = self.annotations.undo(undo)
            (item,) = self.questions.of([self.queue.pick(image_ids[0])])
            return UndoReceipt(**item.model_dump(), undone=len(image_ids))

    def evaluate(self, evaluation: Evaluation) -> None:
        """Keep an evaluation of the trainer; see `Evaluations.add`."""
        self.evaluations.add(evaluation)
        self.events.notify()

    # ---------------------------------------------------------------- several people

    def people(self) -> list[Person]:
        """Everyone who ever answered, the busiest first."""
        with self.store.lock:
            return self.tally.pace.people()

    # ---------------------------------------------------------------- images

    def content(self, image_id: int) -> tuple[bytes, str, str]:
        """The original: bytes, media type, content hash."""
        located = self.catalog.locate(image_id)
        return self.files.content(located), MEDIA_TYPES.get(located.format, UNKNOWN_TYPE), located.sha256

    def quick_thumbnail(self, image_id: int, size: int) -> tuple[bytes, str, str] | None:
        """As `thumbnail`; None where it must be made of a large image first, which takes seconds."""
        located = self.catalog.locate(image_id)
        if located.pixels > LARGE_PIXELS and self.thumbnails.kept(located.sha256, size) is None:
            return None
        return self.thumbnail(image_id, size)

    def thumbnail(self, image_id: int, size: int) -> tuple[bytes, str, str]:
        """A smaller copy: bytes, media type, content hash."""
        located = self.catalog.locate(image_id)
        data, media_type = self.thumbnails.get(located.sha256, size, lambda: self.files.content(located))
        return data, media_type, located.sha256

    def export(
        self, name: str, *, wanted: Wanted = EVERYTHING, extras: Extras = USUAL, snapshot: str | None = None
    ) -> tuple[Iterator[bytes], Format]:
        """The labels as a stream; nothing is told of what the model thinks of an image held out.

        Raises Invalid for a format or class that there is not, Missing for a snapshot, and for predictions what
        `Gallery.predictions` raises.
        """
        if name not in FORMATS:
            raise Invalid(f"There is no format {name!r}; it can be {', '.join(sorted(FORMATS))}.")
        said = self.gallery.predictions() if "predictions" in extras else {}
        then = self.snapshots.fold(snapshot) if snapshot is not None else None
        with self.store.lock:
            if wanted.label is not None:
                wanted = replace(wanted, label=name_of(then or self.log.fold, wanted.label))
            predictions = {image: said[image] for image in self.visibility.listable(said)}
        rows = export_rows(
            self.store,
            self.log,
            self.catalog,
            lambda image_id: self.content(image_id)[0],
            wanted,
            predictions,
            then,
        )
        total = self.export_count(wanted).images if snapshot is None else None
        running = self.downloads.begin(f"flywheel-labels.{FORMATS[name].suffix}", "image", total)
        return FORMATS[name].write(self.downloads.counted(rows, running), extras), FORMATS[name]

    def export_count(self, wanted: Wanted) -> ExportCount:
        """How many images an export holds. Raises Invalid for a class that there is not."""
        with self.store.lock:
            if wanted.label is not None:
                wanted = replace(wanted, label=name_of(self.log.fold, wanted.label))
            images, labeled = count_rows(self.log, self.tally.splits, wanted)
        return ExportCount(images=images, labeled=labeled)

    # ---------------------------------------------------------------- inside

    def _class_entries(self) -> list[ClassEntry]:
        entries = self.classes.entries()
        return [entry.model_copy(update={"labels": self.tally.labels_of(entry.id)}) for entry in entries]

    def _target(self) -> Target | None:
        return target(
            self.trainer.status(),
            self.evaluations.last,
            labeled=self.tally.counts().labeled,
            given=self.tally.labeled_here,
            pace=self.tally.pace.per_minute(),
        )

    def _leased(self) -> list[int]:
        with self.store.lock:
            return self.queue.leased()

    def _observe(self, row: Row) -> None:
        self.tally.observe(row)
        self.verdicts.observe(row)

    def _written(self, rows: Sequence[Row], changed: set[int]) -> None:
        for row in rows:
            self._observe(row)
            if row.action == "image_removed" and row.image_id is not None:
                self.tally.put(row.image_id, None)
        for image_id in changed:
            self.tally.refresh(image_id)
            self.queue.refresh(image_id)
        self.events.notify()

    def _settings_changed(self, names: set[str]) -> None:
        self.client.url = self.settings.trainer_url
        if "overlap" in names:
            with self.store.lock:
                self.queue.refresh_all()
        if "log_level" in names:
            logging.getLogger().setLevel(self.settings.log_level.upper())
        self.events.notify()

    def _scans(self) -> list[Any]:
        steps: list[Any] = []
        if not self.settings.images:
            steps.append(lambda: write_digits(self.settings.workspace / "demo"))
        if self._test_set is not None:
            steps.append(self._import_test_set)
        steps += [partial(self._scan, root) for root in self.files.image_roots]
        return steps

    def _scan(self, root: Root) -> None:
        self.scanner.scan(root)

    def _import_test_set(self) -> None:
        if self._test_set is not None:
            images = self.files.roots.get("images")
            import_test_set(self._test_set, images, self.store, self.log, self.classes, self.catalog, self.scanner)
