"""The trainer's interface to a task: how labels become targets, and how a model is queried and measured.

The loop treats labels as values that only their task reads. A task turns them into targets, fits its learner on them,
gives the query strategies the probability of each outcome of an image, and measures the model. All other code calls
these methods and never looks inside a value or a model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.wire.evaluation import RandomEstimate
from shared.wire.models import ModelClass
from shared.wire.queries import SuggestedBox, Suggestion
from trainer.columns.half_rows import AnyRows
from trainer.columns.spread_rows import over
from trainer.evaluation.box_matching import Placed
from trainer.evaluation.measured import Measured
from trainer.evaluation.prediction_powered import Unlabeled
from trainer.learners.learner import Learner, Matrix
from trainer.strategies.ranking import Pool

Value = Any
"""The label of one image. Only its task knows the type."""
Targets = NDArray[Any]
"""Values as a learner reads them, one entry per label: (n, …)."""
Names = Mapping[int, str]
"""The names of the project's classes by id."""
Ids = NDArray[np.int64]

Inputs = Any
"""The input on which a model is measured: rows of the embedding space (n, D), or the images themselves."""


class Pictures(Protocol):
    """The images themselves, by id, for a task that learns from them."""

    def found(self, model: Any, image_ids: Sequence[int], /) -> list[Placed | None]:
        """The boxes that the model finds in each image; None for one that cannot be read."""


@dataclass(frozen=True)
class Seen:
    """Images (n,), as the input of a task that learns from the images themselves."""

    ids: Ids
    pictures: Pictures
    iou_threshold: float = 0.5

    def found(self, model: Any) -> list[Placed | None]:
        """The boxes that the model finds in each image; None for one that cannot be read."""
        return self.pictures.found(model, self.ids.tolist())


SUGGESTIONS = 5
"""Suggestions sent with each query, the most likely first."""


