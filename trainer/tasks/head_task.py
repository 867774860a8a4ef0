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
from trainer.embeddings.pupils import Pupils
from trainer.evaluation.random_baseline import still_holds
from trainer.learners.learner import Matrix
from trainer.learners.teacher import DOUBT, SHARE, mixed, part_of_all_teachers, part_of_teacher, taught
from trainer.strategies.ranking import Pool
from trainer.tasks import pool_scores
from trainer.tasks.task import Ids, Names, Targets, Task

NEIGHBOURHOOD, PUPILS = "neighbourhood", "pupils"


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
        """Fit a head like the learner's on the rows of a teacher, which may have another width than the learner's."""

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
        pupils: Pupils | None = (kept or {}).get(PUPILS)
        part = self._part_of_teacher(targets)
        if pupils is None or not part:
            return self.learner.fit(labeled, targets, previous=previous, seed=seed)
        near = pupils.beside(labeled)
        if evidence_for(near, SHARE, labeled, self.as_numbers(targets)) < -DOUBT:
            return self.learner.fit(labeled, targets, previous=previous, seed=seed)
        rows, coordinates, gram = pupils.of(len(labeled), len(pool), without=without)
        head = taught(
            labeled,
            rows,
            np.concatenate([near, coordinates]),
            lambda seen: self.fit_teacher(seen, targets, seed),
            part=part,
            among_pupils=gram,
        )
        fading = part_of_all_teachers(len(targets))
        return head if fading == 1.0 else mixed(head, self.learner.fit(labeled, targets, seed=seed), fading)

    def prepare(self, targets: Targets | None, *, pool: AnyRows, kept: dict[str, Any], seed: int = 0) -> None:
        """Computes the neighbour graph, which takes half a second, and its pupils anew when the shares have changed."""
        if len(pool) < LEAST or not (targets is None or self._part_of_teacher(targets)):
            return
        if NEIGHBOURHOOD not in kept:
            kept[NEIGHBOURHOOD] = Neighbourhood.of(pool, seed=seed)
        around: Neighbourhood = kept[NEIGHBOURHOOD]
        if PUPILS not in kept or not kept[PUPILS].belong_to(around, pool):
            kept[PUPILS] = Pupils(around, pool)

    def _part_of_teacher(self, targets: Targets) -> float:
        return part_of_teacher(len(targets), len(np.unique(self.observed(targets))))

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
