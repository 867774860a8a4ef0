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
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from shared.log import IMPORT
from shared.settings.schedule import share_at
from shared.settings.services import TrainerSettings
from shared.storage.disk_errors import Disk
from shared.wire.fields import TrainerState
from shared.wire.log import Row
from shared.wire.queries import QueryPush
from shared.wire.review import REVIEW
from shared.wire.trainer import EmbeddingProgress, Saved
from trainer.embeddings.space import ImagePool
from trainer.jobs.job_queue import Jobs
from trainer.loop.desired_state import DesiredState
from trainer.loop.evaluator import Evaluator
from trainer.loop.inbox import Inbox
from trainer.loop.live_model import LiveModel
from trainer.loop.rounds import Timings, fit, rank
from trainer.loop.saving import Saver
from trainer.loop.stopping import Rule, StoppingRules
from trainer.loop.swap import Replacement, Swap
from trainer.strategies import strategy_named, with_exploration
from trainer.sync.backlog import Backlog
from trainer.sync.labeler_client import LabelerClient
from trainer.sync.publisher import Publisher
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot

logger = logging.getLogger(__name__)

ANSWERS = frozenset({"label", "skip", "flag", "settle", "undo"})
CATCH_UP_SECONDS = 1.0  # between rounds while rows are still on their way
FAILED_SECONDS = 10.0  # until what failed is tried again, unless there is news before

Step = Literal["finish", "rest", "learn", "embed", "wait"]


