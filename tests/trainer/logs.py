"""Rows, batches and catalogues as a labeler sends them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

from shared.wire.fields import Split
from shared.wire.images import ImageEntry
from shared.wire.log import AnnotationBatch, Row

LOG = UUID("00000000-0000-4000-8000-000000000001")
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def class_rows(*names: str) -> list[Row]:
    """The first rows of a project: class ids 1, 2, …"""
    return [
        Row(seq=number, id=uuid4(), action="class_added", label=number, name=name, created_at=WHEN)
        for number, name in enumerate(names, start=1)
    ]


def label_rows(labels: Sequence[tuple[int, int]], *, after: int) -> list[Row]:
    """(image id, class id) pairs as rows after `after`."""
    return [
        Row(seq=seq, id=uuid4(), action="label", image_id=image, label=label, annotator="ann", created_at=WHEN)
        for seq, (image, label) in enumerate(labels, start=after + 1)
    ]


def batch(rows: Sequence[Row], *, log_id: UUID = LOG, last_seq: int | None = None, catalog: int = 0) -> AnnotationBatch:
    """`rows`, consecutive, as one message."""
    return AnnotationBatch(
        log_id=log_id,
        after_seq=rows[0].seq - 1,
        last_seq=rows[-1].seq if last_seq is None else last_seq,
        annotations=list(rows),
        catalog_version=catalog,
    )


def entry(
    image_id: int, *, split: Split = "train", uri: str = "", sha256: str = "", removed: bool = False
) -> ImageEntry:
    """A catalogue entry; its hash follows from its id."""
    return ImageEntry(
        id=image_id, uri=uri or f"{image_id}.png", sha256=sha256 or f"{image_id:064x}", split=split, removed=removed
    )
