"""Detection: each object in an image has a box and a class. A label is all boxes of an image, or none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from shared.wire.models import ModelClass
from shared.wire.queries import MAX_BOXES, SuggestedBox
from trainer.evaluation import detection_metrics
from trainer.evaluation.box_matching import Placed
from trainer.evaluation.measured import Measured
from trainer.learners.learner import Matrix, Tensors
from trainer.live_detector.live_detector import LEAST_IMAGES, enough, placed
from trainer.strategies.ranking import Pool
from trainer.tasks.task import Ids, Names, Pictures, Seen, Targets, Task, Value


class DetectorLearner:
    """Saves detectors. They are fitted in rounds by `trainer.live_detector`, not on rows of the embedding space."""

    name = "detector"
    how_to_use = (
        "Feature maps of the frozen network at strides 8, 16 and 32 are the input of the head. It returns the score of "
        "each class and a box at every point."
    )

    def fit(self, rows: Matrix, targets: NDArray[Any], *, previous: Any = None, seed: int = 0) -> Any:
        """Not possible: a detector is not fitted on rows."""
        raise ValueError("A detector learns from images, not from their embeddings.")

    def predict(self, model: Any, rows: Matrix) -> Matrix:
        """Zeros: rows are not enough to find boxes."""
        return np.zeros((len(rows), len(model.classes)), np.float32)

    def save(self, model: Any) -> Tensors:
        """See `trainer.detection.detector`."""
        return dict(model.to_tensors())

    def load(self, tensors: Mapping[str, NDArray[np.generic]]) -> Any:
        """Not possible without the frozen network, see `trainer.detection.detector.Detector.of_tensors`."""
        raise ValueError("A detector is loaded together with its frozen network.")


class Detection(Task):
    """The targets are the answers (`shared.tasks.detection.Boxes`) themselves. The outcomes are class ids."""

    name: ClassVar[str] = "detection"
    learner = DetectorLearner()
    learns_from_images: ClassVar[bool] = True
    finds_label_issues = True
    measures: ClassVar[frozenset[str]] = frozenset({"map_50", "map_50_95"})
    goal: ClassVar[str] = "map_50"
    no_network = "whole detectors are trained by “Train a new model” or flywheel train, and not while you label"
    network = "whole_detector"
    to_train = f"boxes in at least {LEAST_IMAGES} train images"
    no_model = f"There is no detector yet: draw boxes in at least {LEAST_IMAGES} images first."

    def targets(self, values: Sequence[Value]) -> Targets:
        """The answers (n,)."""
        found = np.empty(len(values), object)
        found[:] = values
        return found

    def enough(self, targets: Targets) -> bool:
        """A detector needs five images and a box."""
        return enough(targets.tolist())

    def observed(self, targets: Targets) -> Ids:
        """0 for every label: boxes are no outcome of an image, and images are chosen by coverage alone."""
        return np.zeros(len(targets), np.int64)

    def outcomes(self, model: Any) -> Ids:
        """The classes that the detector knows."""
        return np.asarray(model.classes, np.int64)

    def score(
        self, pool: Pool, model: Any, length: int, *, targets: Targets | None = None, names: Names | None = None
    ) -> tuple[Pool, NDArray[np.bool_]]:
        """Images are chosen by their embeddings alone: no use of a detector's scores did better in our measurements."""
        return pool, np.ones(len(pool.labels), np.bool_)

    def inputs(self, rows: Matrix, ids: Ids, pictures: Pictures | None, *, iou_threshold: float) -> Seen:
        """The images."""
        if pictures is None:
            raise ValueError("Boxes are measured on images, and there are none.")
        return Seen(ids, pictures, iou_threshold)

    def measure(self, model: Any, rows: Seen, truth: Targets, names: Names) -> Measured:
        """Average precision with intervals, and the figures of each class. Images that cannot be read are left out."""
        found = rows.found(model)
        kept = [(placed(boxes), each) for boxes, each in zip(truth, found, strict=True) if each is not None]
        return detection_metrics.evaluate(
            [_still_there(one, names) for one, _ in kept],
            [_still_there(other, names) for _, other in kept],
            names,
            learned=frozenset(int(each) for each in model.classes),
            suggested_from=model.threshold,
            iou_threshold=rows.iou_threshold,
        )

    def boxes(self, model: Any, found: Placed, names: Names) -> list[SuggestedBox]:
        """The boxes at or above the detector's threshold, the most confident first. There is one for each object: of
        two classes in the same place, the person would have to reject one."""
        shown = _still_there(found, names).suggested(model.threshold)
        order = np.argsort(-shown.scores, kind="stable")
        told = [
            SuggestedBox(
                label=int(shown.classes[k]),
                confidence=float(np.clip(shown.scores[k], 0, 1)),
                **dict(zip("xywh", (round(float(each), 2) for each in shown.places[k]), strict=True)),
            )
            for k in order
        ]
        return told[:MAX_BOXES]

    def outcome_name(self, outcome: int, names: Names) -> str:
        """The class name."""
        return names.get(outcome, str(outcome))

    def is_offered(self, outcome: int, names: Names) -> bool:
        """Whether the class still exists."""
        return outcome in names

    def suggestions(self, outcomes: Ids, probabilities: Matrix, names: Names, *, model: Any = None) -> list[Any]:
        """None: boxes are suggested instead."""
        return []

    def unlearned(self, model: Any, names: Names) -> list[str]:
        """The names of classes without a box."""
        known = set() if model is None else set(model.classes.tolist())
        return [name for class_id, name in names.items() if class_id not in known]

    def saved_outcomes(self, model: Any, names: Names) -> list[ModelClass]:
        """The classes, in the order of the outputs."""
        return [ModelClass(id=int(k), name=self.outcome_name(int(k), names)) for k in self.outcomes(model)]

    def counts(self, values: Sequence[Value], names: Names) -> dict[str, int]:
        """Boxes of each class, in the order of class ids."""
        having = Counter(label for value in values for label in value.labels)
        return {names.get(class_id, str(class_id)): count for class_id, count in sorted(having.items())}

    def cells(self, value: Value, names: Names) -> dict[str, Any]:
        """The boxes as `class x y w h`, by name and by id, with `;` between them."""
        return {
            "label": "; ".join(f"{names.get(box.label, str(box.label))} {_place(box)}" for box in value.boxes),
            "class_id": ";".join(f"{box.label} {_place(box)}" for box in value.boxes),
        }


def _place(box: Any) -> str:
    return " ".join(f"{each:g}" for each in box[1:5])


def _still_there(boxes: Placed, names: Names) -> Placed:
    """`boxes` without those of deleted classes."""
    kept = np.isin(boxes.classes, list(names))
    return Placed(boxes.classes[kept], boxes.places[kept], boxes.scores[kept])
