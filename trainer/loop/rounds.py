"""One round of learning: from labels and embeddings to a fitted model, a ranked list, and an evaluation.

The functions use neither threads nor network, so that a test or a benchmark runs exactly what the service runs. The
snapshot's task decides what depends on the kind of labels. The loop decides when to call them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from shared.wire.evaluation import Evaluation
from shared.wire.queries import Query, QueryPush
from trainer.columns.id_index import as_ids
from trainer.embeddings.space import ImagePool, Space
from trainer.embeddings.transform import Projection
from trainer.evaluation.learning_curve import SAMPLE, Stability, advise
from trainer.evaluation.random_baseline import MOST
from trainer.learners.learner import Matrix
from trainer.strategies import Pool, Strategy
from trainer.strategies.ranking import ELSEWHERE
from trainer.sync.snapshot import Snapshot
from trainer.tasks.pool_scores import ranked
from trainer.tasks.registry import task_named
from trainer.tasks.targets import held_out, moved_out, train_targets
from trainer.tasks.task import Pictures, Targets, Task
from trainer.tasks.unlabeled_tests import unlabeled
from trainer.text.text_prior import Guess

COLD = "cold-"
"""Prefix of the version of a list that was made without a model."""
UPCOMING = 10
"""First images of a list that keep their places if possible: one batch."""
_OUTCOME_TOKEN = re.compile(r"\{class:(\d+)\}")


@dataclass
class Model:
    """A head, the geometry it was fitted in, and the labels it learned from."""

    head: Any  # the model that the task's learner fitted
    version: str
    geometry: int
    projection: Projection  # from raw vectors to the head's inputs
    rows: NDArray[np.int64]  # of the train matrix
    targets: Targets  # of each of `rows`
    images: NDArray[np.int64]  # of each of `rows`
    snapshot: Snapshot  # the latest snapshot that yields this model
    seconds: float  # duration of the fit
    complete: bool = False  # whether every image had its vector, so that the unlabeled ones could help

    @classmethod
    def of(
        cls,
        head: Any,
        pool: ImagePool | Space,
        snapshot: Snapshot,
        rows: NDArray[np.int64],
        targets: Targets,
        *,
        version: str,
        seconds: float,
    ) -> Model:
        """The model that learned these `rows` of the pool, in the geometry that the pool has now."""
        geometry, projection, images = pool.version, pool.projection, pool.train.ids[rows]
        return cls(head, version, geometry, projection, rows, targets, images, snapshot, seconds, _complete(pool))

    @property
    def task(self) -> Task:
        """The task that it was fitted for."""
        return task_named(self.snapshot.task)

    def probabilities(self, rows: Matrix) -> Matrix:
        """Probabilities (n, K) of the outcomes for rows (n, D)."""
        return self.task.probabilities(self.head, rows)

    def fits(self, pool: ImagePool | Space, rows: NDArray[np.int64], targets: Targets) -> bool:
        """Whether fitting again would give the same model."""
        same = self.geometry == pool.version and (self.complete or not _complete(pool))
        return same and np.array_equal(self.rows, rows) and np.array_equal(self.targets, targets)


@dataclass
class Timings:
    """Milliseconds per step of the last round."""

    steps: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure the duration of a block."""
        began = time.perf_counter()
        yield
        self.steps[name] = (time.perf_counter() - began) * 1e3

    def rounded(self) -> dict[str, float]:
        """The timings, rounded for display."""
        return {name: round(value, 2) for name, value in self.steps.items()}


def weigh(pool: ImagePool, snapshot: Snapshot) -> None:
    """Let the labels so far say how much each block of features counts, before a fit."""
    rows, targets = train_targets(pool, snapshot)
    numbers = task_named(snapshot.task).as_numbers(targets)
    if numbers is not None:
        pool.learn_shares(rows, numbers)


def prepare(pool: ImagePool, model: Model | None, task: Task, *, seed: int) -> None:
    """Precompute the label-independent part of the fit after `model`."""
    if pool.complete:
        task.prepare(model.targets if model is not None else None, pool=pool.train.rows, kept=pool.kept, seed=seed)


