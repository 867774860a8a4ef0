"""Multi-label classification: an image has any number of classes, or none. A label says yes or no to some of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from shared.tasks.multilabel import cell_of
from shared.wire.queries import Suggestion
from trainer.evaluation import multilabel_metrics
from trainer.evaluation.measured import Measured
from trainer.evaluation.multilabel_metrics import Answered
from trainer.evaluation.random_baseline import several_baseline, several_beside_chosen
from trainer.learners.learner import Matrix
from trainer.learners.sigmoid_head import NO, UNKNOWN, YES, SigmoidHead, Sigmoids, fit_sigmoids, learnable
from trainer.strategies.ranking import Pool, Rarity
from trainer.tasks import pool_scores
from trainer.tasks.network_task import Contest, NetworkTask, Said
from trainer.tasks.task import SUGGESTIONS, Ids, Names, Targets, Value

SEPARATOR = ";"
"""Separates the classes of an image in a table cell."""


class Multilabel(NetworkTask):
    """A target (C,) is 1 for each class id that the image has, 0 for those that it lacks, and −1 if unknown."""

    name: ClassVar[str] = "multilabel"
    several: ClassVar[bool] = True
    finds_label_issues = True
    random_estimate = staticmethod(several_baseline)
    beside_random = staticmethod(several_beside_chosen)
    learner = SigmoidHead()
    measures: ClassVar[frozenset[str]] = frozenset(
        {"accuracy", "macro_f1", "micro_f1", "mean_average_precision", "exact_match"}
    )
    goal: ClassVar[str] = "macro_f1"
    network: ClassVar[str] = "sigmoid_fine_tuner"
    to_train = "a class that some train images have and others lack"
    no_model = (
        "There is no model yet: label images until some have a class and others lack it, or are answered with "
        "'none of these'."
    )

    def targets(self, values: Sequence[Value]) -> Targets:
        """(n, C) int8, C being the largest class id + 1."""
        width = 1 + max((max(each.known, default=-1) for each in values), default=-1)
        found = np.full((len(values), width), UNKNOWN, np.int8)
        for row, value in zip(found, values, strict=True):
            row[list(value.no)] = NO
            row[list(value.yes)] = YES
        return found

    def enough(self, targets: Targets) -> bool:
        """A model needs a class that some images have and others lack."""
        return len(learnable(targets)) > 0

    def as_numbers(self, targets: Targets) -> NDArray[np.float64]:
        """1 or 0 for each learnable class, and the class's mean if unknown."""
        said = targets[:, learnable(targets)].astype(np.float64)
        known = said != UNKNOWN
        means = (said * known).sum(axis=0) / known.sum(axis=0)
        return np.where(known, said, means)

    def observed(self, targets: Targets) -> Ids:
        """0 for every label, because an image has no single class."""
        return np.zeros(len(targets), np.int64)

    def fit_teacher(self, rows: Matrix, targets: Targets, seed: int) -> Sigmoids:
        """As `fit_sigmoids`."""
        return fit_sigmoids(rows, targets, seed=seed)

    def score(
        self, pool: Pool, model: Sigmoids, length: int, *, targets: Targets | None = None, names: Names | None = None
    ) -> tuple[Pool, NDArray[np.bool_]]:
        """As `pool_scores.score`, with the rarity of each class."""
        return pool_scores.score(replace(pool, rarity=_rarity(model, targets, names)), model, length)

    def answers(self, model: Sigmoids, rows: Matrix) -> Ids:
        """A number for each set of predicted classes."""
        chosen = model.decide(model.predict_proba(rows))
        packed = [model.classes[each].tobytes() for each in chosen]
        return np.array([int.from_bytes(blake2b(each, digest_size=7).digest()) for each in packed], np.int64)

    def chosen(self, model: Sigmoids, probabilities: Matrix) -> NDArray[np.bool_]:
        """The classes at or above their thresholds."""
        return model.decide(probabilities)

    def suggestions(
        self, outcomes: Ids, probabilities: Matrix, names: Names, *, model: Sigmoids | None = None
    ) -> list[Suggestion]:
        """The most likely classes, each with its own probability, and whether the model says yes to it."""
        limits = {} if model is None else dict(zip(model.classes.tolist(), model.thresholds.tolist(), strict=True))
        likeliest = [k for k in np.argsort(-probabilities, kind="stable") if self.is_offered(int(outcomes[k]), names)]
        return [
            Suggestion(
                label=int(outcomes[k]),
                confidence=float(np.clip(probabilities[k], 0, 1)),
                chosen=bool(probabilities[k] >= limits.get(int(outcomes[k]), 0.5)),
            )
            for k in likeliest[:SUGGESTIONS]
        ]

    def learnable(self, targets: Targets) -> Ids:
        """The classes that some images have and others lack."""
        return learnable(targets)

    def outputs(self, targets: Targets, classes: Ids) -> tuple[Targets, NDArray[np.bool_]]:
        """The answers for each of the `classes`."""
        said = np.full((len(targets), len(classes)), UNKNOWN, np.int8)
        there = classes < targets.shape[1]
        said[:, there] = targets[:, classes[there]]
        return said, (said != UNKNOWN).any(axis=1)

    def kinds(self, targets: Targets) -> Ids:
        """The rarest class that an image has; −1 if it has none."""
        counts = (targets == YES).sum(axis=0)
        rarest = np.where(targets == YES, counts, np.inf).argmin(axis=1)
        return np.where((targets == YES).any(axis=1), rarest, -1)

    def says(self, model: Sigmoids, rows: Matrix) -> list[Said]:
        """The classes at or above their thresholds."""
        return [model.classes[each].tolist() for each in model.decide(model.predict_proba(rows))]

    def true(self, targets: Targets) -> list[Said]:
        """The classes that the images have."""
        return [np.flatnonzero(each == YES).tolist() for each in targets]

    def errs(self, targets: Targets, said: Sequence[Said]) -> NDArray[np.bool_]:
        """Mask of the rows where the prediction for a known class differs."""
        return multilabel_metrics.errors(_answered(targets, said))

    def contest(self, targets: Targets, base: Sequence[Said], candidate: Sequence[Said]) -> Contest:
        """Compares the macro F1, with a permutation test."""
        one, other = _answered(targets, base), _answered(targets, candidate)
        gain, p = multilabel_metrics.macro_f1_gain(one, other)
        return Contest(multilabel_metrics.macro_f1(other), multilabel_metrics.macro_f1(one), gain, p)

    def measure(self, model: Sigmoids, rows: Matrix, truth: Targets, names: Names) -> Measured:
        """F1, average precision and exact match with intervals; the figures of each class; pairs of classes."""
        answered = multilabel_metrics.aligned(truth, model.predict_proba(rows), model.thresholds, model.classes, names)
        return multilabel_metrics.evaluate(answered, names)

    def unlearned(self, model: Sigmoids | None, names: Names) -> list[str]:
        """The names of classes whose labels lack a yes or a no."""
        known = set() if model is None else set(model.classes.tolist())
        return [name for class_id, name in names.items() if class_id not in known]

    def counts(self, values: Sequence[Value], names: Names) -> dict[str, int]:
        """Images that have each class, in the order of class ids."""
        having = Counter(each for value in values for each in value.yes)
        return {names.get(class_id, str(class_id)): count for class_id, count in sorted(having.items())}

    def cells(self, value: Value, names: Names) -> dict[str, Any]:
        """The classes that the image has, by name and id. The ids of those that it lacks have a minus, such as
        `-3`, which tells them from unknown ones.
        """
        yes, no = sorted(value.yes), sorted(value.no)
        return {
            "label": cell_of(names.get(each, str(each)) for each in yes),
            "class_id": SEPARATOR.join([*map(str, yes), *(f"-{each}" for each in no)]),
        }


def _answered(targets: Targets, said: Sequence[Said]) -> Answered:
    """A perfect model's predictions, as class ids, for images with these targets (n, C)."""
    chosen = np.zeros(targets.shape, np.bool_)
    for row, classes in zip(chosen, said, strict=True):
        row[[each for each in classes if each < len(row)]] = True
    return Answered.decided(targets, chosen)


def _rarity(model: Sigmoids, targets: Targets | None, names: Names | None) -> Rarity:
    """The weight of each class of the model, from the labels so far."""
    images = np.zeros(len(model.classes), np.int64)
    if targets is not None:
        images = (targets[:, model.classes] == YES).sum(axis=0)
    unlearned = 0 if names is None else len(set(names) - set(model.classes.tolist()))
    return Rarity.of(images, unlearned, model.thresholds)
