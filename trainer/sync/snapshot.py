"""What the log means at one position, as plain values that no later row changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from shared.log import Fold
from shared.wire.fields import Split
from trainer.sync.replica import Replica


@dataclass(frozen=True)
class Snapshot:
    """The log's meaning at one `acked_seq`, taken in one go."""

    log_id: UUID
    acked_seq: int
    labels: Mapping[int, int]  # image id → class id, in the order in which they were given
    answered: frozenset[int]  # images labeled, skipped, flagged or removed: not to be asked
    names: Mapping[int, str]  # live classes
    settled: frozenset[int] = frozenset()  # images whose label somebody has decided on
    here: tuple[int, ...] = ()  # labeled images that somebody answered here, not only in an import, the earliest first
    begun: frozenset[int] = frozenset()  # images of which some answer stands, or that were removed
    splits: Mapping[int, Split] = field(
        default_factory=dict
    )  # of images that were moved, of which the pool may not know
    before: Mapping[int, int] = field(
        default_factory=dict
    )  # image that was settled → class id that it had by the votes

    @classmethod
    def of(cls, replica: Replica) -> Snapshot | None:
        """None while no log is followed yet."""
        with replica.lock:
            fold = replica.fold
            if replica.log_id is None:
                return None
            answered = {image_id for image_id, state in fold.images.items() if state.status != "unlabeled"}
            answered |= fold.removed | replica.removed
            settled = frozenset(image_id for image_id, state in fold.images.items() if state.settled)
            begun = {image_id for image_id, state in fold.images.items() if state.answered or state.settled}
            return cls(
                replica.log_id,
                replica.acked_seq,
                dict(fold.labels),
                frozenset(answered),
                {known.id: known.name for known in fold.live_classes()},
                settled,
                tuple(image_id for image_id in fold.answered_here if image_id in fold.labels),
                frozenset(begun | fold.removed | replica.removed),
                dict(fold.splits),
                {image_id: label for image_id in settled if (label := _voted(fold, image_id)) is not None},
            )


def _voted(fold: Fold, image_id: int) -> int | None:
    """The class that the answers alone would make its label."""
    votes = Counter(fold.votes(image_id).values()).most_common(2)
    return votes[0][0] if votes and (len(votes) == 1 or votes[0][1] > votes[1][1]) else None
