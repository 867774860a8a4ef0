"""Detection: the labels of an image are boxes with classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from shared.tasks.detection import Boxes
from trainer.evaluation.measured import Measured
from trainer.learners.learner import Matrix
from trainer.tasks.task import Ids, Names, Targets, Task


class Detection(Task):
    """Answers are stored; nothing is learned from them yet."""

    name: ClassVar[str] = "detection"
    measures: ClassVar[frozenset[str] | None] = frozenset()
    no_network: ClassVar[str | None] = "In a detection project no network is trained on whole images."

    def targets(self, values: Sequence[Boxes]) -> Targets:
        """The boxes (n,) as they are."""
        found = np.empty(len(values), object)
        found[:] = values
        return found

    def enough(self, targets: Targets) -> bool:
        """Never."""
        return False

    def observed(self, targets: Targets) -> Ids:
        """All the same: boxes are no outcome of an image, and images are asked by coverage alone."""
        return np.zeros(len(targets), np.int64)

    def outcomes(self, model: Any) -> Ids:
        """None."""
        return np.empty(0, np.int64)

    def measure(self, model: Any, rows: Matrix, truth: Targets, names: Names) -> Measured:
        """There is no model."""
        raise NotImplementedError
