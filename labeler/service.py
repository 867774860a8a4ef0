"""One labeler: composes the rooms of a workspace; routes and pages call it.

Everything that changes state holds the store's lock; the log's listeners keep queue, counts and open pages in step
with each written row. Decisions belong in the rooms, not here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any
from uuid import UUID

from labeler.asking.active_test import ActiveTest, stored_clock
from labeler.asking.labeling_queue import LabelingQueue
from labeler.asking.leases import Leases
from labeler.asking.random_sample import RandomSample
from labeler.errors import Conflict
from labeler.explore.grid import Grid
from labeler.explore.similar_labels import SimilarLabels
from labeler.images.adding import ImageAdder
from labeler.images.catalog import Catalog
from labeler.images.demo import CLASSES as DEMO_CLASSES
from labeler.images.demo import write_digits
from labeler.images.far.far_images import FarImages
from labeler.images.far.relisting import Relisting
from labeler.images.file_index import MEDIA_TYPES, UNKNOWN_TYPE, Files
from labeler.images.roots import Folders, roots_of
from labeler.images.scanner import Scanner
from labeler.images.splits import Splitting
from labeler.images.thumbnails import LARGE_PIXELS, Thumbnails
from labeler.images.watcher import Watcher
from labeler.labeling.answers import Annotations
from labeler.labeling.classes import Classes
from labeler.labeling.guidelines import Guidelines
from labeler.labeling.questions import Questions
from labeler.labeling.single_image import SingleImage
from labeler.live_settings import RunningSettings
from labeler.people.disagreements import Disagreements
from labeler.progress.evaluations import Evaluations
from labeler.progress.labels_over_time import label_history
from labeler.project import ProjectState
from labeler.push import Events
from labeler.review.doubts import Review
from labeler.review.odd_images import OddImages
from labeler.review.verdicts import Verdicts
from labeler.store.annotation_log import AnnotationLog
from labeler.store.counts import Counts
from labeler.store.database import Store
from labeler.store.present import PresentImages
from labeler.store.workspace import WorkspaceLock
from labeler.trainer_link.client import TrainerClient
from labeler.trainer_link.controls import Trainer
from labeler.trainer_link.log_sender import LogSender
from labeler.transfer.downloads import Downloads
from labeler.transfer.exporting import Exports
from labeler.transfer.importing import Imports
from labeler.transfer.label_files import LabelFiles
from labeler.transfer.snapshots import Snapshots
from labeler.transfer.test_set import import_test_set, open_test_set
from labeler.visibility import Visibility
from shared.images.opening import ImageLimits
from shared.images.sources.choosing import Sources
from shared.settings.project_file import LABELER_HEADER, LOG_HEADER
from shared.settings.services import LabelerSettings
from shared.settings.starting import identity, remember_task
from shared.storage.disk_errors import Disk
from shared.tasks.registry import task_named
from shared.wire.evaluation import Evaluation, Progress, Stretch
from shared.wire.fields import Source
from shared.wire.log import Annotation, AnnotationReceipt, Person, Row, TestChance, Undo, UndoReceipt
from shared.wire.project import Project
from shared.wire.queries import QueryPush, QueryReceipt, QueuePage, TestRates

logger = logging.getLogger(__name__)
_current: list[Service] = []
Copy = tuple[bytes, str, str]  # bytes, media type, content hash


def current() -> Service:
    """The service running in this process. Raises RuntimeError if there is none."""
    if not _current:
        raise RuntimeError("No labeler runs in this process.")
    return _current[-1]


class Service:
    """The labeler of one workspace. Raises SettingsError if the settings do not fit it."""

    def __init__(
        self,
        settings: LabelerSettings,
        sources: Mapping[str, Source] | None = None,
        *,
        token: str | None = None,
        address: str | None = None,
    ) -> None:
        """`address`: URL under which the trainer's machine reaches this labeler."""
        self.settings = settings
        self.sources = dict(sources or {})
        self.workspace = WorkspaceLock(settings.workspace)
        try:
            self._open(token, address)
        except BaseException:
            if "store" in vars(self):
                self.store.close()
            self.workspace.release()
            raise

    def _open(self, token: str | None, address: str | None) -> None:
        """Create the rooms, from storage to pages. Each part gets only parts created before it."""
        self._open_store()
        self._open_images()
        self._open_labeling()
        self._open_trainer_link(token, address)
        self._open_pages()
        self._open_transfer()
        self._open_project(token)
        self.disk.on_recovery(self.scanner.again)
        self.log.listen(self._written)
        self.events.tell(self.state.snapshot)
        began = self.settings.images or self.log.last_seq  # without it, the demo
        self.classes.begin_with(self.settings.classes or ([] if began else DEMO_CLASSES))

    def _open_store(self) -> None:
        settings = self.settings
        task = task_named(identity(settings).task)
        self._test_set = open_test_set(settings.test_set, task) if settings.test_set else None
        remember_task(settings)
        self.events = Events()
        self.disk = Disk(settings.workspace, self.events.notify)
        self.store = Store(settings, self.disk)
        self.engine = self.store.engine
        self.identity = identity(settings)
        self.task = task_named(self.identity.task)
        self.log = AnnotationLog(self.store, self.task)
        self.present = PresentImages(self.log.fold)
        self.tally = Counts(self.log.fold, self.present)
        self.verdicts = Verdicts(self.log.fold)
        self.log.load(self._observe)
        self.visibility = Visibility(self.tally.splits, settings)
        self.leases = Leases()
        self.queue = LabelingQueue(self.store, self.log, self.tally, self.leases, settings)
        self.present.follow(self.queue.moved)

    def _open_images(self) -> None:
        settings, notify = self.settings, self.events.notify
        limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
        tested = self._test_set.folder if self._test_set is not None else None
        self.catalog = Catalog(self.store, self.log, self.present, settings, self.sources)
        clock = stored_clock(self.store, self.catalog.drawing.test)
        self.sample = RandomSample(self.log.fold, self.present, self.leases, self.catalog.drawing, clock)
        self.active_test = ActiveTest(self.store, self.queue, self.sample, clock, self.present, settings)
        sources = Sources(settings.image_addresses, settings.workspace / "archives.db")
        self.files = Files(roots_of(settings, tested, self.catalog), limits, settings.workspace, sources)
        self.far = FarImages(self.files, notify)
        self.queue.hold_back(self.far.rests)
        self.thumbnails = Thumbnails(settings.workspace / "thumbnails", settings.display_pixels, limits, self.disk)
        self.scanner = Scanner(self.files, self.catalog, self._scans(), notify, self.far.why)
        self.folders = Folders(settings, self.files, self.catalog, self.scanner, notify)
        self.watcher = Watcher(self.folders, settings.workspace, Relisting(self.files, settings.relist_seconds).due)
        self.arrivals = ImageAdder(self.files, self.catalog, notify)
        self.splitting = Splitting(self.store, self.log, self.tally, self.catalog)

    def _open_labeling(self) -> None:
        store, log, settings = self.store, self.log, self.settings
        self.classes = Classes(store, log, self.events.notify)
        self.guidelines = Guidelines(store, self.events.notify)
        self.questions = Questions(log, self.queue, self.catalog, self.visibility, settings)
        self.addresses = SingleImage(store, log, self.tally, self.queue, self.questions, self.visibility, settings)
        self.annotations = Annotations(store, log, self.tally, self.leases, self.queue, self.catalog, settings)
        self.disagreements = Disagreements(store, log, self.tally, self.catalog, self.annotations, settings)
        self.evaluations = Evaluations(store, log.log_id)

    def _open_trainer_link(self, token: str | None, address: str | None) -> None:
        settings = self.settings
        sender = {LABELER_HEADER: address, LOG_HEADER: str(self.log.log_id)} if address else None
        self.client = TrainerClient(
            settings.trainer_url, timeout=settings.trainer_timeout_seconds, token=token, sender=sender
        )
        self.outbox = LogSender(
            self.log,
            self.client,
            settings,
            catalog_version=lambda: self.catalog.version,
            leased=self._leased,
            at_random=self._at_random,
            chances=self._chances,
            changed=self.events.notify,
        )
        self.trainer = Trainer(self.client, self.outbox)

    def _open_pages(self) -> None:
        store, log, visibility, catalog = self.store, self.log, self.visibility, self.catalog
        self.reminder = SimilarLabels(store, log, visibility, catalog, self.client)
        self.gallery = Grid(store, log, visibility, self.leases, self.queue, catalog, self.trainer, self.settings)
        self.oddities = OddImages(store, visibility, catalog, self.trainer, self.thumbnail)
        self.review = Review(
            store, log, visibility, catalog, self.annotations, self.verdicts, self.trainer, self.settings
        )

    def _open_transfer(self) -> None:
        store, log, catalog = self.store, self.log, self.catalog
        self.imports = Imports(store, log, self.tally, self.classes, catalog, self.files)
        folder, uploads = self.settings.workspace / "label-files", self.files.folders["uploads"]
        self.label_files = LabelFiles(folder, uploads, self.imports, self.scanner, self.arrivals)
        self.snapshots = Snapshots(store, log, catalog)
        self.downloads = Downloads()
        self.exports = Exports(
            store,
            log,
            self.tally,
            self.visibility,
            catalog,
            self.snapshots,
            self.downloads,
            predictions=self.gallery.predictions,
            content=self.content,
        )

    def _open_project(self, token: str | None) -> None:
        self.running = RunningSettings(
            self.settings, self.sources, self._settings_changed, has_token=token is not None, disk=self.disk
        )
        self.identity = identity(self.settings)
        self.state = ProjectState(
            self.identity,
            self.store,
            self.log,
            self.tally,
            self.queue,
            self.catalog,
            self.scanner,
            self.classes,
            self.guidelines,
            self.evaluations,
            self.trainer,
            self.outbox,
            self.settings,
        )

    def start(self) -> None:
        """Start scanning and talking to the trainer."""
        _current.append(self)
        self.disk.start()
        self.outbox.start()
        self.scanner.start()
        if self.settings.watch:
            self.watcher.start()

    def close(self) -> None:
        """Stop the threads and release the workspace. Nothing is left to write: every confirmed answer is on disk."""
        self.disk.close()
        self.watcher.close()
        self.scanner.close()
        self.far.close()
        self.label_files.close()
        self.oddities.close()
        self.outbox.close()
        self.client.close()
        self.queue.close()
        self.store.close()
        self.workspace.release()
        if self in _current:
            _current.remove(self)

    # ---------------------------------------------------------------- state of the project

    def project(self) -> Project:
        """The state of the project in one answer."""
        return self.state.project()

    def progress(self) -> Progress:
        """The data of the accuracy curve."""
        return self.state.progress()

    def history(self) -> list[Stretch]:
        """Which classes were given when; see `label_history`."""
        return label_history(self.store, self.log)

    # ---------------------------------------------------------------- questions and answers

    def serve(self, annotator: str, session: str | None, limit: int, keep: Sequence[int] = ()) -> QueuePage:
        """Lease the next images to a page; see `LabelingQueue.serve`."""
        with self.store.lock:
            picks = self.queue.serve(annotator, session or annotator, limit, keep)
            return QueuePage(
                items=self.questions.of(picks), query_version=self.queue.version, remaining=self.queue.remaining
            )

    def push(self, push: QueryPush) -> QueryReceipt:
        """Accept a ranked list; see `LabelingQueue.push`."""
        with self.store.lock:
            receipt = self.queue.push(push)
        self.events.notify()
        return receipt

    def suggest_tests(self, rates: TestRates) -> None:
        """Use the rates of test images; see `ActiveTest.suggest`. Raises Conflict, also for another log."""
        if rates.log_id != self.log.log_id:
            raise Conflict("The rates are for another project than the one served here.", log_id=str(self.log.log_id))
        with self.store.lock:
            self.active_test.suggest(rates)

    def annotate(self, annotations: Sequence[Annotation], log_id: UUID | None = None) -> AnnotationReceipt:
        """Write answers; see `Annotations.annotate`. Raises Conflict if they are for another log."""
        if log_id not in (None, self.log.log_id):
            raise Conflict("The answers are for another project than the one served here.", log_id=str(self.log.log_id))
        return self.annotations.annotate(annotations)

    def undo(self, undo: Undo) -> UndoReceipt:
        """Undo a step; see `Annotations.undo`. Returns its first image, leased to the session."""
        with self.store.lock:
            image_ids = self.annotations.undo(undo)
            (item,) = self.questions.of([self.queue.pick(image_ids[0])])
            return UndoReceipt(**item.model_dump(), undone=len(image_ids))

    def evaluate(self, evaluation: Evaluation) -> None:
        """Store an evaluation from the trainer; see `Evaluations.add`."""
        self.evaluations.add(evaluation)
        self.events.notify()

    def people(self) -> list[Person]:
        """Everyone who ever answered, most answers first."""
        with self.store.lock:
            return self.tally.pace.people()

    # ---------------------------------------------------------------- images

    def content(self, image_id: int) -> Copy:
        """The original: bytes, media type, content hash."""
        located = self.catalog.locate(image_id)
        return self.files.content(located), MEDIA_TYPES.get(located.format, UNKNOWN_TYPE), located.sha256

    def quick_thumbnail(self, image_id: int, size: int) -> Copy | Future[Copy] | None:
        """Like `thumbnail`, but None if it must first be made from a large image, which takes seconds, and a future if
        it comes from far away."""
        located = self.catalog.locate(image_id)
        if self.thumbnails.kept(located.sha256, size) is None:
            if self.files.is_far(located):
                return self.far.fetch((image_id, size), image_id, lambda: self.thumbnail(image_id, size))
            if located.pixels > LARGE_PIXELS:
                return None
        return self.thumbnail(image_id, size)

    def thumbnail(self, image_id: int, size: int) -> Copy:
        """A smaller copy: bytes, media type, content hash."""
        located = self.catalog.locate(image_id)
        data, media_type = self.thumbnails.get(located.sha256, size, lambda: self.files.content(located))
        return data, media_type, located.sha256

    # ---------------------------------------------------------------- inside

    def _leased(self) -> list[int]:
        with self.store.lock:
            return self.queue.leased()

    def _at_random(self) -> bool:
        with self.store.lock:
            return self.sample.holds

    def _chances(self) -> list[TestChance]:
        with self.store.lock:
            return self.active_test.chances()

    def _observe(self, row: Row) -> None:
        self.tally.observe(row)
        self.verdicts.observe(row)

    def _written(self, rows: Sequence[Row], changed: set[int]) -> None:
        for row in rows:
            self._observe(row)
            self.present.observe(row)
        for image_id in changed:
            self.tally.refresh(image_id)
            self.queue.refresh(image_id)
            self.sample.refresh(image_id)
        self.events.notify()

    def _settings_changed(self, names: set[str]) -> None:
        self.client.url = self.settings.trainer_url
        if "overlap" in names:
            with self.store.lock:
                self.queue.refresh_all()
        if "test_order" in names:
            with self.store.lock:
                self.active_test.follow_setting()
        if "log_level" in names:
            logging.getLogger().setLevel(self.settings.log_level.upper())
        self.events.notify()

    def _scans(self) -> list[Any]:
        steps: list[Any] = []
        if not self.settings.images:
            steps.append(lambda: write_digits(self.settings.workspace / "demo"))
        if (given := self._test_set) is not None:
            images, store, log, catalog = self.files.folders.get("images"), self.store, self.log, self.catalog
            steps.append(lambda: import_test_set(given, images, store, log, self.classes, catalog, self.scanner))
        return steps + [lambda root=root: self.scanner.scan(root) for root in self.files.image_roots]
