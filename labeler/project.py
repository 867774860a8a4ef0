"""The state of the project in one answer: for `GET /api/project`, the progress page and open pages.

It is read from values that the rooms keep up to date, so its cost does not grow with the project.
"""

from __future__ import annotations

from typing import Any

from labeler.asking.labeling_queue import LabelingQueue
from labeler.change_markers import Section, change_markers
from labeler.images.catalog import Catalog
from labeler.images.scanner import Scanner
from labeler.labeling.classes import Classes
from labeler.labeling.guidelines import Guidelines
from labeler.progress.evaluations import Evaluations
from labeler.progress.goal import target
from labeler.store.annotation_log import AnnotationLog
from labeler.store.counts import SPLITS, Counts
from labeler.store.database import Store
from labeler.trainer_link.controls import Trainer
from labeler.trainer_link.log_sender import LogSender
from shared.figures import macro_f1
from shared.settings.services import LabelerSettings
from shared.wire.evaluation import Progress
from shared.wire.project import ClassEntry, Project, ProjectIdentity, Target


class ProjectState:
    """The state of one workspace."""

    def __init__(
        self,
        identity: ProjectIdentity,
        store: Store,
        log: AnnotationLog,
        tally: Counts,
        queue: LabelingQueue,
        catalog: Catalog,
        scanner: Scanner,
        classes: Classes,
        guidelines: Guidelines,
        evaluations: Evaluations,
        trainer: Trainer,
        outbox: LogSender,
        settings: LabelerSettings,
    ) -> None:
        self._store = store
        self._log = log
        self._tally = tally
        self._queue = queue
        self._catalog = catalog
        self._scanner = scanner
        self._classes = classes
        self._guidelines = guidelines
        self._evaluations = evaluations
        self._trainer = trainer
        self._outbox = outbox
        self._settings = settings
        self._identity = identity

    def project(self) -> Project:
        """All values of `GET /api/project`."""
        last = self._evaluations.last
        with self._store.lock:
            return Project(
                **self._identity.model_dump(),
                log_id=self._log.log_id,
                last_seq=self._log.last_seq,
                classes=self._class_entries(),
                images=self._tally.counts(),
                splits={split: self._tally.counts(split) for split in SPLITS},
                trainer=self._trainer.view(),
                outbox=self._outbox.view(),
                query_version=self._queue.version,
                query_acked_seq=self._queue.acked_seq,
                catalog_version=self._catalog.version,
                remaining=self._queue.remaining,
                duplicates=self._catalog.duplicates,
                rejected=self._catalog.files.rejected,
                missing=len(self._catalog.missing),
                scanning=self._scanner.view(),
                accuracy=last.accuracy if last else None,
                macro_f1=macro_f1(last) if last else None,
                map_50=last.map_50 if last else None,
                labels_per_minute=self._tally.pace.per_minute(),
                people=self._tally.pace.active(),
                target=self._target(),
                blind_mode=self._settings.blind_mode,
                preselect_suggestions=self._settings.preselect_suggestions,
                disk=self._store.disk.trouble,
            )

    def progress(self) -> Progress:
        """The data of the accuracy curve."""
        evaluations = self._evaluations.all()
        with self._store.lock:
            per_class = {entry.name: entry.labels or 0 for entry in self._class_entries()}
            return Progress(
                evaluations=evaluations,
                labels_per_class=per_class,
                labels_per_minute=self._tally.pace.per_minute(),
                labels=self._tally.counts().labeled,
            )

    def snapshot(self) -> dict[str, Any]:
        """What open pages receive when something changes."""
        with self._store.lock:
            trainer = self._trainer.view()
            last = self._evaluations.last
            return {
                "query_version": self._queue.version,
                "last_seq": self._log.last_seq,
                "trainer": trainer.model_dump(mode="json", exclude={"detail"}),
                "embedding": trainer.detail.get("embedding"),
                "challenger": trainer.detail.get("challenger"),
                "metrics": last.model_dump(mode="json", exclude={"classes", "confusion"}) if last else None,
                "images": self._tally.counts().model_dump(),
                "splits": {split: self._tally.counts(split).model_dump() for split in SPLITS},
                "outbox": self._outbox.view().model_dump(),
                "classes": [entry.model_dump() for entry in self._class_entries()],
                "catalog_version": self._catalog.version,
                "accuracy": last.accuracy.model_dump() if last else None,
                "labels_per_minute": self._tally.pace.per_minute(),
                "people": [person.model_dump() for person in self._tally.pace.active()],
                "target": ahead.model_dump() if (ahead := self._target()) else None,
                "blind_mode": self._settings.blind_mode,
                "preselect_suggestions": self._settings.preselect_suggestions,
                "scanning": self._scanner.view().model_dump(),
                "disk": trouble.model_dump() if (trouble := self._store.disk.trouble) else None,
                "marks": self.change_markers(),
            }

    def change_markers(self) -> dict[Section, str]:
        """The change marker of each section of the pages; see `labeler.change_markers`."""
        with self._store.lock:
            looks = [(each.name, each.colour) for each in self._classes.entries()]
            there = (self._log.last_seq, self._catalog.version, self._scanner.view())
            latest, status = self._evaluations.last, self._trainer.status()
            idle = not self._tally.pace.active()
            return change_markers(*there, latest, status, looks, self._guidelines.view.mark, idle=idle)

    def _class_entries(self) -> list[ClassEntry]:
        entries = self._classes.entries()
        return [entry.model_copy(update={"labels": self._tally.labels_of(entry.id)}) for entry in entries]

    def _target(self) -> Target | None:
        splits, pace = self._tally.splits, self._tally.pace
        return target(
            self._trainer.status(),
            self._evaluations.last,
            given=self._tally.labeled_here,
            images=self._tally.counts(),
            train=self._tally.counts("train"),
            pace=pace.images_per_minute(),
            train_pace=pace.images_per_minute(lambda image_id: splits.get(image_id) == "train"),
        )
