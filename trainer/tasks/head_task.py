"""The base of tasks whose model is a kernel head: a teacher helps while labels are few, and a large pool has a bounded
cost."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.wire.evaluation import RandomEstimate
from trainer.columns.half_rows import AnyRows
from trainer.embeddings.block_weights import evidence_for
from trainer.embeddings.neighbourhood import LEAST, Neighbourhood
from trainer.evaluation.random_baseline import still_holds
from trainer.learners.learner import Matrix
from trainer.learners.teacher import DOUBT, SHARE, has_teacher, taught
from trainer.strategies.ranking import Pool
from trainer.tasks import pool_scores
from trainer.tasks.task import Ids, Names, Targets, Task

NEIGHBOURHOOD = "neighbourhood"


class HeadTask(Task):
    """The outcomes are class ids."""

    random_estimate: Callable[..., list[RandomEstimate]]
    """What random labels would have achieved, see `trainer.evaluation.random_baseline`."""
    beside_random: Callable[..., list[RandomEstimate]]
    """For comparison, what the labels given here have achieved."""

    @abstractmethod
    def as_numbers(self, targets: Targets) -> NDArray[np.float64]:
        """The targets as numbers (n, C)."""

    @abstractmethod
    def fit_teacher(self, rows: Matrix, targets: Targets, seed: int) -> Any:
        """Fit a head like the learner's on rows with their neighbour coordinates appended."""

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
        """While a complete pool has few labels, a teacher may help, see `trainer.learners.teacher`."""
        if kept is not None:
            self.prepare(targets, pool=pool, kept=kept, seed=seed)
        around: Neighbourhood | None = (kept or {}).get(NEIGHBOURHOOD)
        if around is None or not self._has_teacher(targets):
            return self.learner.fit(labeled, targets, previous=previous, seed=seed)
        pupils = pool[around.pupils(len(labeled), len(pool), without=without)]
        coordinates = around.coordinates(np.concatenate([labeled, pupils]), pool)
        if evidence_for(coordinates[: len(labeled)], SHARE, labeled, self.as_numbers(targets)) < -DOUBT:
            return self.learner.fit(labeled, targets, previous=previous, seed=seed)
        return taught(labeled, pupils, coordinates, lambda rows: self.fit_teacher(rows, targets, seed))

    def prepare(self, targets: Targets | None, *, pool: AnyRows, kept: dict[str, Any], seed: int = 0) -> None:
        """Computes the neighbour graph, which takes half a second."""
        few = targets is None or self._has_teacher(targets)
        if NEIGHBOURHOOD not in kept and few and len(pool) >= LEAST:
            kept[NEIGHBOURHOOD] = Neighbourhood.of(pool, seed=seed)

    def _has_teacher(self, targets: Targets) -> bool:
        return has_teacher(len(targets), len(np.unique(self.observed(targets))))

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
        """The estimate is kept until the test sample has grown by a tenth, so that a round stays quick."""
        kept = still_holds(earlier, len(truth))
        estimates = earlier if kept else self.random_estimate(rows, truth, seed=seed, learn=learn)
        return self.beside_random(estimates, chosen, rows, truth, learn=learn)

    def outcomes(self, model: Any) -> Ids:
        """The classes that the head was fitted on."""
        return np.asarray(model.classes, np.int64)

    def score(
        self, pool: Pool, model: Any, length: int, *, targets: Targets | None = None, names: Names | None = None
    ) -> tuple[Pool, NDArray[np.bool_]]:
        """A large pool is scored in part, see `trainer.tasks.pool_scores`."""
        return pool_scores.score(pool, model, length)

    def outcome_name(self, outcome: int, names: Names) -> str:
        """The class name."""
        return names.get(outcome, str(outcome))

    def is_offered(self, outcome: int, names: Names) -> bool:
        """Whether the class still exists."""
        return outcome in names
