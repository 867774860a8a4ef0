"""A new kind of label works from log to evaluation by registering a task, without other changes.

The toy task counts: the label of an image is the number of things in it, an integer ≥ 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.wire.evaluation import Evaluation, Interval
from shared.wire.queries import QueryPush
from tests.trainer.logs import LOG, entry
from trainer.embeddings.space import ImagePool
from trainer.evaluation.learning_curve import Stability
from trainer.evaluation.measured import Measured
from trainer.learners.learner import Matrix
from trainer.loop.rounds import Timings, fit, measure, rank
from trainer.loop.stopping import Thresholds
from trainer.strategies import strategy_named
from trainer.sync.snapshot import Snapshot
from trainer.tasks import registry
from trainer.tasks.registry import UnknownTask, register, task_named
from trainer.tasks.task import Names, Targets, Task

TRAIN, TEST = range(200), range(200, 260)
MOST = 9


@dataclass(frozen=True)
class Line:
    """A linear function of the rows, and the spread of the labels around it."""

    slopes: NDArray[np.float64]
    spread: float

    def predict(self, rows: Matrix) -> NDArray[np.float64]:
        return np.asarray(np.c_[rows, np.ones(len(rows))] @ self.slopes, np.float64)


class LeastSquares:
    name = "line"
    how_to_use = "rows @ slopes"

    def fit(self, rows: Matrix, targets: Targets, *, previous: Line | None = None, seed: int = 0) -> Line:
        known = np.c_[rows, np.ones(len(rows))].astype(np.float64)
        slopes = np.linalg.solve(known.T @ known + 1e-3 * np.eye(known.shape[1]), known.T @ targets)
        return Line(slopes, float(max(np.std(known @ slopes - targets), 0.3)))

    def predict(self, model: Line, rows: Matrix) -> Matrix:
        """The probability of each count from 0 to `MOST`."""
        distance = (model.predict(rows)[:, None] - np.arange(MOST + 1)) / model.spread
        likely = np.exp(-(distance**2) / 2) + 1e-9
        return np.asarray(likely / likely.sum(axis=1, keepdims=True), np.float32)

    def save(self, model: Line) -> dict[str, NDArray[np.generic]]:
        return {"slopes": model.slopes, "spread": np.array([model.spread])}

    def load(self, tensors: Mapping[str, NDArray[np.generic]]) -> Line:
        return Line(np.asarray(tensors["slopes"], np.float64), float(np.asarray(tensors["spread"], np.float64)[0]))


class Count(Task):
    name = "count"
    learner = LeastSquares()

    def targets(self, values: Sequence[Any]) -> Targets:
        return np.array(values, np.float64)

    def enough(self, targets: Targets) -> bool:
        return len(targets) >= 5

    def outcomes(self, model: Line) -> NDArray[np.int64]:
        return np.arange(MOST + 1)

    def measure(self, model: Line, rows: Matrix, truth: Targets, names: Names) -> Measured:
        error, n = np.abs(model.predict(rows) - truth), len(truth)
        half = 1.96 * float(error.std()) / n**0.5
        mean, near = float(error.mean()), float((error < 1).mean())
        found = {
            "mean_error": Interval(value=mean, low=max(mean - half, 0.0), high=mean + half, n=n),
            "within_one": Interval(value=near, low=max(near - 0.1, 0.0), high=min(near + 0.1, 1.0), n=n),
        }
        return Measured({"within_one": found["within_one"].low}, metrics=found)


@pytest.fixture
def counting(monkeypatch):
    monkeypatch.setattr(registry, "_TASKS", dict(registry._TASKS))
    register(Count())


def project() -> tuple[ImagePool, dict[int, int]]:
    """A pool in which the count follows from the vector, and all counts."""
    rng = np.random.default_rng(0)
    truth = {image: int(rng.integers(0, MOST + 1)) for image in (*TRAIN, *TEST)}
    vectors = {
        f"{image:064x}": ((np.arange(MOST) < count) + rng.normal(0, 0.05, MOST)).astype(np.float32)
        for image, count in truth.items()
    }
    pool = ImagePool(MOST, lambda sha256s: np.stack([vectors[each] for each in sha256s]))
    pool.add([entry(image, split="test" if image in TEST else "train") for image in (*TRAIN, *TEST)], complete=True)
    return pool, truth


def labeled(truth: Mapping[int, int], train: int) -> Snapshot:
    labels = {image: truth[image] for image in (*range(train), *TEST)}
    return Snapshot(LOG, len(labels), labels, frozenset(labels), {}, here=tuple(labels), task="count")


def ask(pool: ImagePool, snapshot: Snapshot, strategy: str) -> QueryPush:
    model = fit(pool, snapshot, None, seed=0)
    push = rank(
        pool,
        snapshot,
        model,
        strategy_named(strategy),
        strategy_name=strategy,
        leased=frozenset({199}),
        length=20,
        seed=0,
        timings=Timings(),
    )
    assert push is not None
    return push


def test_too_few_counts_give_a_list_without_a_model(counting):
    pool, truth = project()
    snapshot = labeled(truth, 3)
    assert fit(pool, snapshot, None, seed=0) is None
    push = ask(pool, snapshot, "uncertainty_herding")
    assert len({query.image_id for query in push.queries} - {199} - set(range(3))) == 20


@pytest.mark.parametrize("strategy", ["uncertainty_herding", "margin", "class_balanced"])
def test_counts_are_asked_with_counts_suggested(counting, strategy):
    pool, truth = project()
    push = ask(pool, labeled(truth, 60), strategy)
    asked = {query.image_id for query in push.queries}
    assert len(asked) == 20
    assert asked <= set(TRAIN) - set(range(60)) - {199}
    likeliest = [query.suggestions[0].label for query in push.queries]
    given = [truth[query.image_id] for query in push.queries]
    assert np.mean(np.abs(np.subtract(likeliest, given)) <= 1) > 0.8
    assert all("{class:" not in str(query.reason) for query in push.queries)
    assert QueryPush.model_validate_json(push.model_dump_json()) == push


def test_counts_are_measured_with_intervals_and_without_an_accuracy(counting):
    pool, truth = project()
    earlier: list[Evaluation] = []
    stability = Stability()
    model, thresholds, stops = None, Thresholds({"within_one": 0.5}), []
    for train in (40, 110, 180):
        model = fit(pool, labeled(truth, train), model, seed=0)
        assert model is not None
        found = measure(
            pool, model.snapshot, model, round_number=1, earlier=earlier, stability=stability, final=train == 180
        )
        assert found is not None
        earlier.append(found[0])
        stops.append(thresholds.observe(found[1], found[0].test_labels, found[0].labels))
    last = earlier[-1]
    assert (last.accuracy.n, last.accuracy.low, last.accuracy.high) == (0, 0, 1)
    assert set(last.metrics) == {"mean_error", "within_one"}
    assert last.metrics["mean_error"].low < last.metrics["mean_error"].value < 0.7
    assert all(each.n == len(TEST) for each in last.metrics.values())
    assert (last.test_labels, last.labels, last.spent, last.final) == (60, 180, 240, True)
    assert last.random_baseline == []
    assert len(stability.kappas) == 2
    assert stops[0] is None
    assert stops[1] is not None
    assert "within one is at least" in stops[1]
    assert Evaluation.model_validate_json(last.model_dump_json()) == last


def test_a_saved_model_is_the_same(counting):
    pool, truth = project()
    model = fit(pool, labeled(truth, 60), None, seed=0)
    assert model is not None
    again = model.task.learner.load(model.task.learner.save(model.head))
    np.testing.assert_array_equal(model.task.probabilities(again, pool.held.rows), model.probabilities(pool.held.rows))


def test_an_unknown_task_is_refused_in_one_sentence():
    with pytest.raises(UnknownTask, match=r"cannot learn the task 'dance'\. It knows: classification"):
        task_named("dance")
    snapshot = Snapshot(uuid4(), 1, {1: 2}, frozenset({1}), {}, task="count")
    with pytest.raises(UnknownTask):
        fit(project()[0], snapshot, None, seed=0)
