"""What is exported of an image, and reading it from a workspace in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from labeler.annotation_log import AnnotationLog
from labeler.catalog import Catalog
from labeler.database import Store
from shared.log import Status
from shared.messages import Split

_BATCH = 500


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One image. `annotators` are those whose answer stands; `read` gives the original bytes."""

    id: int
    uri: str
    sha256: str
    split: Split
    label: str | None
    annotators: list[str]
    labeled_at: datetime | None
    status: Status
    read: Callable[[], bytes] = field(repr=False, compare=False)


def export_rows(
    store: Store, log: AnnotationLog, catalog: Catalog, read: Callable[[int], bytes]
) -> Iterator[ExportRow]:
    """Every image that is there, in order of id."""
    after = 0
    while entries := catalog.entries(after, _BATCH):
        after = entries[-1].id
        present = [entry for entry in entries if not entry.removed]
        answers = log.answers_about([entry.id for entry in present])
        for entry in present:
            with store.lock:
                state = log.fold.state(entry.id)
                label = None if state.label is None else log.fold.classes[state.label].name
            rows = answers.get(entry.id, [])
            yield ExportRow(
                id=entry.id,
                uri=entry.uri,
                sha256=entry.sha256,
                split=entry.split,
                label=label,
                annotators=list(dict.fromkeys(row.annotator for row in rows)),
                labeled_at=rows[-1].created_at if rows else None,
                status=state.status,
                read=lambda image_id=entry.id: read(image_id),  # type: ignore[misc]
            )