def fit(pool: ImagePool | Space, snapshot: Snapshot, previous: Model | None, *, seed: int) -> Model | None:
    """A model of all labels so far, or None while they are too few.

    It is `previous`, under the same version, if nothing that is learned has changed.
    """
    task = task_named(snapshot.task)
    rows, targets = train_targets(pool, snapshot)
    if not task.enough(targets):
        return None
    if previous is not None and previous.fits(pool, rows, targets):
        return previous if previous.snapshot is snapshot else replace(previous, snapshot=snapshot)
    warm = previous.head if previous is not None and previous.geometry == pool.version else None
    began = time.perf_counter()
    head = _learn(task, pool, seed)(pool.train.rows[rows], targets, without=rows, previous=warm)
    seconds = time.perf_counter() - began
    return Model.of(head, pool, snapshot, rows, targets, version=f"head-{uuid4().hex}", seconds=seconds)


def seen(
    pool: ImagePool, snapshot: Snapshot, head: Any, *, version: str, seconds: float, images: Collection[int]
) -> Model:
    """The model of a task that learns from the images themselves: it has learned `images`, with the labels of
    `snapshot`."""
    rows, targets = train_targets(pool, snapshot)
    learned = np.isin(pool.train.ids[rows], list(images))
    return Model.of(head, pool, snapshot, rows[learned], targets[learned], version=version, seconds=seconds)


def rank(
    pool: ImagePool,
    snapshot: Snapshot,
    model: Model | None,
    strategy: Strategy,
    *,
    strategy_name: str,
    leased: frozenset[int],
    length: int,
    seed: int,
    timings: Timings,
    before: QueryPush | None = None,
    guess: Guess | None = None,
) -> QueryPush | None:
    """A ranked list of up to `length` unanswered train images; None if there is nothing to ask.

    Upcoming images of the list `before` keep their places while they are nearly as good as new ones, so that the queue
    does not flicker. `before` is ignored if it is of another strategy or log, or was made without a model when there is
    one now: the first labels change the most (keeping it cost 1.7 points at 20 labels on digits).

    A `guess` from the class names gives the suggestions; before there is a model, the strategy ranks with it, too.
    """
    task, size, row_of = task_named(snapshot.task), len(pool.train.ids), pool.train.row_of
    open_rows = np.ones(size, bool)
    left = np.concatenate([row_of.known(as_ids(moved_out(snapshot))), pool.train.gone])
    open_rows[row_of.known(as_ids(snapshot.answered))] = open_rows[left] = False
    leased_rows = np.zeros(size, bool)
    leased_rows[row_of.known(as_ids(leased))] = True
    open_rows &= ~leased_rows
    candidates = np.flatnonzero(open_rows)
    if len(candidates) == 0:
        return None
    rows, targets = train_targets(pool, snapshot)
    labels = np.full(size, -1, np.int64)
    labels[left] = ELSEWHERE
    labels[rows] = task.observed(targets)
    asked = before.queries if before is not None and _has_a_say(before, snapshot, model, strategy_name) else []
    listed = row_of.known(as_ids(each.image_id for each in asked))
    upcoming = listed[open_rows[listed]][:UPCOMING]
    view = Pool(pool.train.rows, None, labels, leased_rows, candidates, seed, pool.memory, upcoming=upcoming)
    scored = np.zeros(size, bool)
    with timings.step("score"):
        if model is not None:
            view, scored = task.score(view, model.head, length, targets=targets, names=snapshot.names)
        elif guess is not None:
            view = replace(view, probabilities=guess.probabilities, classes=guess.classes)
    with timings.step("rank"):
        ask = partial(task.probabilities, model.head) if model is not None else None
        ranking = ranked(view, strategy, length, ask, scored)
    if guess is None and view.probabilities is not None and view.classes is not None:
        guess = Guess(view.classes, view.probabilities)
    queries = [
        Query(
            image_id=int(pool.train.ids[row]),
            score=float(score),
            reason=_named(reason, task, snapshot) or None,
            suggestions=task.suggestions(
                guess.classes, guess.probabilities[row], snapshot.names, model=model.head if model is not None else None
            )
            if guess
            else [],
        )
        for row, score, reason in zip(ranking.rows, ranking.scores, ranking.reasons, strict=True)
    ]
    return QueryPush(
        id=uuid4(),
        log_id=snapshot.log_id,
        model_version=model.version if model is not None else f"{COLD}{uuid4().hex}",
        acked_seq=snapshot.acked_seq,
        strategy=strategy_name,
        queries=queries,
    )


