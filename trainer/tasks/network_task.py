"""A task whose whole network can be trained, as a job and as the challenger.

It turns labels into the targets of a network, and tests which of two models predicts better. Predictions are JSON, like
labels, because jobs keep them in files.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from shared.wire.evaluation import Interval
from trainer.learners.learner import Matrix
from trainer.tasks.head_task import HeadTask
from trainer.tasks.task import Ids, Targets

Said = Any
"""A model's prediction for an image, as JSON. Only the task knows its type."""


@dataclass(frozen=True)
class Contest:
    """Two models compared on the same images by the task's `goal`, with the p-value of "neither is better"."""

    candidate: Interval
    base: Interval
    gain: Interval
    p: float


class NetworkTask(HeadTask):
    """The outcomes are class ids; a network has an output for each that can be learned."""

    has_challenger: ClassVar[bool] = True

    @abstractmethod
    def learnable(self, targets: Targets) -> Ids:
        """The classes (K,), ascending, that can be learned from these targets (n, …)."""

    @abstractmethod
    def outputs(self, targets: Targets, classes: Ids) -> tuple[Targets, NDArray[np.bool_]]:
        """The targets for a network with the outputs `classes` (K,), and a mask (n,) of those that are known for at
        least one of these classes. The others may have any value."""

    @abstractmethod
    def kinds(self, targets: Targets) -> Ids:
        """A number (n,) for each target. Images with the same number are spread evenly over the folds."""

    @abstractmethod
    def says(self, model: Any, rows: Matrix) -> list[Said]:
        """What a head predicts for rows (n, D)."""

    @abstractmethod
    def true(self, targets: Targets) -> list[Said]:
        """The predictions of a perfect model for images with these targets (n, …)."""

    @abstractmethod
    def errs(self, targets: Targets, said: Sequence[Said]) -> NDArray[np.bool_]:
        """Mask (n,) of the images on which a model is wrong."""

    @abstractmethod
    def contest(self, targets: Targets, base: Sequence[Said], candidate: Sequence[Said]) -> Contest:
        """Compare the predictions of two models for the same n > 0 images."""

    def says_out_of_fold(self, rows: Matrix, targets: Targets, fold: Ids, *, seed: int) -> list[Said]:
        """Predict each of the unit `rows` (n, D) with a head that has not seen its label; None for rows without a fold.

        Raises ValueError if a fold leaves too little to learn.
        """
        said: list[Said] = [None] * len(targets)
        for k in np.unique(fold[fold >= 0]):
            judge = np.flatnonzero(fold == k)
            head = self.learner.fit(rows[fold != k], targets[fold != k], previous=None, seed=seed)
            for row, each in zip(judge.tolist(), self.says(head, rows[judge]), strict=True):
                said[row] = each
        return said