class Loop:
    """Learns from `replica`, asks through `publisher`. `start` it, `wake` it when something changed, `close` it."""

    def __init__(
        self,
        settings: TrainerSettings,
        *,
        folder: Path,
        replica: Replica,
        live: LiveModel,
        saver: Saver,
        client: LabelerClient,
        publisher: Publisher,
        jobs: Sequence[Jobs],
        disk: Disk | None = None,
    ) -> None:
        """Begins with `live`; `jobs` are halted while this learns."""
        self._disk = disk or Disk(folder)
        self.settings = settings
        self.replica = replica
        self.live = live
        self._saver = saver
        self._swap = Swap(folder, replica, saver, settings)
        self._evaluator = Evaluator(settings, replica)
        self._jobs = jobs
        self._backlog = Backlog(client, replica)
        self._publisher = publisher
        self._desired_path = folder / "intent.json"
        self.desired = DesiredState.load(self._desired_path)
        self.rules = StoppingRules(settings, self.desired.stopping)

        self.timings = Timings()
        self.last_error: str | None = None
        self.failed = False
        self._disk_refused = False  # is why it failed
        self.leased: frozenset[int] = frozenset()

        self._changed = threading.Condition()
        self._closing = False
        self._inbox = Inbox(self.wake)
        self._news = False  # since `_next` last looked
        self._batches = 0  # that brought answers, since the last round
        self._refresh = True  # rank again whatever the batches say
        self._last_round = 0.0
        self._ranked_geometry = -1
        self._log_id = replica.log_id
        self._asked: QueryPush | None = None  # the last list
        self._thread = threading.Thread(target=self._run, name="loop", daemon=True)

    # ------------------------------------------------------------ called from other threads

    def start(self) -> None:
        """Begin."""
        self._rest_jobs(self.desired.wish == "pause")
        self._thread.start()

    def wake(self, *, refresh: bool = False) -> None:
        """Something changed; `refresh` asks for a new list even without new answers."""
        with self._changed:
            self._refresh = self._refresh or refresh
            self._notify()

    def disk_recovered(self) -> None:
        """What the disk kept from being done is tried again at once."""
        if self._disk_refused:
            self.failed, self.last_error, self._disk_refused = False, None, False
        self.wake()

    def received(self, rows: list[Row], leased: list[int]) -> None:
        """New rows are durable in the replica."""
        with self._changed:
            self.leased = frozenset(leased)
            if any(row.action in ANSWERS for row in rows):
                self._batches += 1
            if any(row.action in ("label", "skip", "flag") and row.source not in (IMPORT, REVIEW) for row in rows):
                self.rules.answered()
            if any(row.action not in ANSWERS for row in rows):
                self._refresh = True
            if any(row.action == "split_changed" for row in rows):
                self.live.ingest.look_again()
            self._notify()

    def wish(
        self, wish: Literal["run", "pause", "stop"], reason: str | None = None, rule: Rule | None = None
    ) -> TrainerState:
        """Run, pause or stop, which a `rule` may have asked for; returns the state at once, the rest follows.

        Raises OSError when the disk refuses, and then nothing has changed.
        """
        with self._changed:
            with self._kept():
                if wish == "run" and self.desired.wish == "stop":
                    self.rules.resumed()
                if wish != self.desired.wish and not (wish == "pause" and self.desired.wish == "stop"):
                    self.desired.wish, self.desired.reason, self.desired.finished = wish, reason, False
                    self.rules.stopped(rule)
                    if wish == "run":
                        self.desired.saved = None
                    self._save_desired()
            self._rest_jobs(self.desired.wish == "pause")
            self._refresh = self._refresh or wish == "run"
            self._notify()
        return self.state

    def apply_settings(self, changes: dict[str, object]) -> None:
        """Settings that may change while running; already validated."""
        with self._changed:
            for name, value in changes.items():
                setattr(self.settings, name, value)
            self.rules.changed(changes)
            self._refresh = True
            self._notify()

    def swap(self, replacement: Replacement) -> None:
        """Change to other embeddings between two rounds; returns when it is done.

        Raises NotNow when this ends before, and what went wrong, in which case all is as it was.
        """
        self._inbox.ask(lambda: self._change_to(replacement), only_running=True)

    def save_version(self, name: str) -> Saved:
        """Save current model under `name`, with how good it is; returns when it is done.

        Unless it is paused, it learns first what came since the last round. Raises NotNow when this ends before,
        ValueError without a model or for a bad name, FileExistsError for a name that is taken.
        """
        return self._inbox.ask(lambda: self._save_now(name))

    @property
    def state(self) -> TrainerState:
        """In the words of the contract."""
        match self.desired.wish:
            case "stop":
                return "stopped" if self.desired.finished else "stopping"
            case "pause":
                return "paused"
        if self.failed:
            return "failed"
        return "training" if self.live.model is not None else "waiting"

    def progress(self) -> EmbeddingProgress:
        """How far the embeddings are."""
        total = len(self.replica.catalog) - len(self.replica.removed)
        live = self.live  # looked at once: another may take over meanwhile
        done = len(live.pool) if live.pool is not None else 0
        return live.embedder.progress(total).model_copy(update={"done": done})

    def close(self, timeout: float = 10.0) -> None:
        """End after the step at hand; the files are in order at any instant."""
        with self._changed:
            self._closing = True
            self._notify()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._inbox.close()
        self.live.embedder.close()
        self._swap.close()

    @property
    def _running(self) -> bool:
        return self.desired.wish == "run"

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        steps: dict[Step, Callable[[], None]] = {
            "finish": self._finish,
            "learn": self._learn_alone,
            "embed": self._embed,
            "rest": self._rest,
            "wait": lambda: self._sleep(0.5),
        }
        while not self._closing:
            try:
                if self.desired.wish != "pause":
                    self._follow_log()
                self._inbox.run(lambda: self._running)
                if self.desired.wish != "pause":
                    self.live.ingest.refresh()
                steps[self._next()]()
            except Exception as error:  # a failing strategy or a full disk must not end the service
                logger.exception("A step failed")
                trouble = self._disk.notice(error)
                self.last_error = trouble.message if trouble else f"{type(error).__name__}: {error}"
                self.failed, self._disk_refused = True, trouble is not None
                with self._changed:
                    self._refresh = True  # what it should have learned is still to be learned
                    self._news = False  # a new attempt right away would fail the same way
                self._sleep(FAILED_SECONDS)

    def _next(self) -> Step:
        with self._changed:
            self._news = False
            if self.desired.wish == "stop" and not self.desired.finished:
                return "finish"
            if self.desired.wish == "pause":
                return "rest"
            if self._running and self._due():
                return "learn"
            if self.live.ingest.pending:  # also after a stop: what is looked at can be looked for
                return "embed"
            return "wait" if self._running else "rest"

    def _due(self) -> bool:
        pool = self.live.pool
        if pool is None or not len(pool.train.ids):
            return False
        catching_up = self.replica.acked_seq < self.replica.leader_seq
        if catching_up and time.monotonic() - self._last_round < CATCH_UP_SECONDS:
            return False
        return (
            self._refresh
            or self._batches >= self.settings.eval_and_query_every
            or self._ranked_geometry != pool.version
        )

    def _follow_log(self) -> None:
        """Forget what was learned from another log: ids mean other images in this one."""
        log_id = self.replica.log_id
        if self._log_id is not None and self._log_id != log_id:
            self.live.ingest.start_over()
            self._evaluator.start_over()
            self.live.model = self.live.latest = None
            self._ranked_geometry, self._asked = -1, None
            with self._changed:
                self.desired.stopping.clear()
                self.rules = StoppingRules(self.settings, self.desired.stopping)
        self._log_id = log_id

    def _embed(self) -> None:
        if not self.live.ingest.embed():
            self._sleep(0.2)  # `pixels` waits for images to fit itself on

    def _rest(self) -> None:
        if self.desired.wish == "stop" and self.live.model is None:  # started again: a stopped trainer answers
            self._learn_rest(final=True)
        self._sleep(30.0)

    def _sleep(self, seconds: float) -> None:
        """Rest until there is news, which may have come before."""

        def news() -> bool:
            return self._news or self._closing or self._inbox.due(self._running) is not None

        with self._changed:
            self._changed.wait_for(news, seconds)

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

    def _change_to(self, replacement: Replacement) -> None:
        self.live = self._swap.take_over(self.live, replacement, self._evaluate)
        with self._changed:
            self._refresh = True

    def _learn(self) -> None:
        with self._changed:
            self._batches, self._refresh = 0, False
        self._last_round = time.monotonic()
        snapshot = Snapshot.of(self.replica)
        pool = self.live.pool
        if snapshot is None or pool is None:
            return
        timings = Timings()
        with timings.step("total"):
            self._fit(pool, snapshot, timings)
            self._ranked_geometry = pool.version
            self._ask(pool, snapshot, timings)
            self._evaluate(self.live, snapshot, timings)
        if self._publisher.push_ms is not None:
            timings.steps["push"] = self._publisher.push_ms
        self.timings = timings
        self.failed, self.last_error = False, None
        with self._changed:
            self.desired.round += 1
            self._save_desired()
        self._check_stops(snapshot)

    def _fit(self, pool: ImagePool, snapshot: Snapshot, timings: Timings) -> None:
        with timings.step("fit"):
            self.live.model = fit(pool, snapshot, self.live.model, seed=self.settings.seed)

    def _ask(self, pool: ImagePool, snapshot: Snapshot, timings: Timings) -> None:
        settings = self.settings
        push = rank(
            pool,
            snapshot,
            self.live.model,
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

    def _evaluate(
        self, live: LiveModel, snapshot: Snapshot, timings: Timings | None = None, *, final: bool = False
    ) -> None:
        """Tell how good it is, if that is news, and stop where it is good enough."""
        lower_bounds = self._evaluator.evaluate(
            live, snapshot, timings or self.timings, round_number=self.desired.round, final=final
        )
        if lower_bounds is None or live.latest is None:
            return
        self._publisher.worker.wake()
        with self._changed:
            reason = self.rules.measured(lower_bounds, live.latest.test_labels, live.latest.labels)
        if reason is not None and not final:
            self.wish("stop", reason, "thresholds")

    # ------------------------------------------------------------ saving

    def _save_now(self, name: str) -> Saved:
        if self._running:
            self._learn_rest()
        return self._save(name)

    def _learn_rest(self, *, final: bool = False) -> None:
        """What came since the last round, without asking anew."""
        snapshot, pool = Snapshot.of(self.replica), self.live.pool
        if snapshot is not None and pool is not None and pool.whole:
            self._fit(pool, snapshot, self.timings)
            self._evaluate(self.live, snapshot, final=final)

    def _save(self, name: str) -> Saved:
        return self._saver.save(self.live, name, reason=self.desired.reason or "asked to save")

    # ------------------------------------------------------------ stopping

    def _check_stops(self, snapshot: Snapshot) -> None:
        with self._changed:
            reason = self.rules.given(len(snapshot.here))
        if reason:
            self.wish("stop", reason, "budget")
        elif self.live.ingest.complete():
            images = self._backlog.to_answer(snapshot)  # a request, and so without the lock
            with self._changed:
                reason = self.rules.left(images)
            if reason:
                self.wish("stop", reason, "nothing_left")

    def _finish(self) -> None:
        """The last flush, fit and evaluation; then everything is saved."""
        self._backlog.pull()
        self._learn_rest(final=True)
        saved = None
        if self.live.model is not None:
            saved = self._save(f"stop-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
        with self._changed:
            self.desired.saved = saved or self.desired.saved
            if self.desired.wish == "stop":  # nobody resumed meanwhile
                self.desired.finished = True
                self._save_desired()
        logger.info("Trainer safely shut down (%s)", self.desired.reason or "asked to stop")

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Within the block, the wish changes; it is what it was if that cannot be saved."""
        before = self.desired.model_copy(deep=True)
        try:
            yield
        except OSError:
            stopping = self.desired.stopping  # the rules hold it, too
            self.desired = before.model_copy(update={"stopping": stopping})
            stopping.clear()
            stopping.update(before.stopping)
            raise

    def _save_desired(self) -> None:
        with self._changed:
            self.desired.save(self._desired_path)
