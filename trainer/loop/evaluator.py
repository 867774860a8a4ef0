"""The evaluator: measures the live model on the test images and keeps each evaluation.

It measures again only when something is new: the model, the test sample, or a class name.
"""

from __future__ import annotations

from shared.settings.services import TrainerSettings
from shared.wire.evaluation import Evaluation
from trainer.embeddings.space import ImagePool
from trainer.evaluation.learning_curve import Stability
from trainer.loop.live_model import LiveModel
from trainer.loop.rounds import Model, Timings, measure
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot


class Evaluator:
    """Evaluates one log at a time. Used only on the loop's thread."""

    def __init__(self, settings: TrainerSettings, replica: Replica) -> None:
        self._settings = settings
        self._replica = replica
        self.start_over()

    def start_over(self) -> None:
        """Forget everything, because ids mean other images now."""
        self._stability = Stability()
        self._tested: dict[int, int] = {}  # test image → class id at the last evaluation

    def evaluate(
        self, live: LiveModel, snapshot: Snapshot, timings: Timings, *, round_number: int, final: bool = False
    ) -> dict[str, float] | None:
        """Update `live.latest` and return the lower end of each metric's 95 % interval.

        Returns None if nothing is new (unless `final`), or while no test image is labeled.
        """
        model, pool = live.model, live.pool
        if model is None or pool is None:
            return None
        tested = {image: label for image, label in snapshot.labels.items() if image in pool.held.row_of}
        if not final and tested == self._tested and self._stands(live.latest, model, snapshot):
            return None
        self._tested = tested
        with timings.step("evaluate"):
            measured = self._measured(pool, snapshot, model, round_number, final)
        if measured is None:
            return None
        evaluation, lower_bounds = measured
        live.latest = evaluation.model_copy(update={"timings": timings.rounded()})
        self._replica.add_evaluation(live.latest)
        return lower_bounds

    def _stands(self, latest: Evaluation | None, model: Model, snapshot: Snapshot) -> bool:
        """Whether `latest` belongs to this model and to the current class names."""
        if latest is None or latest.model_version != model.version:
            return False
        return all(snapshot.names.get(each.label, each.name) == each.name for each in latest.classes)

    def _measured(
        self, pool: ImagePool, snapshot: Snapshot, model: Model, round_number: int, final: bool
    ) -> tuple[Evaluation, dict[str, float]] | None:
        return measure(
            pool,
            snapshot,
            model,
            round_number=round_number,
            earlier=self._replica.evaluations,
            stability=self._stability,
            goal=self._settings.early_stopping_metrics_thresholds.get("accuracy"),
            seed=self._settings.seed,
            final=final,
        )