class Task(ABC):
    """One kind of label. A task is stateless.

    A model of the task has K outcomes, numbered by integers ≥ 0. An image has a probability for each of them (K,).
    """

    name: ClassVar[str]
    learner: ClassVar[Learner[Any]]
    network: ClassVar[str | None] = None
    """The learner of `trainer.versions.saved_learners` that trains a whole network for this task, as a job."""
    has_challenger: ClassVar[bool] = False
    """Whether the challenger works for this task."""
    has_named_outcomes: ClassVar[bool] = False
    """Whether the outcomes are the project's classes, which words describe."""
    finds_label_issues: ClassVar[bool] = False
    """Whether doubtful labels can be found."""
    tests_actively: ClassVar[bool] = False
    """Whether `sharpened` weighs the answers of an active test. If not, test images are asked at random."""
    learns_from_images: ClassVar[bool] = False
    """Whether a model is fitted on the images themselves, in rounds of seconds, and not on their embeddings."""
    several: ClassVar[bool] = False
    """Whether an image can have several outcomes at once, each with its own probability."""
    measures: ClassVar[frozenset[str] | None] = None
    """The metrics that a threshold can name; None if unknown."""
    goal: ClassVar[str] = "accuracy"
    """The metric whose threshold is the goal of the forecast."""
    no_network: ClassVar[str | None] = None
    """Why no network is trained, as a sentence for a person."""
    to_train: ClassVar[str] = "labels of at least two classes on train images"
    """What training a whole network needs, as the end of a sentence."""
    no_model: ClassVar[str] = "There is no model yet: label more images first."
    """A sentence about which labels are still needed for a model."""

    @abstractmethod
    def targets(self, values: Sequence[Value]) -> Targets:
        """The targets (n, …) of n labels."""

    @abstractmethod
    def enough(self, targets: Targets) -> bool:
        """Whether a model can be fitted."""

    @abstractmethod
    def outcomes(self, model: Any) -> Ids:
        """The outcomes (K,) that a model knows, in the order of its probabilities."""

    def inputs(self, rows: Matrix, ids: Ids, pictures: Pictures | None, *, iou_threshold: float) -> Inputs:
        """The input on which a model is measured, for images with these embeddings (n, D) and ids (n,). Default:
        embeddings.

        In a task with boxes, two boxes are the same object if their IoU reaches `iou_threshold`.
        """
        return rows

    @abstractmethod
    def measure(self, model: Any, rows: Inputs, truth: Targets, names: Names) -> Measured:
        """Compare a model's predictions for n > 0 inputs with the targets `truth` (n, …)."""

    def boxes(self, model: Any, found: Placed, names: Names) -> list[SuggestedBox]:
        """The boxes to suggest among those `found` in an image. Default: none."""
        return []

    def sharpened(self, measured: Measured, model: Any, rows: Matrix, truth: Targets, others: Unlabeled) -> Measured:
        """`measured`, made more precise by the model's confidence on `others`, see `evaluation.prediction_powered`.

        By default unchanged.
        """
        return measured

    def of_labeled_alone(self, measured: Measured) -> Measured:
        """`measured` if hard test images were asked more often and nothing corrects for it.

        By default without lower bounds, because a biased bound must not stop training.
        """
        return replace(measured, lower_bounds={})

    def fit(
        self,
        labeled: Matrix,
        targets: Targets,
        *,
        pool: AnyRows,
        kept: dict[str, Any] | None = None,
        without: Ids | None = None,
        previous: Any = None,
        seed: int = 0,
    ) -> Any:
        """A model of the `targets` (n, …) of the rows `labeled` (n, D).

        `pool` (N, D) are the train images, of which the rows `without` (n,) are among the labeled ones. `kept` is a
        cache that lives as long as the pool; None while the pool is incomplete. `previous` only saves time. By default
        the learner is fitted on the labeled rows alone.
        """
        return self.learner.fit(labeled, targets, previous=previous, seed=seed)

    def prepare(  # noqa: B027
        self, targets: Targets | None, *, pool: AnyRows, kept: dict[str, Any], seed: int = 0
    ) -> None:
        """Precompute in `kept` what the next fits in this pool need, for these `targets` (n, …) and a few more.
        `targets` is None while there are none. By default does nothing.
        """

    def probabilities(self, model: Any, rows: Matrix) -> Matrix:
        """Probabilities (n, K) of the outcomes for rows (n, D). By default the learner's outputs."""
        return self.learner.predict(model, rows)

    def score(
        self, pool: Pool, model: Any, length: int, *, targets: Targets | None = None, names: Names | None = None
    ) -> tuple[Pool, NDArray[np.bool_]]:
        """`pool` with probabilities for a list of `length` queries, and a mask (N,) of the rows that the model itself
        scored.

        The others are estimates, which a task may use if scoring all rows would take too long. `targets` are those of
        all labels so far, `names` the classes of the project.
        """
        probabilities = over(pool.embeddings, partial(self.probabilities, model))
        scored = np.ones(len(pool.labels), dtype=np.bool_)
        return replace(pool, probabilities=probabilities, classes=self.outcomes(model)), scored

    def as_numbers(self, targets: Targets) -> NDArray[np.float64] | None:
        """The targets as numbers (n, C), such as one-hot classes, from which the shares of the feature blocks are
        learned. None: the shares keep their starting values.
        """
        return None

    def observed(self, targets: Targets) -> Ids:
        """The outcome (n,) that the query strategies use for each target."""
        return np.asarray(targets, np.int64)

    def answers(self, model: Any, rows: Matrix) -> Ids:
        """The most likely outcome (n,) of rows (n, D)."""
        best = self.probabilities(model, rows).argmax(axis=1)
        return np.asarray(self.outcomes(model)[best], np.int64)

    def chosen(self, model: Any, probabilities: Matrix) -> NDArray[np.bool_] | None:
        """Which outcomes (n, K) are predicted at these probabilities (n, K). None: the most likely one, and only it."""
        return None

    def outcome_name(self, outcome: int, names: Names) -> str:
        """The name of an outcome, as shown to people."""
        return str(outcome)

    def is_offered(self, outcome: int, names: Names) -> bool:
        """Whether an outcome may be suggested."""
        return True

    def suggestions(self, outcomes: Ids, probabilities: Matrix, names: Names, *, model: Any = None) -> list[Suggestion]:
        """The most likely of the `outcomes` (K,) of an image with `probabilities` (K,) by the `model`."""
        likeliest = np.argsort(-probabilities, kind="stable")[:SUGGESTIONS]
        confidences = np.clip(probabilities[likeliest], 0, 1).tolist()
        return [
            Suggestion(label=outcome, confidence=confidence)
            for outcome, confidence in zip(outcomes[likeliest].tolist(), confidences, strict=True)
            if self.is_offered(outcome, names)
        ]

    def random_baseline(
        self,
        rows: Matrix,
        truth: Targets,
        chosen: tuple[Matrix, Targets],
        earlier: list[RandomEstimate],
        *,
        learn: Callable[[Matrix, Targets], Any],
        seed: int,
    ) -> list[RandomEstimate]:
        """What random labels would have achieved, estimated inside the test sample `rows` (n, D), `truth` (n, …).

        `chosen` are the first labels given here, `earlier` is the last estimate. Empty for a task that has none.
        """
        return []

    def unlearned(self, model: Any, names: Names) -> list[str]:
        """The names of classes that the model (None: there is none) does not know yet. Default: none."""
        return []

    def saved_outcomes(self, model: Any, names: Names) -> list[ModelClass]:
        """The outcomes of a saved version, in the order of its outputs."""
        return [ModelClass(id=int(k), name=self.outcome_name(int(k), names)) for k in self.outcomes(model)]

    def cells(self, value: Value, names: Names) -> dict[str, Any]:
        """A label as the columns `label` and `class_id` of a version's dataset.csv."""
        return {"label": str(value), "class_id": ""}

    def counts(self, values: Sequence[Value], names: Names) -> dict[str, int]:
        """How many labels there are of each kind, by name."""
        return dict(Counter(str(self.cells(value, names)["label"]) for value in values))
