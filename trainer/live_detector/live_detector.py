"""The detector that learns while people draw. It learns in short rounds from the train images labeled so far.

The head begins to learn from two images, and the first detector follows after five: a short round, whose boxes are
shown while longer ones follow.

A round takes a few seconds, and `should_stop` can end it between two steps. Each round continues from the last one. The
detector restarts in one case only: when an image that it learned from is now held out, because nothing learned from it
may remain. Otherwise it forgets gradually: it no longer trains on an answer that was undone or corrected, and the
answer's effect fades.

Each newly labeled image is scored before the detector learns it. These scores set the threshold for suggestions
(`trainer.detection.suggestion_threshold`). Only the loop's thread uses this module; `version` and `begun` are for all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import numpy as np

from shared.tasks.detection import Boxes
from trainer.evaluation.box_matching import Placed
from trainer.live_detector import canvas
from trainer.live_detector.kept import State
from trainer.live_detector.pictures import Pictures
from trainer.live_detector.sampling import most_images, worth_learning

if TYPE_CHECKING:  # torch takes seconds to import
    from trainer.detection.detector import Detector, Example
    from trainer.detection.suggestion_threshold import Judged

log = logging.getLogger(__name__)

LEAST_IMAGES = 5
"""Minimum number of labeled images for a detector."""
STEPS = 140
"""Training steps per round."""
ROUND_SECONDS = 6.0
"""Maximum duration of a round, in seconds."""
STEPS_SECONDS = 2.0
"""Minimum time for the steps of a round. On a slow machine, the fits before them alone may take ROUND_SECONDS."""
VIEW_SECONDS = 6.0
"""Seconds per round for computing the views of new images. The remaining images wait for the next rounds."""
AHEAD_IMAGES, AHEAD_STEPS = 2, 30
"""The head learns ahead from so many labeled images on, and takes so many steps for each. With this start, the first
detector needs only a short round after the fifth image.
"""
START_STEPS = 40
"""Minimum number of the head's steps before the first round, even if all images came at once."""
FIRST_STEPS = 20
"""Steps of the first round. With the others, a person would draw two more images without suggestions."""
EACH = 10
"""Number of newly labeled images that start one round."""
MOST_ROUNDS = 12
"""Maximum number of rounds for many new images at once, for example after an import."""


