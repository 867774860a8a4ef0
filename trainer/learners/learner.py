"""The interface of a learner: it fits a model on rows of the embedding space, predicts, saves and loads.

A learner has no state. The model that it fits is an immutable value that other threads may read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Tensors = dict[str, NDArray[np.generic]]
Model = TypeVar("Model")


class Learner(Protocol[Model]):
    """Fits a `Model` on rows (n, D) of unit length and the targets (n, …) of one task."""

    name: str
    """The name of the learner in `model.json`."""
    how_to_use: str
    """How to compute the outputs from the saved tensors without Flywheel."""

    def fit(self, rows: Matrix, targets: NDArray[Any], *, previous: Model | None = None, seed: int = 0) -> Model:
        """Fit on all targets. `previous` only saves time. Raises ValueError if the targets are too few."""
        ...

    def predict(self, model: Model, rows: Matrix) -> Matrix:
        """The outputs (n, K) for rows (n, D)."""
        ...

    def save(self, model: Model) -> Tensors:
        """All arrays of the model."""
        ...

    def load(self, tensors: Mapping[str, NDArray[np.generic]]) -> Model:
        """The model whose arrays `save` returned."""
        ...
