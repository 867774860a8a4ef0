"""A task whose whole network can be trained, as a job and as the challenger.

It says what labels mean to a network, and which of two models answers better. What a model says of an image is JSON,
like what people say: jobs keep it in files.
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
    """Two models on the same images, by the task's `goal`; p of the hypothesis that neither is better."""

    candidate: Interval
    base: Interval
    gain: Interval
    p: float


class NetworkTask(HeadTask):
    """The outcomes are class ids; a network has an output for each that can be learned."""

    has_challenger: ClassVar[bool] = True

    @abstractmethod
    def learnable(self, targets: Targets) -> Ids:
        """The classes (K,), ascending, that can be learned of these targets (n, …)."""

    @abstractmethod
    def outputs(self, targets: Targets, classes: Ids) -> tuple[Targets, NDArray[np.bool_]]:
        """The targets as a network reads them that has the outputs `classes` (K,), and a mask (n,) of those that say
        something about one of them. The others may have any value."""

    @abstractmethod
    def kinds(self, targets: Targets) -> Ids:
        """A number (n,) for each target, by which folds are formed: images with the same one are spread evenly."""

    @abstractmethod
    def says(self, model: Any, rows: Matrix) -> list[Said]:
        """What a head predicts for rows (n, D)."""

    @abstractmethod
    def true(self, targets: Targets) -> list[Said]:
        """The predictions of a perfect model for images with these targets (n, …)."""

    @abstractmethod
    def errs(self, targets: Targets, said: Sequence[Said]) -> NDArray[np.bool_]:
        """On which images (n,) a model is wrong."""

    @abstractmethod
    def contest(self, targets: Targets, base: Sequence[Said], candidate: Sequence[Said]) -> Contest:
        """Compare what two models say of the same n > 0 images."""

    def says_out_of_fold(self, rows: Matrix, targets: Targets, fold: Ids, *, seed: int) -> list[Said]:
        """What heads that have not seen its label say of each of the unit `rows` (n, D); None for rows without a fold.

        Raises ValueError if a fold leaves too little to learn.
        """
        said: list[Said] = [None] * len(targets)
        for k in np.unique(fold[fold >= 0]):
            judge = np.flatnonzero(fold == k)
            head = self.learner.fit(rows[fold != k], targets[fold != k], previous=None, seed=seed)
            for row, each in zip(judge.tolist(), self.says(head, rows[judge]), strict=True):
                said[row] = each
        return said