def measure(
    pool: ImagePool,
    snapshot: Snapshot,
    model: Model,
    *,
    round_number: int,
    earlier: Sequence[Evaluation] = (),
    stability: Stability | None = None,
    goal: float | None = None,
    seed: int = 0,
    final: bool = False,
    pictures: Pictures | None = None,
    iou_threshold: float = 0.5,
) -> tuple[Evaluation, dict[str, float]] | None:
    """Evaluate the model on the labeled test images; also returns the lower end of each metric's 95 % interval.

    Advice follows from `earlier` evaluations, `stability` and the `goal` for accuracy. `pictures` are the images
    themselves, for a task that learns from them. None while no test image is labeled.
    """
    task = model.task
    if stability is not None and not task.learns_from_images:
        answers = task.answers(model.head, pool.train.rows[:SAMPLE])
        stability.observe(len(model.rows), pool.train.ids[:SAMPLE], answers)
    tested = tested_images(pool, snapshot)
    if not tested:
        return None
    rows = pool.held.rows[pool.held.row_of.of(as_ids(tested))]
    truth = task.targets([snapshot.labels[image_id] for image_id in tested])
    inputs = task.inputs(rows, np.array(tested, np.int64), pictures, iou_threshold=iou_threshold)
    measured = task.measure(model.head, inputs, truth, snapshot.names)
    others = unlabeled(pool, snapshot)
    if others is not None:
        measured = task.sharpened(measured, model.head, rows, truth, others)
    elif snapshot.test_chances:
        measured = task.of_labeled_alone(measured)
    before = earlier[-1].random_baseline if earlier else []
    evaluation = measured.evaluation(
        log_id=snapshot.log_id,
        acked_seq=snapshot.acked_seq,
        model_version=model.version,
        round=round_number,
        labels=len(model.rows),
        spent=len(snapshot.labels),
        final=final,
        at_random=others is not None,
        active=bool(snapshot.test_chances),
        random_baseline=[]
        if snapshot.test_chances  # they are no random sample, from which to learn as from random labels
        else task.random_baseline(
            rows, truth, _as_given(pool, snapshot, task), before, learn=_learn(task, pool, seed), seed=seed
        ),
    )
    kappas = stability.kappas if stability is not None else []
    advice = advise([*earlier, evaluation], kappas, goal=goal)
    return evaluation.model_copy(update={"advice": advice}), dict(measured.lower_bounds)


def tested_images(pool: ImagePool, snapshot: Snapshot) -> list[int]:
    """The labeled test images, in the order of their rows."""
    tested = pool.held.ids[held_out(pool, "test", snapshot.splits)]
    return [image_id for image_id in tested.tolist() if image_id in snapshot.labels]


def _learn(task: Task, pool: ImagePool | Space, seed: int) -> Callable[..., Any]:
    """How the task fits a model in this pool."""
    kept = pool.kept if isinstance(pool, ImagePool) and _complete(pool) else None
    return partial(task.fit, pool=pool.train.rows, kept=kept, seed=seed)


def _complete(pool: ImagePool | Space) -> bool:
    return isinstance(pool, ImagePool) and pool.complete


def _has_a_say(before: QueryPush, snapshot: Snapshot, model: Model | None, strategy_name: str) -> bool:
    cold = before.model_version.startswith(COLD)
    return (before.log_id, before.strategy, cold) == (snapshot.log_id, strategy_name, model is None)


def _as_given(pool: ImagePool, snapshot: Snapshot, task: Task) -> tuple[Matrix, Targets]:
    """Rows and targets of the first train labels given here, in the order in which they were given."""
    row_of = pool.train.row_of
    first = list(islice((image for image in snapshot.here if image in row_of), MOST))
    rows = np.array([row_of[image] for image in first], np.int64)
    return pool.train.rows[rows], task.targets([snapshot.labels[image] for image in first])


def _named(reason: str, task: Task, snapshot: Snapshot) -> str:
    """Replace outcome numbers by names: strategies know only numbers."""

    def name(match: re.Match[str]) -> str:
        outcome = int(match[1])
        if not task.is_offered(outcome, snapshot.names):
            return "a former class"
        return task.outcome_name(outcome, snapshot.names)

    return _OUTCOME_TOKEN.sub(name, reason)
