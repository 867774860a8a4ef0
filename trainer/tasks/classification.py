"""Single-label classification: each image has one class. A label is the class id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from shared.wire.evaluation import RandomEstimate
from trainer.embeddings.neighbourhood import LEAST, Neighbourhood
from trainer.evaluation.measured import Measured
from trainer.evaluation.metrics import evaluate
from trainer.evaluation.prediction_powered import Unlabeled, accuracy
from trainer.evaluation.random_baseline import beside_chosen, random_baseline
from trainer.learners.kernel_head import Head, KernelHead
from trainer.learners.learner import Matrix
from trainer.learners.teacher import MOST_LABELS, taught_head
from trainer.strategies.ranking import Pool
from trainer.tasks import pool_scores
from trainer.tasks.task import Ids, Names, Targets, Task, Value

NEIGHBOURHOOD = "neighbourhood"
GROWN = 1.1
"""Growth of the test sample after which the random baseline is estimated again."""


class Classification(Task):
    """The outcomes are class ids."""

    name: ClassVar[str] = "classification"
    learner = KernelHead()
    trains_networks = True
    has_named_outcomes = True
    finds_label_issues = True

    def targets(self, values: Sequence[Value]) -> Targets:
        """Class ids (n,)."""
        return np.array(values, np.int64)

    def enough(self, targets: Targets) -> bool:
        """A model needs two classes."""
        return len(np.unique(targets)) >= 2

    def as_numbers(self, targets: Targets) -> NDArray[np.float64]:
        """One-hot classes."""
        classes, columns = np.unique(targets, return_inverse=True)
        return np.eye(len(classes))[columns]

    def fit(
        self,
        labeled: Matrix,
        targets: Targets,
        *,
        pool: Matrix,
        kept: dict[str, Any] | None = None,
        without: Ids | None = None,
        previous: Head | None = None,
        seed: int = 0,
    ) -> Head:
        """Few labels of a complete pool are learned with their neighbours, see `trainer.learners.teacher`."""
        if kept is not None:
            self.prepare(len(labeled), pool=pool, kept=kept, seed=seed)
        around: Neighbourhood | None = (kept or {}).get(NEIGHBOURHOOD)
        if around is None or len(labeled) > MOST_LABELS:
            return self.learner.fit(labeled, targets, previous=previous, seed=seed)
        pupils = pool[around.pupils(len(labeled), len(pool), without=without)]
        coordinates = around.coordinates(np.concatenate([labeled, pupils]), pool)
        return taught_head(labeled, targets, pupils, coordinates, seed=seed)

    def prepare(self, labels: int, *, pool: Matrix, kept: dict[str, Any], seed: int = 0) -> None:
        """The neighbour graph, which takes half a second."""
        if NEIGHBOURHOOD not in kept and labels <= MOST_LABELS and len(pool) >= LEAST:
            kept[NEIGHBOURHOOD] = Neighbourhood.of(pool, seed=seed)

    def outcomes(self, model: Head) -> Ids:
        """The classes that the head was fitted on."""
        return model.classes

    def score(self, pool: Pool, model: Head, length: int) -> tuple[Pool, NDArray[np.bool_]]:
        """A large pool is scored in part, see `trainer.tasks.pool_scores`."""
        return pool_scores.score(pool, model, length)

    def outcome_name(self, outcome: int, names: Names) -> str:
        """The class name."""
        return names.get(outcome, str(outcome))

    def is_offered(self, outcome: int, names: Names) -> bool:
        """Only classes that are still there."""
        return outcome in names

    def measure(self, model: Head, rows: Matrix, truth: Targets, names: Names) -> Measured:
        """Accuracy, macro F1, log loss, calibration, the figures of each class and the confusion matrix."""
        return evaluate(truth, model.predict_proba(rows), model.classes, dict(names)).measured()

    def sharpened(self, measured: Measured, model: Head, rows: Matrix, truth: Targets, others: Unlabeled) -> Measured:
        """The accuracy, and its lower bound."""
        probabilities = model.predict_proba(rows)
        right = model.classes[probabilities.argmax(axis=1)] == truth
        known = (model.predict_proba(each).max(axis=1) for each in (others.asked, others.open))
        found = accuracy(right, probabilities.max(axis=1), *known)
        return replace(measured, accuracy=found, lower_bounds={**measured.lower_bounds, "accuracy": found.low})

    def random_baseline(
        self,
        rows: Matrix,
        truth: Targets,
        chosen: tuple[Matrix, Targets],
        earlier: list[RandomEstimate],
        *,
        learn: Callable[[Matrix, Targets], Head],
        seed: int,
    ) -> list[RandomEstimate]:
        """As `trainer.evaluation.random_baseline`. The estimate is kept until the test sample has grown by a tenth,
        so that a round stays quick."""
        kept = bool(earlier) and earlier[0].accuracy.n <= len(truth) < GROWN * earlier[0].accuracy.n
        estimates = earlier if kept else random_baseline(rows, truth, seed=seed, learn=learn)
        return beside_chosen(estimates, chosen, rows, truth, learn=learn)

    def counts(self, values: Sequence[Value], names: Names) -> dict[str, int]:
        """Labels per class, in the order of class ids."""
        return {names.get(label, str(label)): count for label, count in sorted(Counter(values).items())}

    def cells(self, value: Value, names: Names) -> dict[str, Any]:
        """The class by name and by id."""
        return {"label": names.get(value, str(value)), "class_id": value}