class LiveDetector:
    """Learns from `lessons`: train images and the boxes drawn in them. `path` is its file."""

    def __init__(self, path: Path, pictures: Pictures, seed: int) -> None:
        self._path = path
        self.pictures = pictures
        self._seed = seed
        self._state: State | None = None
        self._lessons: Mapping[int, Boxes] = {}
        self._learned: Mapping[int, Boxes] = {}  # lessons of the last round
        self._classes: frozenset[int] = frozenset()
        self._done: Mapping[int, Boxes] = {}  # the same, and lessons that `worth_learning` did not choose
        self._failed: Mapping[int, Boxes] | None = None  # lessons that allowed no training step
        self._left_out: set[int] = set()  # images of the last round that could not be read

    @property
    def detector(self) -> Detector | None:
        """The current detector. None while only its head learns ahead."""
        return self._state.detector if self._state is not None and self._state.version else None

    @property
    def version(self) -> str:
        """The detector's version, which changes with each round. Empty without a detector. From any thread."""
        state = self._state  # the loop's thread may replace it meanwhile
        return state.version if state is not None else ""

    @property
    def learned(self) -> Collection[int]:
        """The labeled images that it learned from in the last round."""
        return self._learned.keys()

    @property
    def seconds(self) -> float:
        """Duration of the last round."""
        return self._state.seconds if self._state is not None else 0.0

    @property
    def due(self) -> bool:
        """Whether there is something to learn."""
        state = self._state
        if state is None or (self._lessons is self._failed and not self._tries_again):
            return False
        if not state.version and not enough(self._lessons.values()):
            return self._learns_ahead(state)
        return (state.steps_left > 0 or self._tries_again) and enough(self._lessons.values())

    @property
    def begun(self) -> bool:
        """Whether it learns from enough images for a detector, even if none exists yet. From any thread."""
        return enough(self._lessons.values()) and self.due

    @property
    def hurries(self) -> bool:
        """Whether a person waits for the first detector, or for the next round, which soon makes a better one."""
        return self.begun and (self.detector is None or self.detector.steps < STEPS)

    @property
    def expected(self) -> bool:
        """Whether an image was labeled and there is no detector yet."""
        return not self.version and bool(self._lessons)

    @property
    def _tries_again(self) -> bool:
        """Whether an image that was unreadable in the last round may be readable now."""
        return any(each in self._lessons and self.pictures.hash_of(each) is not None for each in self._left_out)

    def start_over(self) -> None:
        """Forget everything, because image ids now belong to other images."""
        self._state, self._lessons, self._learned, self._done, self._left_out = None, {}, {}, {}, set()
        self._path.unlink(missing_ok=True)
        self.pictures.start_over()

    def prepare(
        self, log_id: UUID, lessons: Mapping[int, Boxes], *, held_out: Iterable[int], classes: Iterable[int]
    ) -> None:
        """Set what to learn: `lessons`, without anything from the images `held_out`. `classes` are the ids of the
        project's classes. The first call loads the state that an earlier run saved.
        """
        if self._state is None:
            saved = State.load(self._path)
            if saved is None or saved.log_id != log_id or not self._continues(saved):
                saved = State(log_id)
            self._state = saved
            if saved.detector is not None:
                self._learned = {image_id: boxes for image_id, boxes in lessons.items() if image_id in saved.seen}
                self._done = lessons if len(saved.seen) >= most_images(self.pictures.canvas) else self._learned
        state = self._state
        if not state.seen.isdisjoint(held_out):
            log.info("An image that the detector learned from is now held out, so the detector is trained from scratch")
            self._path.unlink(missing_ok=True)
            state = self._state = State(log_id)
            self._learned = self._done = {}
        if dict(lessons) != self._lessons:
            self._lessons = dict(lessons)
        if not state.version:
            self._choose_canvas(state)
        self._classes = frozenset(classes)
        changed = sum(boxes != self._done.get(image_id) for image_id, boxes in lessons.items())
        changed += len(self._done.keys() - lessons.keys())
        rounds = min(-(-changed // EACH), MOST_ROUNDS)
        state.steps_left = max(state.steps_left, rounds * STEPS)

    def learn(self, acked_seq: int, should_stop: Callable[[], bool]) -> bool:
        """Train for one round. Return whether there is a new detector. Raises OSError and NotInstalledError."""
        from trainer.detection.learning import fit
        from trainer.detection.suggestion_threshold import least_costly

        state = self._state
        if state is None or not self.due:
            return False
        began, taught = time.monotonic(), self._lessons
        left_out = self._left_out
        lessons, missing = self._prepared(taught, should_stop)
        if not left_out.isdisjoint(lessons):
            state.steps_left = max(state.steps_left, STEPS)
        if should_stop() or not state.steps_left:
            return False
        judged = self._scored(lessons)
        examples = self._examples(lessons)
        if not any(len(each.labels) for each in examples):
            self._failed = None if missing else taught
            return False
        deadline, begun = time.monotonic() + ROUND_SECONDS, False

        def ends() -> bool:
            return should_stop() or time.monotonic() > deadline

        def steps_end() -> bool:
            nonlocal begun, deadline
            if not begun:
                begun, deadline = True, max(deadline, time.monotonic() + STEPS_SECONDS)
            return ends()

        if not state.version and not self._start(state, examples, lessons, ends):
            return False
        before = state.steps
        detector = fit(
            examples,
            self.pictures.maps,
            previous=state.detector,
            steps=min(state.steps_left, STEPS if state.version else FIRST_STEPS),
            seed=self._seed,
            should_stop=steps_end,
            classes=self._classes,
        )
        if detector.steps == before:
            self._failed = None if missing or should_stop() else self._lessons
            return False
        state.steps_left -= max(detector.steps - before, 1)
        if missing:  # the next rounds learn them
            state.steps_left = max(state.steps_left, STEPS)
        state.judged = judged
        state.detector = detector.with_threshold(least_costly(judged))
        state.version, state.acked_seq = f"detector-{uuid4().hex}", acked_seq
        state.seen |= lessons.keys()
        self._learned, self._done = lessons, lessons if missing else taught
        state.seconds = time.monotonic() - began
        state.save(self._path)
        return True

    def _choose_canvas(self, state: State) -> None:
        self.pictures.canvas = canvas.canvas_for(self._lessons, self.pictures.sizes)
        if state.detector is not None and state.detector.size != self.pictures.canvas:
            state.detector = None  # the head learned ahead on the other canvas

    def _continues(self, saved: State) -> bool:
        """Whether training can go on with a saved detector, because its frozen network is the one in use."""
        detector = saved.detector
        if detector is None or detector.size not in (canvas.USUAL, canvas.LARGE):
            return False
        self.pictures.canvas = detector.size
        return detector.pyramid == self.pictures.maps.pyramid.key

    def _learns_ahead(self, state: State) -> bool:
        return any(len(each) for each in self._lessons.values()) and state.steps < self._start_steps

    @property
    def _start_steps(self) -> int:
        """Steps that the head should have taken before the first round."""
        images = len(self._lessons)
        ahead = AHEAD_STEPS * images if images >= AHEAD_IMAGES else 0
        return max(min(START_STEPS if enough(self._lessons.values()) else ahead, STEPS - FIRST_STEPS), 0)

    def _start(
        self,
        state: State,
        examples: list[Example],
        lessons: Mapping[int, Boxes],
        should_stop: Callable[[], bool],
    ) -> bool:
        """Train the head ahead of the first round. Return whether that round may follow.

        What was learned remains, even if `should_stop` ends it early: it is no detector yet, and nobody sees it.
        """
        from trainer.detection.learning import fit

        whole = enough(self._lessons.values())
        before, goal = state.steps, self._start_steps
        if before < goal:
            state.detector = fit(
                examples,
                self.pictures.maps,
                previous=state.detector,
                steps=goal - before,
                seed=self._seed,
                should_stop=should_stop,
                classes=self._classes,
                head_only=True,
            )
            state.seen |= lessons.keys()
            if whole:
                state.steps_left = max(state.steps_left - (state.steps - before), 1)
        if not whole and state.steps == before and not should_stop():
            self._failed = self._lessons
        return whole and (state.steps >= goal or not should_stop())

    def _scored(self, lessons: Mapping[int, Boxes]) -> list[Judged]:
        """The latest answers, each with the boxes found before it was learned. Includes newly labeled images."""
        from trainer.detection.detections import Detections
        from trainer.detection.suggestion_threshold import LAST, Judged

        state, detector = self._state, self.detector
        if state is None:
            return []
        fresh = [image_id for image_id in lessons if image_id not in state.seen][-LAST:]
        if detector is None or not fresh:
            return state.judged
        judged = list(state.judged)
        for image_id, found in zip(fresh, self.pictures.found(detector, fresh), strict=True):
            if found is not None:
                drawn = placed(lessons[image_id])
                seen = Detections(found.places.astype(np.float32), found.classes, found.scores.astype(np.float32))
                judged.append(Judged(seen, drawn.places.astype(np.float32), drawn.classes))
        return judged[-LAST:]

    def _prepared(self, lessons: Mapping[int, Boxes], should_stop: Callable[[], bool]) -> tuple[dict[int, Boxes], int]:
        """The lessons of a round, and the number of images that still lack their views. Views are computed for up to
        VIEW_SECONDS. Unreadable images are left out.
        """
        most = most_images(self.pictures.canvas)
        chosen = worth_learning({image_id: boxes.labels for image_id, boxes in lessons.items()}, most)
        ready = [image_id for image_id in chosen if self.pictures.has_views(image_id)]
        missing = sorted(set(chosen).difference(ready))
        deadline, made = time.monotonic() + VIEW_SECONDS, 0
        if not self.version and enough(lessons[each] for each in ready if self.pictures.hash_of(each) is not None):
            deadline = time.monotonic()  # the first detector does not wait for the sixth image
        for image_id in missing:
            late = time.monotonic() >= deadline and len(ready) + made >= LEAST_IMAGES
            if late or should_stop():
                break
            self.pictures.make_views(image_id)
            made += 1
        kept = {*ready, *missing[:made]}
        self._left_out = {image_id for image_id in kept if self.pictures.hash_of(image_id) is None}
        kept -= self._left_out
        return {image_id: lessons[image_id] for image_id in chosen if image_id in kept}, len(missing) - made

    def _examples(self, lessons: Mapping[int, Boxes]) -> list[Example]:
        from trainer.detection.detector import Example

        examples = []
        for image_id, boxes in lessons.items():
            sha256, drawn = self.pictures.hash_of(image_id), placed(boxes)
            if sha256 is not None:
                examples.append(Example(sha256, drawn.places.astype(np.float32), drawn.classes))
        return examples


def enough(values: Iterable[Boxes]) -> bool:
    """Whether a detector can be fitted: on at least five images and one box."""
    count, boxes = 0, 0
    for each in values:
        count, boxes = count + 1, boxes + len(each)
    return count >= LEAST_IMAGES and boxes > 0


def placed(boxes: Boxes) -> Placed:
    """Convert an answer to arrays."""
    return Placed.of([each[:5] for each in boxes.boxes])
