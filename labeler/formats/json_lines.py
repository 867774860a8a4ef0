"""JSON lines: one object an image."""

from __future__ import annotations

import json
from collections.abc import Iterator

from labeler.formats.rows import ExportRow


def write(rows: Iterator[ExportRow]) -> Iterator[bytes]:
    """UTF-8; `label` and `labeled_at` are null where there is none."""
    for row in rows:
        content = {
            "id": row.id,
            "uri": row.uri,
            "sha256": row.sha256,
            "split": row.split,
            "label": row.label,
            "annotators": row.annotators,
            "labeled_at": row.labeled_at.isoformat() if row.labeled_at else None,
            "status": row.status,
        }
        yield json.dumps(content, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
