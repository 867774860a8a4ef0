"""The evaluator: measures the live model on the test images and keeps each evaluation.

It measures again only when something is new: the model, the test sample, or a class name.
"""

from __future__ import annotations

from shared.settings.services import TrainerSettings
from shared.wire.evaluation import Evaluation
from trainer.embeddings.space import ImagePool
from trainer.evaluation.learning_curve import Stability
from trainer.loop.live_model import LiveModel
from trainer.loop.rounds import Model, Timings, measure, tested_images
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot
from trainer.tasks.task import Pictures, Value


class Evaluator:
    """Evaluates one log at a time. Used only on the loop's thread."""

    def __init__(self, settings: TrainerSettings, replica: Replica, pictures: Pictures | None = None) -> None:
        self._settings = settings
        self._replica = replica
        self._pictures = pictures
        self.start_over()

    def start_over(self) -> None:
        """Forget everything, because ids now belong to other images."""
        self._stability = Stability()
        self._tested: dict[int, Value] = {}  # test image → label at the last evaluation
        self._iou_threshold = self._settings.iou_threshold

    def evaluate(
        self, live: LiveModel, snapshot: Snapshot, timings: Timings, *, round_number: int, final: bool = False
    ) -> dict[str, float] | None:
        """Update `live.latest` and return the lower end of each metric's 95 % interval.

        Returns None if nothing is new (unless `final`), or while no test image is labeled.
        """
        model, pool = live.model, live.pool
        if model is None or pool is None:
            return None
        tested = _labeled(pool, snapshot)
        if not final and not self._is_news(tested, live.latest, model, snapshot):
            return None
        self._tested, self._iou_threshold = tested, self._settings.iou_threshold
        with timings.step("evaluate"):
            measured = self._measured(pool, snapshot, model, round_number, final)
        if measured is None:
            return None
        evaluation, lower_bounds = measured
        live.latest = evaluation.model_copy(update={"timings": timings.rounded()})
        self._replica.add_evaluation(live.latest)
        return lower_bounds

    @property
    def iou_threshold(self) -> float:
        """The setting, as it is now."""
        return self._settings.iou_threshold

    def news(self, live: LiveModel, snapshot: Snapshot) -> list[int] | None:
        """The test images to measure on; None if the result would not change."""
        model, pool = live.model, live.pool
        if model is None or pool is None or not self._is_news(_labeled(pool, snapshot), live.latest, model, snapshot):
            return None
        return tested_images(pool, snapshot) or None

    def _is_news(self, tested: dict[int, Value], latest: Evaluation | None, model: Model, snapshot: Snapshot) -> bool:
        if model.task.learns_from_images and self._iou_threshold != self._settings.iou_threshold:
            return True
        return tested != self._tested or not self._stands(latest, model, snapshot)

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
            goal=self._settings.early_stopping_metrics_thresholds.get(model.task.goal),
            seed=self._settings.seed,
            final=final,
            pictures=self._pictures,
            iou_threshold=self._settings.iou_threshold,
        )


def _labeled(pool: ImagePool, snapshot: Snapshot) -> dict[int, Value]:
    return {image: label for image, label in snapshot.labels.items() if image in pool.held.row_of}
