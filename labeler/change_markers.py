"""Change markers: a page redraws a section when its marker changes. Markers are pushed with every event.

A marker only tells whether something changed. It ignores values that change without being news, such as timings, so
that a page is not redrawn for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Literal

from shared.wire.evaluation import Evaluation
from shared.wire.images import ScanView
from shared.wire.trainer import TrainerStatus

Section = Literal["labels", "images", "accuracy", "trainer", "challenger", "versions", "jobs", "classes", "guidelines"]
UNSAID = {"acked_seq", "round", "labels", "model_version", "metrics", "timings", "advice", "challenger", "marks"}
"""Parts of the trainer's status that no page shows, or that have their own marker."""


def change_markers(
    last_seq: int,
    catalog_version: int,
    scanning: ScanView,
    latest: Evaluation | None,
    status: TrainerStatus | None,
    classes: Sequence[tuple[str, str | None]] = (),
    guidelines: str = "",
    *,
    idle: bool = False,
) -> dict[Section, str]:
    """Maps each section to its marker. `idle`: nobody labels now, so that the labels per minute are 0."""
    challenger = status.challenger if status is not None else None
    told = status.marks if status is not None else {}
    return {
        "labels": f"{last_seq} idle" if idle else str(last_seq),
        "images": _digest(f"{catalog_version} {scanning.running} {scanning.error}"),
        "accuracy": str(latest.id) if latest is not None else "",
        "trainer": _digest(status.model_dump_json(exclude=UNSAID)) if status is not None else "",
        "challenger": _digest(challenger.model_dump_json()) if challenger is not None else "",
        "versions": told.get("versions", ""),
        "jobs": told.get("jobs", ""),
        "classes": _digest(repr(classes)),
        "guidelines": guidelines,
    }


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()
