"""The one thread that learns: it embeds, fits, ranks, evaluates and stops, and decides what comes next.

A fit goes before the next embedding batch, because a person waits for it; an embedding batch is short, so a new label
waits for one at most. Everything heavy happens on this thread, so nothing here needs more than the replica's lock,
and the API answers meanwhile. What the thread should do next follows from a few facts (`_next`), not from where it
was before: a pause, a stop, a new setting or a kill in between all take the same way.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from shared.log import IMPORT
from shared.messages import EmbeddingProgress, Evaluation, QueryPush, Row, Saved, TrainerState
from shared.review import REVIEW
from shared.schedule import share_at
from shared.settings import TrainerSettings
from trainer.advice import Stability
from trainer.embeddings.embedder import Embedder
from trainer.intake import Intake
from trainer.intent import Intent
from trainer.jobs import Jobs, NotNow
from trainer.labeler_client import LabelerAway, LabelerClient, Refused
from trainer.pool import ImagePool
from trainer.publisher import CatalogFollower, Publisher
from trainer.registry import Registry
from trainer.replica import Replica
from trainer.rounds import Model, Snapshot, Timings, fit, measure, rank
from trainer.saving import save_version
from trainer.serving import BACKBONES, Serving
from trainer.stopping import Rule, StoppingRules
from trainer.strategies import strategy_named, with_exploration
from trainer.succession import Successor, take_over

logger = logging.getLogger(__name__)

ANSWERS = frozenset({"label", "skip", "flag", "settle", "undo"})
CATCH_UP_SECONDS = 1.0  # between rounds while rows are still on their way
FAILED_SECONDS = 10.0  # until what failed is tried again, unless there is news before
FLUSH_SECONDS = 2.0  # that a stop waits for the labeler's last rows

Step = Literal["finish", "rest", "learn", "change", "embed", "wait"]


class Loop:
    """Learns from `replica`, asks through `publisher`. `start` it, `wake` it when something changed, `close` it."""

    def __init__(
        self,
        settings: TrainerSettings,
        *,
        folder: Path,
        replica: Replica,
        embedder: Embedder,
        client: LabelerClient,
        publisher: Publisher,
        catalog: CatalogFollower,
        registry: Registry,
        jobs: Sequence[Jobs],
        serving: Serving | None = None,
    ) -> None:
        """`jobs` are halted while this learns; `serving` is what the embedder is of, if not of the settings."""
        self.settings = settings
        self.replica = replica
        self.embedder = embedder
        self.registry = registry
        self.serving = serving
        self._successor: Successor | None = None
        self._retired: Embedder | None = None  # whoever asked it a moment ago may still wait for the answer
        self.folder = folder
        self._jobs = jobs
        self._client = client
        self._publisher = publisher
        self._backbones = folder / BACKBONES
        self._intent_path = folder / "intent.json"
        self.intent = Intent.load(self._intent_path)
        self._rules = StoppingRules(settings, self.intent.stopping)

        self.intake = Intake(replica, embedder, catalog, settings.batch_size)
        self.model: Model | None = None
        self.stability = Stability()
        self.latest: Evaluation | None = replica.evaluations[-1] if replica.evaluations else None
        self.timings = Timings()
        self.last_error: str | None = None
        self.failed = False
        self.leased: frozenset[int] = frozenset()

        self._changed = threading.Condition()
        self._closing = False
        self._news = False  # since `_next` last looked
        self._batches = 0  # that brought answers, since the last round
        self._refresh = True  # rank again whatever the batches say
        self._last_round = 0.0
        self._ranked_geometry = -1
        self._log_id = replica.log_id
        self._asked: QueryPush | None = None  # the last list
        self._tested: dict[int, int] = {}  # test image → class id at the last evaluation
        self._thread = threading.Thread(target=self._run, name="loop", daemon=True)

    # ------------------------------------------------------------ called from other threads

    def start(self) -> None:
        """Begin."""
        self._rest_jobs(self.intent.wish == "pause")
        self._thread.start()

    def wake(self, *, refresh: bool = False) -> None:
        """Something changed; `refresh` asks for a new list even without new answers."""
        with self._changed:
            self._refresh = self._refresh or refresh
            self._notify()

    def received(self, rows: list[Row], leased: list[int]) -> None:
        """New rows are durable in the replica."""
        with self._changed:
            self.leased = frozenset(leased)
            if any(row.action in ANSWERS for row in rows):
                self._batches += 1
            if any(row.action in ("label", "skip", "flag") and row.source not in (IMPORT, REVIEW) for row in rows):
                self._rules.answered()
            if any(row.action not in ANSWERS for row in rows):
                self._refresh = True
            if any(row.action == "split_changed" for row in rows):
                self.intake.look_again()
            self._notify()

    def wish(
        self, wish: Literal["run", "pause", "stop"], reason: str | None = None, rule: Rule | None = None
    ) -> TrainerState:
        """Run, pause or stop, which a `rule` may have asked for; returns the state at once, the rest follows."""
        with self._changed:
            if wish == "run" and self.intent.wish == "stop":
                self._rules.resumed()
            self._rest_jobs(wish == "pause" and self.intent.wish != "stop")
            if wish != self.intent.wish and not (wish == "pause" and self.intent.wish == "stop"):
                self.intent.wish, self.intent.reason, self.intent.finished = wish, reason, False
                self._rules.stopped(rule)
                if wish == "run":
                    self.intent.saved = None
                self._save_intent()
            self._refresh = self._refresh or wish == "run"
            self._notify()
        return self.state

    def apply_settings(self, changes: dict[str, object]) -> None:
        """Settings that may change while running; already validated."""
        with self._changed:
            for name, value in changes.items():
                setattr(self.settings, name, value)
            self._rules.changed(changes)
            self._refresh = True
            self._notify()

    def succeed(self, successor: Successor) -> None:
        """Change to other embeddings between two rounds; returns when it is done.

        Raises NotNow when this ends before, and what went wrong, in which case all is as it was.
        """
        with self._changed:
            self._successor = successor
            self._notify()
        while not successor.done.wait(0.1):
            if self._closing:
                raise NotNow
        if successor.error is not None:
            raise successor.error

    def in_use(self) -> tuple[Model | None, Embedder]:
        """The model and the embedder that it belongs to."""
        with self._changed:
            return self.model, self.embedder

    @property
    def pool(self) -> ImagePool | None:
        """What is embedded; None before there is a backbone."""
        return self.intake.pool

    @property
    def state(self) -> TrainerState:
        """In the words of the contract."""
        match self.intent.wish:
            case "stop":
                return "stopped" if self.intent.finished else "stopping"
            case "pause":
                return "paused"
        if self.failed:
            return "failed"
        return "training" if self.model is not None else "waiting"

    def progress(self) -> EmbeddingProgress:
        """How far the embeddings are."""
        total = len(self.replica.catalog) - len(self.replica.removed)
        done = len(self.pool) if self.pool is not None else 0
        return self.embedder.progress(total).model_copy(update={"done": done})

    def close(self, timeout: float = 10.0) -> None:
        """End after the step at hand; the files are in order at any instant."""
        with self._changed:
            self._closing = True
            self._notify()
        if self._thread.is_alive():
            self._thread.join(timeout)
        for embedder in filter(None, (self.embedder, self._retired)):
            embedder.close()

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        steps: dict[Step, Callable[[], None]] = {
            "finish": self._finish,
            "learn": self._learn_alone,
            "change": self._change,
            "embed": self._embed,
            "rest": lambda: self._sleep(30.0),
            "wait": lambda: self._sleep(0.5),
        }
        while not self._closing:
            try:
                if self.intent.wish != "pause":
                    self._follow_log()
                    self.intake.refresh()
                steps[self._next()]()
            except Exception as error:  # a failing strategy or a full disk must not end the service
                logger.exception("A step failed")
                self.last_error, self.failed = f"{type(error).__name__}: {error}", True
                with self._changed:
                    self._refresh = True  # what it should have learned is still to be learned
                    self._news = False  # a new attempt right away would fail the same way
                self._sleep(FAILED_SECONDS)

    def _next(self) -> Step:
        with self._changed:
            self._news = False
            if self.intent.wish == "stop" and not self.intent.finished:
                return "finish"
            if self.intent.wish == "pause":
                return "rest"
            if self.intent.wish == "run" and self._successor is not None:
                return "change"
            if self.intent.wish == "run" and self._due():
                return "learn"
            if self.intake.pending:  # also after a stop: what is looked at can be looked for
                return "embed"
            return "wait" if self.intent.wish == "run" else "rest"

    def _due(self) -> bool:
        if self.pool is None or not len(self.pool.train.ids):
            return False
        catching_up = self.replica.acked_seq < self.replica.leader_seq
        if catching_up and time.monotonic() - self._last_round < CATCH_UP_SECONDS:
            return False
        return (
            self._refresh
            or self._batches >= self.settings.eval_and_query_every
            or self._ranked_geometry != self.pool.version
        )

    def _follow_log(self) -> None:
        """Forget what was learned from another log: ids mean other images in this one."""
        log_id = self.replica.log_id
        if self._log_id is not None and self._log_id != log_id:
            self.intake.start_over()
            self.model, self.latest, self.stability, self._tested = None, None, Stability(), {}
            self._ranked_geometry, self._asked = -1, None
            self.intent.stopping.clear()
            self._rules = StoppingRules(self.settings, self.intent.stopping)
        self._log_id = log_id

    def _embed(self) -> None:
        if not self.intake.embed():
            self._sleep(0.2)  # `pixels` waits for images to fit itself on

    def _sleep(self, seconds: float) -> None:
        """Rest until there is news; what came since `_next` looked counts too."""
        with self._changed:
            self._changed.wait_for(lambda: self._news or self._closing, seconds)

    def _notify(self) -> None:
        self._news = True
        self._changed.notify_all()

    # ------------------------------------------------------------ learning

    def _learn_alone(self) -> None:
        with ExitStack() as held:  # a person waits for this round, and nobody for a job's next batch
            for jobs in self._jobs:
                held.enter_context(jobs.held())
            self._learn()

    def _rest_jobs(self, wanted: bool) -> None:
        for jobs in self._jobs:
            jobs.rest(wanted)

    def _change(self) -> None:
        successor = self._successor
        assert successor is not None  # noqa: S101 - `_next` has looked
        before = self.embedder
        try:
            take_over(self, successor)
        except Exception as error:  # what serves goes on serving
            logger.exception("The take-over by %s failed", successor.name)
            successor.error = error
            successor.intake.embedder.close()
        else:
            if self._retired is not None:
                self._retired.close()
            self._retired = before
        self._successor, self._refresh = None, True
        successor.done.set()

    def change_to(
        self, intake: Intake, model: Model | None, latest: Evaluation | None, serving: Serving | None
    ) -> None:
        """Learn, ask and answer by these images from here on; on this thread alone."""
        with self._changed:
            self.embedder, self.intake, self.model, self.latest = intake.embedder, intake, model, latest
            self.serving = serving

    def _learn(self) -> None:
        with self._changed:
            self._batches, self._refresh = 0, False
        self._last_round = time.monotonic()
        snapshot = Snapshot.of(self.replica)
        if snapshot is None or self.pool is None:
            return
        timings = Timings()
        with timings.step("total"):
            self._fit(snapshot, timings)
            self._ranked_geometry = self.pool.version
            self._ask(snapshot, timings)
            self.evaluate(snapshot, timings)
        if self._publisher.push_ms is not None:
            timings.steps["push"] = self._publisher.push_ms
        self.timings = timings
        self.failed, self.last_error = False, None
        self.intent.round += 1
        self._save_intent()
        self._check_stops(snapshot)

    def _fit(self, snapshot: Snapshot, timings: Timings) -> None:
        assert self.pool is not None  # noqa: S101 - `_due` has looked
        with timings.step("fit"):
            self.model = fit(self.pool, snapshot, self.model, seed=self.settings.seed)

    def _ask(self, snapshot: Snapshot, timings: Timings) -> None:
        assert self.pool is not None  # noqa: S101
        settings = self.settings
        push = rank(
            self.pool,
            snapshot,
            self.model,
            with_exploration(
                strategy_named(settings.query_strategy), share_at(settings.exploration, len(snapshot.here))
            ),
            strategy_name=settings.query_strategy,
            leased=self.leased,
            length=settings.query_length,
            seed=settings.seed,
            timings=timings,
            before=self._asked,
        )
        if push is not None:
            self._asked = push
            self._publisher.offer(push)

    def evaluate(self, snapshot: Snapshot, timings: Timings, *, final: bool = False) -> None:
        """Measure the model on the test images, unless neither is new; on this thread alone."""
        if self.model is None or self.pool is None:
            return
        tested = {image: label for image, label in snapshot.labels.items() if image in self.pool.held.row_of}
        latest = self.latest
        known = latest is not None and latest.model_version == self.model.version and tested == self._tested
        renamed = latest is not None and any(snapshot.names.get(c.label, c.name) != c.name for c in latest.classes)
        if known and not renamed and not final:
            return  # neither the model nor the sample is new, nor what the classes are called
        self._tested = tested
        with timings.step("evaluate"):
            measured = measure(
                self.pool,
                snapshot,
                self.model,
                round_number=self.intent.round,
                earlier=self.replica.evaluations,
                stability=self.stability,
                goal=self.settings.early_stopping_metrics_thresholds.get("accuracy"),
                seed=self.settings.seed,
                final=final,
            )
        if measured is None:
            return
        evaluation, lower_bounds = measured
        self.latest = evaluation.model_copy(update={"timings": timings.rounded()})
        self.replica.add_evaluation(self.latest)
        self._publisher.worker.wake()
        reason = self._rules.measured(lower_bounds, self.latest.accuracy.n, self.latest.labels)
        if reason is not None and not final:
            self.wish("stop", reason, "thresholds")

    # ------------------------------------------------------------ stopping

    def _check_stops(self, snapshot: Snapshot) -> None:
        if reason := self._rules.given(len(snapshot.here)):
            self.wish("stop", reason, "budget")
        elif reason := self._rules.left(self._left_to_ask(snapshot)):
            self.wish("stop", reason, "nothing_left")

    def _left_to_ask(self, snapshot: Snapshot) -> int | None:
        """Images of any split that somebody is still to answer; None when that cannot be said yet."""
        if not self.intake.complete() or not snapshot.labels:
            return None
        left = len(self.replica.catalog.keys() - snapshot.begun)
        if left:
            return left
        try:  # the labeler may still be reading the folder, and knows how many people are to answer each image
            project = self._client.project()
        except (LabelerAway, Refused):
            return None
        if project["scanning"]["running"] or project["last_seq"] > snapshot.acked_seq:
            return None
        return int(project.get("remaining", project["images"]["unlabeled"]))

    def _finish(self) -> None:
        """The last flush, fit and evaluation; then everything is saved."""
        self._pull_rest()
        snapshot = Snapshot.of(self.replica)
        if snapshot is not None and self.pool is not None:
            self._fit(snapshot, self.timings)
            self.evaluate(snapshot, self.timings, final=True)
            if self.model is not None:
                self.intent.saved = self.save_version(f"stop-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
        with self._changed:
            if self.intent.wish == "stop":  # nobody resumed meanwhile
                self.intent.finished = True
                self._save_intent()
        logger.info("Trainer safely shut down (%s)", self.intent.reason or "asked to stop")

    def _pull_rest(self) -> None:
        """Fetch rows that are still in the labeler's buffer, as long as it answers soon."""
        deadline = time.monotonic() + FLUSH_SECONDS
        while time.monotonic() < deadline and self.replica.log_id is not None:
            try:
                page = self._client.annotations(self.replica.acked_seq)
            except (LabelerAway, Refused) as error:
                logger.warning("Stopping without the labeler's last rows: %s", error)
                return
            if page.log_id != self.replica.log_id or not page.annotations:
                return
            self.replica.follow_page(page)

    def save_version(
        self,
        name: str,
        *,
        reason: str | None = None,
        parent: str | None = None,
        trained_on: str | None = None,
        seconds: float | None = None,
    ) -> Saved:
        """Save the model of now under `name`; its `parent` is the version that brought its embeddings, if one did.
        From any thread: what is saved belongs together, however far the log is by now.

        Raises ValueError without a model or for a bad name, FileExistsError for a name that is taken.
        """
        with self._changed:
            model, embedder, latest, serving = self.model, self.embedder, self.latest, self.serving
        if model is None or model.snapshot.log_id != self.replica.log_id:
            raise ValueError("There is no model yet: label images of at least two classes first.")
        return save_version(
            name,
            self.registry,
            model,
            self.replica,
            backbone=embedder.backbone,
            backbones=self._backbones,
            settings=self.settings,
            evaluation=latest if latest is not None and latest.model_version == model.version else None,
            seconds=seconds or (self.timings.steps["fit"] / 1e3 if "fit" in self.timings.steps else None),
            reason=reason or self.intent.reason or "asked to save",
            parent=parent or (serving.version if serving is not None else None),
            trained_on=trained_on or (serving.trained if serving is not None else None),
        )

    def _save_intent(self) -> None:
        with self._changed:
            self.intent.save(self._intent_path)
