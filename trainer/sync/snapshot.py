"""The meaning of the log at one position, as immutable values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from shared.log import Fold
from shared.tasks.multilabel import Multilabel
from shared.tasks.task import Value
from shared.wire.fields import Split
from trainer.sync.replica import Replica


@dataclass(frozen=True)
class Snapshot:
    """The meaning of the log at one `acked_seq`, read under one lock."""

    log_id: UUID
    acked_seq: int
    labels: Mapping[int, Value]  # image id → its label as the task has it, in the order in which the labels were given
    answered: frozenset[int]  # images labeled, skipped, flagged or removed, which are not asked about
    names: Mapping[int, str]  # live classes
    settled: frozenset[int] = frozenset()  # images with an adjudicated label
    settled_classes: Mapping[int, frozenset[int]] = field(default_factory=dict)  # multi-label: which of an image's
    here: tuple[int, ...] = ()  # labeled images that somebody answered here and not only in an import, earliest first
    begun: frozenset[int] = frozenset()  # images with at least one valid answer, and removed ones
    splits: Mapping[int, Split] = field(default_factory=dict)  # splits of moved images, which the pool may not know yet
    before: Mapping[int, Value] = field(default_factory=dict)  # adjudicated image → its label by majority vote
    passed_over: frozenset[int] = frozenset()  # images that somebody answered here, without a label now
    test_at_random: bool = False  # the test images asked so far are a random sample of all test images
    test_order: str = "random"  # active: hard test images come more often, as the trainer suggests
    test_chances: Mapping[int, float] = field(default_factory=dict)  # asked test image → its probability; empty: equal
    task: str = "classification"  # the kind of labels in this log

    @classmethod
    def of(cls, replica: Replica) -> Snapshot | None:
        """The snapshot now; None while no log is followed."""
        with replica.lock:
            fold = replica.fold
            if replica.log_id is None:
                return None
            answered = {image_id for image_id, state in fold.images.items() if state.status != "unlabeled"}
            answered |= (removed := replica.removed())
            settled = frozenset(image_id for image_id, state in fold.images.items() if state.settled)
            begun = {image_id for image_id, state in fold.images.items() if state.begun}
            return cls(
                replica.log_id,
                replica.acked_seq,
                dict(fold.labels),
                frozenset(answered),
                {known.id: known.name for known in fold.live_classes()},
                settled,
                _settled_classes(fold, settled),
                tuple(image_id for image_id in fold.answered_here if image_id in fold.labels),
                frozenset(begun | removed),
                dict(fold.splits),
                {image_id: label for image_id in settled if (label := fold.voted(image_id)) is not None},
                frozenset(fold.answered_here.keys() - fold.labels.keys()),
                replica.test_at_random,
                replica.test_order,
                dict(replica.test_chances),
                fold.task.name,
            )


def _settled_classes(fold: Fold, settled: frozenset[int]) -> dict[int, frozenset[int]]:
    """For each settled image, the classes that were settled. Nobody reconsidered the others."""
    if not isinstance(fold.task, Multilabel):
        return {}
    return {
        image_id: frozenset({*fold.task.decided(label, fold.votes(image_id).values()), *fold.reviewed(image_id)})
        for image_id in settled
        if (label := fold.state(image_id).label) is not None
    }
