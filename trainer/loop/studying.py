"""How the loop works on a detector: which images and labels it gets, and what becomes the live model.

A detector needs seconds for a round. So the embeddings first rank the images after an answer. Each step of the slow
work (`trainer.live_detector.studies`) ends early when quicker work is due. Only the loop's thread uses this module.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from shared.wire.queries import QueryPush
from trainer.embeddings.space import ImagePool
from trainer.live_detector import studies
from trainer.live_detector.live_detector import LiveDetector
from trainer.live_detector.studies import Studies, Work
from trainer.loop.evaluator import Evaluator
from trainer.loop.live_model import LiveModel
from trainer.loop.rounds import Timings, seen
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot
from trainer.tasks.registry import task_named
from trainer.tasks.targets import moved_out, train_targets


class Studying:
    """Works on `detector` for one loop."""

    def __init__(self, detector: LiveDetector, evaluator: Evaluator, replica: Replica) -> None:
        self._detector = detector
        self._evaluator = evaluator
        self._replica = replica
        self._studies = Studies(detector)
        self._no_news: object = None  # the state for which an evaluation was last found unnecessary
        self._taught: Snapshot | None = None  # whose labels the detector learns

    def start_over(self) -> None:
        """Forget everything, because ids now belong to other images."""
        self._studies.start_over()
        self._taught = None

    def take_over(self, live: LiveModel, pool: ImagePool, snapshot: Snapshot) -> bool:
        """Give the labels of `snapshot` to the detector. Returns False if the task's model is not a detector."""
        if not task_named(snapshot.task).learns_from_images:
            return False
        rows, targets = train_targets(pool, snapshot)
        lessons = dict(zip(pool.train.ids[rows].tolist(), targets.tolist(), strict=True))
        held_out = moved_out(snapshot) | set(pool.held.ids.tolist())
        detector = self._detector
        detector.prepare(snapshot.log_id, lessons, held_out=held_out, classes=snapshot.names)
        self._taught = snapshot
        if detector.detector is None:
            live.model = None
        elif live.model is None or live.model.version != detector.version or not detector.due:
            self._put(live, pool, snapshot)
        return True

    @property
    def begun(self) -> bool:
        """Whether a detector learns from enough images, even if none exists yet. From any thread."""
        return self._detector.begun

    @property
    def hurries(self) -> bool:
        """Whether a person waits for the first detector, or for the next round, which soon makes a better one."""
        return self._detector.hurries

    def due(self, live: LiveModel) -> Work | None:
        """The most urgent work."""
        return self._studies.due(lambda: self._untested(live))

    def step(self, live: LiveModel, pool: ImagePool, should_stop: Callable[[], bool], timings: Timings) -> Work | None:
        """Do some of the most urgent work. Returns `look` if a list with more boxes can be sent, `measure` if all test
        images have been looked at."""
        match self.due(live):
            case "learn":
                self.learn(live, pool, should_stop, timings)
            case "look":
                return "look" if self._studies.look(should_stop) else None
            case "measure":
                return "measure" if self._studies.measure(should_stop) else None
        return None

    def learn(self, live: LiveModel, pool: ImagePool, should_stop: Callable[[], bool], timings: Timings) -> None:
        """One round of learning. Its model takes the place of the live one."""
        began, snapshot, first = time.perf_counter(), self._taught, self._detector.detector is None
        if snapshot is not None and self._detector.learn(snapshot.acked_seq, should_stop):
            self._put(live, pool, snapshot)
            timings.steps["fit"] = (time.perf_counter() - began) * 1e3
            self._studies.learned(lambda: self._untested(live), first=first)

    def boxed(self, push: QueryPush, live: LiveModel, snapshot: Snapshot) -> QueryPush:
        """The list, with suggested boxes for the images in which the detector has found any so far."""
        model = live.model
        self._studies.asked(push)
        if model is None or not model.task.learns_from_images:
            return push
        queries = []
        for place, query in enumerate(push.queries):
            found = self._studies.known(query.image_id) if place < studies.SHOWN else None  # a list fits one request
            boxes = model.task.boxes(model.head, found, snapshot.names) if found is not None else []
            queries.append(query.model_copy(update={"boxes": boxes}))
        return push.model_copy(update={"queries": queries})

    def _put(self, live: LiveModel, pool: ImagePool, snapshot: Snapshot) -> None:
        detector = self._detector
        live.model = seen(
            pool,
            snapshot,
            detector.detector,
            version=detector.version,
            seconds=detector.seconds,
            images=detector.learned,
        )

    def _untested(self, live: LiveModel) -> list[int] | None:
        """The test images to measure on, if the result would change. Checks the labels only after a change."""
        now = (
            self._replica.acked_seq,
            self._detector.version,
            len(live.pool) if live.pool is not None else 0,
            self._evaluator.iou_threshold,
        )
        if now == self._no_news:
            return None
        snapshot = Snapshot.of(self._replica)
        found = self._evaluator.news(live, snapshot) if snapshot is not None else None
        self._no_news = now if found is None else None
        return found
