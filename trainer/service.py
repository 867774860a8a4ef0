"""One composed trainer, with one method per operation that the routes offer.

Methods take and return wire types or plain values, and raise errors that say what to do. There is no HTTP here, so a
test can call what a route calls.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shared.settings.services import TrainerSettings
from shared.settings.starting import remember_backbone, remembered_backbone
from shared.storage.disk_errors import Disk
from shared.wire.evaluation import Evaluation
from shared.wire.fields import Source, TrainerState
from shared.wire.images import Drawn, Group, Groups, Neighbour, Neighbours, PoolMap, PoolPredictions
from shared.wire.log import Acknowledgement, AnnotationBatch
from shared.wire.models import Predictions
from shared.wire.project import StrategyEntry, StrategyList
from shared.wire.review import LabelIssues, NearDuplicates
from shared.wire.trainer import Saved, TrainerStatus
from trainer.embeddings.embedder import Embedder
from trainer.embeddings.space import Space
from trainer.explore import pool_layout
from trainer.explore.umap_layout import UmapFailed, UmapLayout
from trainer.jobs.job_queue import Jobs, NotNow
from trainer.jobs.requests import ModelJobs
from trainer.live_settings import RunningSettings
from trainer.loop.challenge_schedule import KEPT, Challenger
from trainer.loop.ingest import Ingest
from trainer.loop.live_model import LiveModel
from trainer.loop.loop import Loop
from trainer.loop.rounds import Model
from trainer.loop.saving import Saver
from trainer.review.label_issues import Reviewer
from trainer.review.near_duplicates import near_duplicates
from trainer.strategies import STRATEGIES
from trainer.sync.backlog import FLUSH_SECONDS
from trainer.sync.image_source import Photos
from trainer.sync.labeler_client import LabelerClient
from trainer.sync.leader import Leader, Sender
from trainer.sync.publisher import CatalogFollower, Publisher
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot
from trainer.tracking.wandb_follower import Tracker
from trainer.versions.active_backbone import BACKBONES, embedder_of, open_embedder
from trainer.versions.library import Versions, as_predictions
from trainer.versions.registry import Registry

logger = logging.getLogger(__name__)


class NotReady(Exception):  # noqa: N818 - a state, not a failure
    """A model or embeddings are needed that do not exist yet; the message says what to do."""


class NotInPool(Exception):  # noqa: N818
    """The image is unknown, not embedded yet, or held out."""


class Trainer:
    """Composes the rooms of the trainer in `settings.workspace`/trainer."""

    def __init__(
        self, settings: TrainerSettings, sources: Mapping[str, Source], *, headers: dict[str, str] | None = None
    ) -> None:
        self.settings = settings
        self.running_settings = RunningSettings(settings, sources, lambda changes: self.loop.apply_settings(changes))
        self.folder = Path(settings.workspace).absolute() / "trainer"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.disk = Disk(self.folder.parent)
        url, patience = settings.labeler_url, settings.labeler_timeout_seconds
        self.client = LabelerClient(url, timeout_seconds=patience, headers=headers)
        self._quick = LabelerClient(url, timeout_seconds=min(FLUSH_SECONDS, patience), headers=headers)
        self.photos = Photos(settings, self.client)
        self.registry = Registry(self.folder / "models")
        embedder, serving, problem = open_embedder(
            settings,
            self.folder,
            self.photos.fetch,
            self.registry,
            remembered=remembered_backbone(settings),
            on_backbone=partial(remember_backbone, settings),
        )
        self.replica = Replica(self.folder)
        self.leader = Leader(self.replica)
        self.layouts = pool_layout.LayoutCache(settings.seed)
        self.umap = UmapLayout(self.folder / "manifold", settings.seed)
        self.reviewer = Reviewer(settings.seed)
        self._predicted: tuple[Hashable, PoolPredictions] | None = None
        self.tracker = Tracker(settings, self.replica, self.registry)
        self.publisher = Publisher(self.client, self.replica, on_asked=self.tracker.asked)
        self.catalog = CatalogFollower(self.client, self.replica, lambda: self.loop.wake())
        self.jobs = Jobs(
            self.folder / "jobs", settings, on_done=lambda job: self.model_jobs.conclude(job), disk=self.disk
        )
        self.rounds = Jobs(
            self.folder / "challenger",
            settings,
            on_done=lambda job: self.challenger.conclude(job),
            keep=KEPT,
            disk=self.disk,
        )
        self.rounds.park(True)  # until the challenger has checked whether they may continue
        latest = self.replica.evaluations[-1] if self.replica.evaluations else None
        self.loop = Loop(
            settings,
            folder=self.folder,
            replica=self.replica,
            live=LiveModel(self._ingest_by(embedder), serving, latest=latest),
            saver=Saver(self.registry, self.replica, self.folder / BACKBONES, settings),
            client=self._quick,
            publisher=self.publisher,
            jobs=[self.jobs, self.rounds],
            disk=self.disk,
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
        self.versions = Versions(
            self.registry,
            self.replica,
            settings,
            self.folder / BACKBONES,
            also_needed=self._needed_versions,
            measured=lambda: self.loop.live.accuracy,
        )
        self.model_jobs = ModelJobs(self.jobs, self.versions, self.replica, settings)

    def start(self) -> None:
        """Start all threads; returns at once."""
        self.disk.start()
        self.disk.on_recovery(self.loop.disk_recovered)
        for worker in (self.publisher.worker, self.catalog.worker):
            self.disk.on_recovery(worker.wake)
        self.publisher.worker.start()
        self.catalog.worker.start()
        self.reviewer.worker.start()
        self.publisher.worker.wake()
        if self.replica.log_id is not None:
            self.catalog.worker.wake()
        self.jobs.start()
        self.rounds.start()
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
        self.catalog.worker.close()
        self.reviewer.worker.close()
        self.umap.close()
        self.publisher.worker.close()
        self.tracker.close()
        self.replica.close()
        self.client.close()
        self._quick.close()
        logger.info("Trainer safely shut down")

    # ------------------------------------------------------------ the stream

    def accept(self, batch: AnnotationBatch, sender: Sender | None = None) -> Acknowledgement:
        """Take a batch, which is durable on return. Raises replica.Gap, leader.Taken and ValueError."""
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

    # ------------------------------------------------------------ state

    def status(self) -> TrainerStatus:
        """The state for `GET /status`."""
        loop, live = self.loop, self.loop.live  # read once, because a swap may replace it meanwhile
        model, latest = live.model, live.latest
        metrics: dict[str, Any] = {}
        if latest is not None:
            metrics = {
                "accuracy": latest.accuracy.value,
                "accuracy_low": latest.accuracy.low,
                "accuracy_high": latest.accuracy.high,
                "test_labels": latest.accuracy.n,
                "macro_f1": latest.macro_f1,
                "log_loss": latest.log_loss,
            }
        trouble = self.disk.trouble
        worker_error = self.catalog.worker.last_error or self.publisher.worker.last_error
        return TrainerStatus(
            state=loop.state,
            log_id=self.replica.log_id,
            acked_seq=self.replica.acked_seq,
            round=loop.desired.round,
            labels=len(model.rows) if model is not None else 0,
            model_version=model.version if model is not None else None,
            strategy=self.settings.query_strategy,
            metrics=metrics,
            last_error=trouble.message if trouble else loop.last_error or worker_error,
            embedding=loop.progress(),
            timings=loop.timings.rounded(),
            stop_reason=loop.desired.reason if loop.desired.wish == "stop" else None,
            saved=loop.desired.saved,
            advice=latest.advice if latest is not None else None,
            label_budget=loop.rules.budget,
            challenger=self.challenger.view(),
            tracking=self.tracker.status(),
            disk=trouble,
            marks={"versions": self.registry.mark, "jobs": self.jobs.mark},
            version=package_version(),
        )

    def wish(self, wish: Literal["run", "pause", "stop"]) -> TrainerState:
        """Pause, resume or stop."""
        return self.loop.wish(wish, "asked to stop" if wish == "stop" else None)

    def evaluations(self) -> list[Evaluation]:
        """All evaluations of this log, oldest first."""
        return list(self.replica.evaluations)

    def strategies(self) -> StrategyList:
        """Every named query strategy, with when to use it."""
        return StrategyList(
            strategies=[StrategyEntry(name=name, when=registered.when) for name, registered in STRATEGIES.items()]
        )

    # ------------------------------------------------------------ predictions and views of the pool

    def predict(self, image_ids: Sequence[int], version: str | None = None) -> Predictions:
        """Predict catalogued images, in the given order, by a saved version, the promoted one, or else the current
        model.

        Raises NotReady, NotInPool, UnknownVersion, RefusedVersion and ImageProblem.
        """
        saved = self.versions.answering(version)
        entries = [self.replica.catalog.get(image_id) for image_id in image_ids]
        if saved is not None:
            known = [entry for entry in entries if entry is not None]
            if len(known) < len(entries):
                raise NotInPool(f"Image {image_ids[entries.index(None)]} is unknown.")
            return self.versions.predict(saved, [self.photos.fetch(entry) for entry in known])
        model, embedder = self._ready()
        for image_id, entry in zip(image_ids, entries, strict=True):
            if entry is None or not embedder.has(entry.sha256):
                raise NotInPool(f"Image {image_id} is unknown, or not embedded yet.")
        return self._predictions(model, embedder.read([entry.sha256 for entry in entries if entry is not None]))

    def predict_uploads(self, images: Sequence[bytes], version: str | None = None) -> Predictions:
        """Predict images that are not in the catalogue. Raises the same errors as `predict`."""
        saved = self.versions.answering(version)
        if saved is not None:
            return self.versions.predict(saved, images)
        model, embedder = self._ready()
        return self._predictions(model, embedder.embed_images(images))

    def predictions(self) -> PoolPredictions:
        """The current model's prediction for every train image. Raises NotReady."""
        (model, _), space = self._ready(), self._space()
        ids, rows = space.train.view()
        if model.geometry != space.version:
            raise NotReady("The embeddings have just changed; ask again in a moment.")
        state = (model.version, len(ids))
        if self._predicted is None or self._predicted[0] != state:
            probabilities = model.head.predict_proba(rows)  # (N, K)
            best = probabilities.argmax(axis=1)
            confidences = np.clip(np.take_along_axis(probabilities, best[:, None], axis=1)[:, 0], 0, 1)
            said = PoolPredictions(
                model_version=model.version,
                image_ids=ids.tolist(),
                labels=model.head.classes[best].tolist(),
                confidences=np.round(confidences.astype(np.float64), 4).tolist(),
            )
            self._predicted = (state, said)
        return self._predicted[1]

    def similar(self, image_id: int, limit: int, *, labeled: bool = False) -> Neighbours:
        """The train images most similar to one, most similar first; optionally only labeled ones. Raises NotInPool."""
        matrix = self._space().train
        ids, rows = matrix.view()
        row = matrix.row_of.get(image_id)
        if row is None or row >= len(ids):
            raise NotInPool(
                f"Image {image_id} is not in the pool: not embedded yet, unknown, or held out for measuring."
            )
        among = None
        if labeled:
            with self.replica.lock:
                given = [matrix.row_of.get(each, len(ids)) for each in self.replica.fold.labels]
            among = np.array([each for each in given if each < len(ids)], np.int64)
        found, similarity = pool_layout.neighbours(rows, row, limit, among)
        return Neighbours(
            image_id=image_id,
            similar=[
                Neighbour(image_id=int(ids[i]), similarity=float(s)) for i, s in zip(found, similarity, strict=True)
            ],
        )

    def clusters(self, count: int, limit: int) -> Groups:
        """Groups of train images, the largest first, each with its most typical images. Raises Unfinished."""
        state, ids, rows = self._laid_out()
        group, closeness = self.layouts.groups(state, rows, count)
        found = []
        for k in np.unique(group):
            members = np.flatnonzero(group == k)
            typical = members[np.argsort(-closeness[members], kind="stable")[:limit]]
            found.append(Group(cluster=int(k), size=len(members), image_ids=ids[typical].tolist()))
        return Groups(clusters=sorted(found, key=lambda entry: -entry.size))

    def map(self, limit: int, layout: Drawn = "pca") -> PoolMap:
        """2-D positions of the train images, or of `limit` random ones. Raises Unfinished.

        UMAP starts once all images are embedded. PCA is returned until its layout is ready.
        """
        state, ids, rows = self._laid_out()
        positions, problem = None, None
        if layout == "umap" and self.umap.available:
            embedding = self.loop.progress()
            try:
                positions = self.umap.positions(state, rows) if embedding.done == embedding.total else None
            except UmapFailed as error:
                problem = str(error)
        elif layout == "umap":
            problem = "UMAP needs umap-learn, which is not installed in the trainer's environment."
        shown_layout: Drawn = "pca" if positions is None else "umap"
        if positions is None:
            positions = self.layouts.positions(state, rows)
        shown = np.arange(len(ids))
        if len(ids) > limit:
            shown = np.sort(np.random.default_rng(self.settings.seed).choice(len(ids), limit, replace=False))
        x, y = np.round(positions[shown].astype(np.float64), 4).T.tolist()
        computing = shown_layout != layout and problem is None
        progress, seconds_left = self.umap.progress() if computing else (None, None)
        return PoolMap(
            total=len(ids),
            image_ids=ids[shown].tolist(),
            x=x,
            y=y,
            layout=shown_layout,
            computing=computing,
            progress=progress,
            seconds_left=seconds_left,
            problem=problem,
            layouts=("pca", "umap") if self.umap.available else ("pca",),
        )

    def label_issues(self, limit: int) -> LabelIssues:
        """Doubtful labels of train images, worst first, with a proposed label. Raises NotReady."""
        space, snapshot = self._space(), Snapshot.of(self.replica)
        if snapshot is None:
            raise NotReady("No labeler has sent its log yet.")
        return self.reviewer.look(space, snapshot, limit)

    def name_version(self, name: str) -> Saved:
        """Save the current model under a name. Raises NotReady, ValueError (bad name), FileExistsError (taken)."""
        self._ready()
        try:
            return self.loop.save_version(name)
        except NotNow:
            raise NotReady("The trainer is stopping and saves no more versions.") from None

    def _needed_versions(self) -> dict[str, str]:
        """Versions needed outside the registry, with the reason: by jobs, the page Finish, or the active embeddings."""
        saved = self.loop.desired.saved
        finish = {saved.model_version: f"The last stop saved version {saved.model_version!r}."} if saved else {}
        serving = self.loop.live.serving
        embeddings = {serving.version: f"The embeddings of version {serving.version!r} are in use."} if serving else {}
        return {**self.model_jobs.needed(), **finish, **embeddings}

    def near_duplicates(self, limit: int) -> NearDuplicates:
        """Near copies with different labels, and across splits. Raises NotReady."""
        space, snapshot = self._space(), Snapshot.of(self.replica)
        if snapshot is None:
            raise NotReady("No labeler has sent its log yet.")
        return near_duplicates(space, snapshot.labels, limit, seed=self.settings.seed)

    def _laid_out(self) -> tuple[Hashable, NDArray[np.int64], NDArray[np.float32]]:
        """Ids (N,) and rows (N, D) of the train images, and an identifier of their state."""
        space = self._space()
        ids, rows = space.train.view()
        return (self.replica.log_id, space.version, len(ids)), ids, rows

    def _space(self) -> Space:
        pool = self.loop.live.pool
        if pool is None:
            lacks = self.loop.progress().lacks
            raise NotReady(lacks or "No image is embedded yet; wait for the progress bar to begin.")
        return pool.space()

    def _laid_out_by(self, key: str) -> Ingest:
        """The pool in the embeddings `key`, next to the live one. Raises ModelFileError, SettingsError."""
        ingest = self._ingest_by(embedder_of(key, self.settings, self.folder, self.photos.fetch))
        ingest.refresh()
        return ingest

    def _ingest_by(self, embedder: Embedder) -> Ingest:
        return Ingest(self.replica, embedder, self.catalog, self.settings.batch_size)

    def _ready(self) -> tuple[Model, Embedder]:
        live = self.loop.live
        model = live.model
        if model is None:
            raise NotReady("There is no model yet: label images of at least two classes first.")
        return model, live.embedder

    def _predictions(self, model: Model, raw: NDArray[np.float32]) -> Predictions:
        with self.replica.lock:
            classes = self.replica.fold.classes
            names = [classes[int(k)].name if int(k) in classes else str(k) for k in model.head.classes]
        return as_predictions(model.version, names, model.head.predict_proba(model.projection.transform(raw)))


def package_version() -> str:
    """Flywheel's version, or `checkout` if it is not installed."""
    try:
        return version("flywheel-labeling")
    except PackageNotFoundError:
        return "checkout"
