"""The thread that learns: it embeds, fits, ranks, evaluates and saves, one step at a time.

A fit goes before the next embedding batch, because a person waits for it. An embedding batch is short, so a new label
waits for at most one. Whole networks are trained in other processes, which are halted during a round. The next step
follows from a few facts (`Control.next_step`) and not from the last step, so a pause, a stop, a new setting and a
restart all take the same path.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from uuid import uuid4

from shared.settings.schedule import share_at
from shared.settings.services import TrainerSettings
from shared.storage.disk_errors import Disk
from shared.wire.evaluation import Evaluation
from shared.wire.fields import TrainerState
from shared.wire.log import Row
from shared.wire.queries import QueryPush
from shared.wire.trainer import EmbeddingProgress, Saved
from trainer.embeddings.space import ImagePool
from trainer.live_detector.live_detector import LiveDetector
from trainer.loop.control import Control, Step
from trainer.loop.evaluator import Evaluator
from trainer.loop.live_model import LiveModel
from trainer.loop.rounds import Timings, fit, prepare, rank, weigh
from trainer.loop.saving import Saver
from trainer.loop.stopping import Rule
from trainer.loop.studying import Studying
from trainer.loop.swap import Replacement, Swap
from trainer.strategies import strategy_named, with_exploration
from trainer.sync.backlog import Backlog
from trainer.sync.labeler_client import LabelerClient
from trainer.sync.publisher import Publisher
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot
from trainer.tasks import active_test
from trainer.tasks.registry import task_named
from trainer.text.text_prior import TextPrior

logger = logging.getLogger(__name__)

FAILED_SECONDS = 10.0  # until a failed step is tried again, unless there is news before
NOTHING = (-1, False)


class Loop:
    """Learns from `replica` and sends its lists through `publisher`, beginning with the model `live`.

    Only this thread replaces or changes `live`; another thread reads the attribute once and uses that value.
    """

    def __init__(
        self,
        settings: TrainerSettings,
        *,
        folder: Path,
        replica: Replica,
        control: Control,
        live: LiveModel,
        saver: Saver,
        swap: Swap,
        client: LabelerClient,
        publisher: Publisher,
        disk: Disk | None = None,
        text: TextPrior | None = None,
        detector: LiveDetector | None = None,
    ) -> None:
        self.settings = settings
        self.replica = replica
        self.control = control
        self.live = live
        self.timings = Timings()
        self.last_error: str | None = None
        self.failed = False
        self._disk_refused = False  # the reason why it failed
        self._disk = disk or Disk(folder)
        self._saver = saver
        self.text = text or TextPrior(settings)
        self._swap = swap
        self._evaluator = Evaluator(settings, replica, detector.pictures if detector is not None else None)
        self._studying = Studying(detector, self._evaluator, replica) if detector is not None else None
        self._owed = 0.0  # seconds that images wait for their vectors because of slow work
        self._backlog = Backlog(client, replica)
        self._publisher = publisher
        self._ranked = NOTHING  # the geometry of the last round, and whether its pool was complete
        self._log = replica.log_id, replica.copies
        self._asked: QueryPush | None = None  # the last list
        self._rated = 0  # train labels of the model that last suggested rates of test images
        self._thread = threading.Thread(target=self._run, name="loop", daemon=True)

    # ------------------------------------------------------------ called from other threads

    def start(self) -> None:
        """Start the thread."""
        self.control.rest_jobs()
        self._thread.start()

    def received(self, rows: list[Row], leased: list[int]) -> None:
        """Account for new rows, which are durable in the replica."""
        moved = {row.image_id for row in rows if row.action == "split_changed" and row.image_id is not None}
        if moved:
            self.live.ingest.look_again(moved)
        self.control.received(rows, leased)

    def wish(
        self, wish: Literal["run", "pause", "stop"], reason: str | None = None, rule: Rule | None = None
    ) -> TrainerState:
        """See `Control.wish`. Returns the new state at once; the loop acts on it later."""
        self.control.wish(wish, reason, rule)
        return self.state

    def disk_recovered(self) -> None:
        """Retry writes that the disk refused."""
        if self._disk_refused:
            self.failed, self.last_error, self._disk_refused = False, None, False
        self.control.wake()

    def swap(self, replacement: Replacement) -> None:
        """Swap in other embeddings between two rounds; returns when it is done.

        Raises NotNow if the loop ends first, and any error of the swap, which then has changed nothing.
        """
        self.control.inbox.ask(lambda: self._change_to(replacement), only_running=True)

    def save_version(self, name: str) -> Saved:
        """Save the current model with its evaluation under `name`; returns when it is done.

        Unless paused, it first learns what came since the last round. Raises NotNow when the loop ends before,
        ValueError without a model or for a bad name, FileExistsError for a name that is taken.
        """
        return self.control.inbox.ask(lambda: self._save_now(name))

    @property
    def state(self) -> TrainerState:
        """The state as reported to clients."""
        match self.control.desired.wish:
            case "stop":
                return "stopped" if self.control.desired.finished else "stopping"
            case "pause":
                return "paused"
        if self.failed:
            return "failed"
        begun = self._studying is not None and self._studying.begun
        return "training" if self.live.model is not None or begun else "waiting"

    def progress(self) -> EmbeddingProgress:
        """Progress of the embeddings."""
        live = self.live
        now = {"done": len(live.pool) if live.pool is not None else 0, "second_look": self._swap.second.view}
        return live.embedder.progress(self.replica.image_count).model_copy(update=now)

    def measured(self) -> Evaluation | None:
        """The last evaluation."""
        return self.live.latest

    def close(self, timeout: float = 10.0) -> None:
        """End after the current step. The files are valid at any instant."""
        self.control.close()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self.control.inbox.close()
        self.live.embedder.close()
        self._swap.close()

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        control = self.control
        steps: dict[Step, Callable[[], None]] = {
            "finish": self._finish,
            "learn": self._learn_alone,
            "study": self._study,
            "embed": self._embed,
            "look again": self._look_again,
            "rest": self._rest,
            "wait": self._wait,
        }
        while not control.closing:
            try:
                if not control.paused:
                    self._follow_log()
                control.inbox.run(lambda: control.running)
                if not control.paused:
                    self.live.ingest.refresh()
                    self.text.begin(self.live.embedder.backbone, lambda: control.wake(refresh=True))
                steps[self._next()]()
            except Exception as error:  # a failing strategy or a full disk must not end the service
                logger.exception("A step failed")
                trouble = self._disk.notice(error)
                self.last_error = trouble.message if trouble else f"{type(error).__name__}: {error}"
                self.failed, self._disk_refused = True, trouble is not None
                control.failed()
                control.sleep(FAILED_SECONDS)

    def _next(self) -> Step:
        pool = self.live.pool
        step = self.control.next_step(
            relaid=pool is not None and pool.changed_since(*self._ranked),
            embedded=pool is not None and len(pool.train.ids) > 0,
            pending=bool(self.live.ingest.pending),
            catching_up=self.replica.acked_seq < self.replica.leader_seq,
            slow=self._studying is not None
            and pool is not None
            # Images that wait for their vectors get half of the time, unless a person waits for a detector.
            and (not self.live.ingest.pending or self._owed <= 0 or self._studying.hurries)
            and self._studying.due(self.live) is not None,
        )
        return "look again" if step == "wait" and self._swap.looks_again(self.live) else step

    def _follow_log(self) -> None:
        """Forget what was learned from another log, whose ids belong to other images."""
        log = self.replica.log_id, self.replica.copies  # a log that was set back by hand has the same id
        if self._log[0] is not None and self._log != log:
            self.live.start_over()
            self._swap.start_over()
            self._evaluator.start_over()
            self.text.start_over()
            if self._studying is not None:
                self._studying.start_over()
            self._ranked, self._asked, self._rated = NOTHING, None, 0
            self.control.start_over()
        self._log = log

    def _embed(self) -> None:
        began = time.monotonic()
        if not self.live.ingest.embed():
            self.control.sleep(0.2)  # `pixels` waits for images to fit on
        self._owed -= time.monotonic() - began

    def _look_again(self) -> None:
        self._replace(self._swap.look_again(self.live))

    def _rest(self) -> None:
        if self.control.desired.wish == "stop" and self.live.model is None:  # restarted: a stopped trainer predicts
            self._learn_rest(final=True)
        self.control.sleep(30.0)

    def _wait(self) -> None:
        if self.live.pool is not None:
            prepare(self.live.pool, self.live.model, task_named(self.replica.fold.task.name), seed=self.settings.seed)
        self.control.sleep(0.5)

    # ------------------------------------------------------------ learning

    def _learn_alone(self) -> None:
        with self.control.jobs_held():
            self._learn()

    def _change_to(self, replacement: Replacement) -> None:
        self._replace(self._swap.take_over(self.live, replacement, self._evaluate))
        self.control.wake(refresh=True)

    def _replace(self, live: LiveModel) -> None:
        if live is not self.live:
            self.live = live
            live.ingest.look_again()  # images that changed their split until now were reported to the other pool

    def _learn(self) -> None:
        self.control.begin_round()
        snapshot, pool = Snapshot.of(self.replica), self.live.pool
        if snapshot is None or pool is None:
            return
        timings = Timings()
        with timings.step("total"):
            studied = self._studies(pool, snapshot)
            if not studied:
                self._fit(pool, snapshot, timings)
            self._ranked = pool.version, pool.complete
            self._ask(pool, snapshot, timings)
            self._suggest_tests(pool, snapshot)
            if not studied:
                self._evaluate(self.live, snapshot, timings)
        if self._publisher.push_ms is not None:
            timings.steps["push"] = self._publisher.push_ms
        self.timings, self.failed, self.last_error = timings, False, None
        self.control.end_round()
        self._check_stops(snapshot)

    def _fit(self, pool: ImagePool, snapshot: Snapshot, timings: Timings) -> None:
        with timings.step("fit"):
            weigh(pool, snapshot)
            self.live.model = fit(pool, snapshot, self.live.model, seed=self.settings.seed)
            self.text.check(pool, self.live.embedder.backbone, snapshot, self.settings.seed)

    def _ask(self, pool: ImagePool, snapshot: Snapshot, timings: Timings) -> None:
        settings, task = self.settings, task_named(snapshot.task)
        push = rank(
            pool,
            snapshot,
            self.live.model,
            with_exploration(
                strategy_named(settings.query_strategy, several=task.several, boxes=task.learns_from_images),
                share_at(settings.exploration, len(snapshot.here)),
            ),
            strategy_name=settings.query_strategy,
            leased=self.control.leased,
            length=settings.query_length,
            seed=settings.seed,
            timings=timings,
            before=self._asked,
            guess=self.text.guess(pool, self.live.embedder.backbone, snapshot),
        )
        if push is not None:
            self._asked = push
            self._offer(push, snapshot)

    def _offer(self, push: QueryPush, snapshot: Snapshot) -> None:
        """Send a list, with the boxes found so far."""
        self._publisher.offer(push if self._studying is None else self._studying.boxed(push, self.live, snapshot))

    def _studies(self, pool: ImagePool, snapshot: Snapshot) -> bool:
        """Whether the task's model learns in its own rounds; it has then received the labels."""
        return self._studying is not None and self._studying.take_over(self.live, pool, snapshot)

    def _suggest_tests(self, pool: ImagePool, snapshot: Snapshot) -> None:
        """Suggest how often to ask each test image, in an active test."""
        model = self.live.model
        if snapshot.test_order != "active":
            self._rated = 0
        elif model is not None and model.task.tests_actively and active_test.due(len(model.rows), self._rated):
            rates = active_test.suggested(pool, snapshot, model.task, model.head, model.version)
            if rates is not None:
                self._rated = len(model.rows)
                self._publisher.suggest(rates)

    def _evaluate(
        self, live: LiveModel, snapshot: Snapshot, timings: Timings | None = None, *, final: bool = False
    ) -> None:
        """Publish an evaluation if it is news, and stop if the model is good enough."""
        lower_bounds = self._evaluator.evaluate(
            live, snapshot, timings or self.timings, round_number=self.control.desired.round, final=final
        )
        latest = live.latest
        if lower_bounds is None or latest is None:
            return
        self._publisher.worker.wake()
        reason = self.control.ask_rules(lambda rules: rules.measured(lower_bounds, latest.test_labels, latest.labels))
        if reason is not None and not final:
            self.wish("stop", reason, "thresholds")

    def _study(self) -> None:
        """One step of a detector's slow work; a new answer or a wish ends it early."""
        snapshot, pool = Snapshot.of(self.replica), self.live.pool
        if snapshot is None or pool is None or self._studying is None:
            return
        began = time.monotonic()
        with self.control.jobs_held():
            work = self._studying.step(self.live, pool, self.control.interrupts, self.timings)
            if work == "look" and self._asked is not None and self.live.model is not None:
                anew = {"id": uuid4(), "model_version": self.live.model.version}
                self._asked = self._asked.model_copy(update=anew)
                self._offer(self._asked, snapshot)
            elif work == "measure":
                self._evaluate(self.live, snapshot)
        self._owed = max(self._owed, 0.0) + time.monotonic() - began

    # ------------------------------------------------------------ saving and stopping

    def _save_now(self, name: str) -> Saved:
        if self.control.running:
            self._learn_rest()
        return self._save(name)

    def _learn_rest(self, *, final: bool = False) -> None:
        """Learn the labels since the last round, without ranking."""
        snapshot, pool = Snapshot.of(self.replica), self.live.pool
        if snapshot is not None and pool is not None and pool.whole:
            if self._studying is not None and self._studies(pool, snapshot):
                self._studying.learn(self.live, pool, lambda: self.control.closing, self.timings)
            else:
                self._fit(pool, snapshot, self.timings)
            self._evaluate(self.live, snapshot, final=final)

    def _save(self, name: str) -> Saved:
        return self._saver.save(self.live, name, reason=self.control.desired.reason or "asked to save")

    def _check_stops(self, snapshot: Snapshot) -> None:
        if reason := self.control.ask_rules(lambda rules: rules.given(len(snapshot.here))):
            self.wish("stop", reason, "budget")
        elif self.live.ingest.complete():
            images = self._backlog.to_answer(snapshot)  # an HTTP request, so without the lock
            reason = self.control.ask_rules(lambda rules: rules.left(images))
            if reason:
                self.wish("stop", reason, "nothing_left")

    def _finish(self) -> None:
        """Fetch the labeler's last rows, fit and evaluate once more, and save everything."""
        self._backlog.pull()
        self._learn_rest(final=True)
        saved = self._save(f"stop-{datetime.now(UTC):%Y%m%dT%H%M%S%f}") if self.live.model is not None else None
        self.control.finish(saved)
        logger.info("Trainer safely shut down (%s)", self.control.desired.reason or "asked to stop")
