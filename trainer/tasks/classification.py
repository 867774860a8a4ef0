"""Single-label classification: each image has one class. A label is the class id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation import active_sample
from trainer.evaluation.measured import Measured
from trainer.evaluation.metrics import accuracy_alone, evaluate, wilson
from trainer.evaluation.model_comparison import pair
from trainer.evaluation.prediction_powered import Unlabeled, accuracy
from trainer.evaluation.random_baseline import beside_chosen, random_baseline
from trainer.learners.kernel_head import Head, KernelHead, fit_head
from trainer.learners.learner import Matrix
from trainer.tasks.network_task import Contest, NetworkTask, Said
from trainer.tasks.task import Ids, Names, Targets, Value


class Classification(NetworkTask):
    """The outcomes are class ids."""

    name: ClassVar[str] = "classification"
    random_estimate = staticmethod(random_baseline)
    beside_random = staticmethod(beside_chosen)
    learner = KernelHead()
    network: ClassVar[str] = "fine_tuner"
    has_named_outcomes = True
    finds_label_issues = True
    tests_actively = True
    measures: ClassVar[frozenset[str]] = frozenset({"accuracy", "macro_f1"})
    no_model = "There is no model yet: label images of at least two classes first."

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

    def fit_teacher(self, rows: Matrix, targets: Targets, seed: int) -> Head:
        """As `fit_head`."""
        return fit_head(rows, targets, seed=seed)

    def learnable(self, targets: Targets) -> Ids:
        """The classes that occur."""
        return np.unique(targets)

    def outputs(self, targets: Targets, classes: Ids) -> tuple[Targets, NDArray[np.bool_]]:
        """The position of each class among `classes`."""
        return np.searchsorted(classes, targets).clip(max=len(classes) - 1), np.isin(targets, classes)

    def kinds(self, targets: Targets) -> Ids:
        """The classes."""
        return np.asarray(targets, np.int64)

    def says(self, model: Head, rows: Matrix) -> list[Said]:
        """The most likely class."""
        return list(self.answers(model, rows).tolist())

    def true(self, targets: Targets) -> list[Said]:
        """The classes."""
        return list(targets.tolist())

    def errs(self, targets: Targets, said: Sequence[Said]) -> NDArray[np.bool_]:
        """Mask of the rows where the predicted class differs."""
        return np.asarray(targets != np.array(said))

    def contest(self, targets: Targets, base: Sequence[Said], candidate: Sequence[Said]) -> Contest:
        """Compares the accuracy, with McNemar's exact test."""
        pairs = pair(targets, np.array(base, np.int64), np.array(candidate, np.int64))
        one, other = (wilson(pairs.both_right + only, len(targets)) for only in (pairs.only_base, pairs.only_candidate))
        return Contest(other, one, pairs.gain, pairs.p)

    def measure(self, model: Head, rows: Matrix, truth: Targets, names: Names) -> Measured:
        """Accuracy, macro F1, log loss, calibration, the figures of each class and the confusion matrix."""
        return evaluate(truth, model.predict_proba(rows), model.classes, dict(names)).measured()

    def sharpened(self, measured: Measured, model: Head, rows: Matrix, truth: Targets, others: Unlabeled) -> Measured:
        """Sharpens the accuracy and its lower bound. In an active test, leaves out figures that count labeled images
        alone, except the confusion matrix."""
        probabilities = model.predict_proba(rows)
        right = model.classes[probabilities.argmax(axis=1)] == truth
        asked, still_open = (model.predict_proba(each).max(axis=1) for each in (others.asked, others.open))
        if others.chance is None:
            found = accuracy(right, probabilities.max(axis=1), asked, still_open)
            return replace(measured, accuracy=found, lower_bounds={**measured.lower_bounds, "accuracy": found.low})
        found = active_sample.accuracy(
            right,
            probabilities.max(axis=1),
            others.chance,
            asked=asked,
            asked_chance=others.asked_chance,
            still_open=still_open,
            size=others.size,
        )
        return accuracy_alone(replace(measured, accuracy=found))

    def of_labeled_alone(self, measured: Measured) -> Measured:
        """Only the accuracy and the confusion matrix, and no bounds."""
        return replace(accuracy_alone(measured), lower_bounds={})

    def counts(self, values: Sequence[Value], names: Names) -> dict[str, int]:
        """Labels per class, in the order of class ids."""
        return {names.get(label, str(label)): count for label, count in sorted(Counter(values).items())}

    def cells(self, value: Value, names: Names) -> dict[str, Any]:
        """The class by name and by id."""
        return {"label": names.get(value, str(value)), "class_id": value}
