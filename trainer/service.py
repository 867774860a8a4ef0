"""The trainer, composed in one place: its parts, how they start and end, and what only all of them together can answer.

No HTTP here, so that a test calls what a route calls. What concerns one part alone, a route asks of that part.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from shared.settings.services import TrainerSettings
from shared.settings.starting import remember_backbone, remembered_backbone
from shared.storage.disk_errors import Disk
from shared.wire.evaluation import Evaluation, Interval
from shared.wire.fields import Source
from shared.wire.log import Acknowledgement, AnnotationBatch
from shared.wire.project import StrategyEntry, StrategyList
from shared.wire.trainer import ClassNames, Saved, TrainerStatus
from trainer.embeddings.embedder import Embedder
from trainer.embeddings.second_look import SecondLook
from trainer.engine.opening import open_engine
from trainer.explore.explorer import Explorer
from trainer.explore.predicting import Predictor
from trainer.jobs.job_queue import Jobs, NotNow
from trainer.jobs.requests import ModelJobs, versions_in_use
from trainer.live_detector.opening import open_live_detector
from trainer.live_settings import RunningSettings
from trainer.loop.challenge_schedule import KEPT, Challenger
from trainer.loop.control import Control
from trainer.loop.ingest import Ingest
from trainer.loop.live_model import LiveModel, NotReady
from trainer.loop.loop import Loop
from trainer.loop.saving import Saver
from trainer.loop.swap import Swap
from trainer.strategies import STRATEGIES
from trainer.sync.backlog import FLUSH_SECONDS
from trainer.sync.image_source import Photos
from trainer.sync.labeler_client import LabelerClient
from trainer.sync.leader import Leader, Sender
from trainer.sync.publisher import CatalogFollower, Publisher
from trainer.sync.replica import Replica
from trainer.tasks.registry import task_named
from trainer.tasks.task import Task
from trainer.tracking.wandb_follower import Tracker
from trainer.versions.active_backbone import BACKBONES, EMBEDDINGS, embedder_of, open_embedder
from trainer.versions.library import Versions
from trainer.versions.registry import Registry

logger = logging.getLogger(__name__)


class Trainer:
    """The parts of the trainer in `settings.workspace`/trainer. Each part depends only on parts above it."""

    def __init__(
        self, settings: TrainerSettings, sources: Mapping[str, Source], *, headers: dict[str, str] | None = None
    ) -> None:
        self.settings = settings
        self.folder = Path(settings.workspace).absolute() / "trainer"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.disk = Disk(self.folder.parent)
        # Sync: the log, the catalogue, and the labeler.
        url, patience = settings.labeler_url, settings.labeler_timeout_seconds
        self.client = LabelerClient(url, timeout_seconds=patience, headers=headers)
        self._quick = LabelerClient(url, timeout_seconds=min(FLUSH_SECONDS, patience), headers=headers)
        self.photos = Photos(settings, self.client)
        self.engine = open_engine(settings)
        self.registry = Registry(self.folder / "models")
        embedder, serving, problem = open_embedder(
            settings,
            self.folder,
            self.photos.fetch,
            self.registry,
            remembered=remembered_backbone(settings),
            on_backbone=partial(remember_backbone, settings),
            engine=self.engine,
        )
        self.replica = Replica(self.folder)
        self.leader = Leader(self.replica)
        self.tracker = Tracker(settings, self.replica, self.registry)
        self.publisher = Publisher(self.client, self.replica, on_asked=self.tracker.asked)
        # Long work: requested jobs, and the rounds of the challenger.
        self.jobs = Jobs(self.folder / "jobs", settings, disk=self.disk)
        self.rounds = Jobs(self.folder / "challenger", settings, keep=KEPT, disk=self.disk)
        self.rounds.park(True)  # until the challenger has checked whether they may continue
        # The loop.
        self.control = Control(settings, self.folder, [self.jobs, self.rounds])
        self.running_settings = RunningSettings(settings, sources, self.control.apply_settings, task=self.task)
        self.catalog = CatalogFollower(self.client, self.replica, self.control.wake)
        self.detector = detector = open_live_detector(self.folder, settings, self.replica, self.photos)
        latest = self.replica.evaluations[-1] if self.replica.evaluations else None
        saver = Saver(self.registry, self.replica, self.folder / BACKBONES, settings, detector.pictures)
        second = SecondLook(settings, self.folder / EMBEDDINGS, self.photos.fetch, self.engine)
        self.loop = Loop(
            settings,
            folder=self.folder,
            replica=self.replica,
            control=self.control,
            live=LiveModel(self._ingest_by(embedder), serving, latest=latest),
            saver=saver,
            swap=Swap(self.folder, self.replica, saver, settings, second=second, ingest_by=self._ingest_by),
            client=self._quick,
            publisher=self.publisher,
            disk=self.disk,
            detector=detector,
        )
        self.challenger = Challenger(
            settings,
            jobs=self.rounds,
            others=self.jobs,
            loop=self.loop,
            replica=self.replica,
            registry=self.registry,
            prepare=self._laid_out_by,
            problem=problem,
        )
        # Saved versions, and what pages ask.
        self.versions = Versions(
            self.registry,
            self.replica,
            settings,
            self.folder / BACKBONES,
            also_needed=self._needed_versions,
            measured=self.loop.measured,
        )
        self.model_jobs = ModelJobs(self.jobs, self.versions, self.replica, settings, self.name_version)
        self.predictor = Predictor(self.loop, self.versions, self.replica, self.photos, detector.pictures)
        self.explorer = Explorer(self.loop, self.replica, settings, self.folder / "manifold", detector.pictures)

    def start(self) -> None:
        """Start all threads; returns at once."""
        self.disk.start()
        self.disk.on_recovery(self.loop.disk_recovered)
        for worker in (self.publisher.worker, self.catalog.worker):
            self.disk.on_recovery(worker.retry)
        self.engine.start()
        self.publisher.worker.start()
        self.catalog.worker.start()
        self.explorer.start()
        self.publisher.worker.wake()
        if self.replica.log_id is not None:
            self.catalog.worker.wake()
        self.model_jobs.tidy()
        self.jobs.start(self.model_jobs.conclude)
        self.rounds.start(self.challenger.conclude)
        self.loop.start()
        self.challenger.start()
        self.tracker.start()

    def close(self) -> None:
        """Stop all threads and close the files."""
        self.disk.close()
        self.challenger.close()
        self.loop.close()
        self.rounds.close()
        self.jobs.close()
        self.engine.close()
        self.catalog.worker.close()
        self.explorer.close()
        self.publisher.worker.close()
        self.tracker.close()
        self.replica.close()
        self.client.close()
        self._quick.close()
        logger.info("Trainer safely shut down")

    def accept(self, batch: AnnotationBatch, sender: Sender | None = None) -> Acknowledgement:
        """Take a batch, which is durable on return. Raises replica.Gap, leader.Taken, UnknownTask and ValueError."""
        task_named(batch.task)
        with self.replica.lock:
            if sender is not None:
                self.leader.check(sender)
            rows = self.replica.accept(batch)
            if sender is not None:
                self.leader.hear(sender)
        self.loop.received(rows, batch.leased)
        if batch.catalog_version != self.replica.catalog_after or not self.catalog.complete.is_set():
            self.catalog.worker.wake()
        return Acknowledgement(acked_seq=self.replica.acked_seq)

    def status(self) -> TrainerStatus:
        """`GET /status`."""
        loop, live = self.loop, self.loop.live  # read once, because another model may replace it meanwhile
        model, latest, desired = live.model, live.latest, self.control.desired
        metrics: dict[str, Any] = {}
        if latest is not None:
            metrics = {name: each.value for name, each in latest.metrics.items()} | {
                **_accuracy(latest.accuracy),
                "test_labels": latest.test_labels,
                "macro_f1": latest.macro_f1,
                "log_loss": latest.log_loss,
            }
        metrics |= _by_task(latest)
        trouble = self.disk.trouble
        worker_error = self.catalog.worker.last_error or self.publisher.worker.last_error
        return TrainerStatus(
            state=loop.state,
            log_id=self.replica.log_id,
            acked_seq=self.replica.acked_seq,
            round=desired.round,
            labels=len(model.rows) if model is not None else 0,
            model_version=model.version if model is not None else None,
            strategy=self.settings.query_strategy,
            metrics=metrics,
            last_error=trouble.message if trouble else loop.last_error or self.running_settings.problem or worker_error,
            embedding=loop.progress(),
            timings=loop.timings.rounded(),
            stop_reason=desired.reason if desired.wish == "stop" else None,
            saved=desired.saved,
            advice=latest.advice if latest is not None else None,
            wants_each=self._wants_each(),
            label_budget=self.control.rules.budget,
            challenger=self.challenger.view(),
            class_names=ClassNames(state=loop.text.state, message=loop.text.message),
            tracking=self.tracker.status(),
            disk=trouble,
            marks={"versions": self.registry.mark, "jobs": self.jobs.mark},
            version=package_version(),
            not_learned=self._not_learned(),
            engine=self.settings.engine,
            workers_away=self.engine.problem,
        )

    def name_version(self, name: str) -> Saved:
        """Save the current model under a name. Raises NotReady, ValueError (bad name), FileExistsError (taken)."""
        self.loop.live.ready(self.task())
        try:
            return self.loop.save_version(name)
        except NotNow:
            raise NotReady("The trainer is stopping and saves no more versions.") from None

    def task(self) -> Task | None:
        """The task of the log that is followed; None while there is none."""
        return None if self.replica.log_id is None else task_named(self.replica.fold.task.name)

    def _wants_each(self) -> bool:
        task = self.task()
        waits = self.control.running and not self.detector.version  # a restarted trainer that is paused has not read it
        return waits and task is not None and task.learns_from_images

    def _not_learned(self) -> list[str]:
        task, model = self.task(), self.loop.live.model
        if task is None:
            return []
        with self.replica.lock:
            names = {known.id: known.name for known in self.replica.fold.live_classes()}
        return task.unlearned(None if model is None else model.head, names)

    def _needed_versions(self) -> dict[str, str]:
        """Versions needed outside the registry: by jobs, by the last stop, by the embeddings."""
        needed = versions_in_use(self.jobs)
        saved, serving = self.control.desired.saved, self.loop.live.serving
        if saved is not None:
            needed[saved.model_version] = f"The last stop saved version {saved.model_version!r}."
        if serving is not None:
            needed[serving.version] = f"The embeddings of version {serving.version!r} are in use."
        return needed

    def _laid_out_by(self, key: str) -> Ingest:
        """The pool under the embeddings `key`, beside the live one. Raises ModelFileError, SettingsError."""
        embedder = embedder_of(key, self.settings, self.folder, self.photos.fetch, self.engine)
        ingest = self._ingest_by(embedder)
        ingest.refresh()
        return ingest

    def _ingest_by(self, embedder: Embedder) -> Ingest:
        return Ingest(self.replica, embedder, self.catalog)


def strategy_list(task: Task | None = None) -> StrategyList:
    """Every query strategy that has a name and works for the task, with when to use it."""
    several, boxes = (task is not None and task.several), (task is not None and task.learns_from_images)
    return StrategyList(
        strategies=[
            StrategyEntry(name=name, when=(registered.boxes if boxes else registered.when) or "")
            for name, registered in STRATEGIES.items()
            if (registered.several or not several) and (registered.boxes is not None or not boxes)
        ]
    )


def _accuracy(measured: Interval) -> dict[str, float | None]:
    """None of them if it was measured on no image: other figures of several classes may have been."""
    known = measured.n > 0
    return {
        "accuracy": measured.value if known else None,
        "accuracy_low": measured.low if known else None,
        "accuracy_high": measured.high if known else None,
    }


def _by_task(latest: Evaluation | None) -> dict[str, float]:
    """The figures that only some tasks have, for `GET /status`."""
    if latest is None:
        return {}
    names = ("micro_f1", "mean_average_precision", "exact_match", "map_50", "map_50_95")
    found = {name: getattr(latest, name) for name in names}
    return {name: each.value for name, each in found.items() if each is not None and each.n > 0}


def package_version() -> str:
    """Flywheel's version, or `checkout` if it is not installed."""
    try:
        return version("flywheel-labeling")
    except PackageNotFoundError:
        return "checkout"
