"""A label as other tools name its parts: from a mapping of column to value to one row of an import.

Column names are those of our own exports and of what is common elsewhere. What cannot be is an `ImportIssue` with its
line, so that one bad row stops nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal

from pydantic import ValidationError

from labeler.formats.history import answers_of
from shared.messages import ImportIssue, ImportRow, Split

COLUMNS: dict[str, tuple[str, ...]] = {
    "uri": ("uri", "path", "filename", "file_name", "file", "image", "image_path", "url"),
    "label": ("label", "class", "category", "class_name"),
    "split": ("split", "set", "subset"),
    "annotator": ("annotator", "annotators", "annotated_by"),
    "confidence": ("confidence", "score"),
    "status": ("status",),
    "labeled_at": ("labeled_at",),
    "history": ("history",),
}
"""Part of a row → names of its column, the first that is there is taken."""

SPLITS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}

UNLABELED: dict[str, Literal["skip", "flag"]] = {"skipped": "skip", "flagged": "flag"}
"""Status of an image without a label → what was answered; other words are other tools' own."""

Read = ImportRow | ImportIssue


def rows_of(records: Iterable[tuple[int, Mapping[str, Any]] | ImportIssue]) -> Iterator[Read]:
    """(line, columns) → rows; what has no label and was not skipped or flagged is left out. Issues pass on."""
    for given in records:
        if isinstance(given, ImportIssue):
            yield given
            continue
        line, record = given
        row = row_of(line, {part: record[name] for part, name in _columns(tuple(record)).items()})
        if row is not None:
            yield row


def row_of(line: int, parts: Mapping[str, Any]) -> Read | None:
    """One row from the parts that `COLUMNS` names; None without an answer."""
    given = {name: _text(value) for name, value in parts.items() if name != "history"}
    uri = given.get("uri", "")
    if not uri:
        return ImportIssue(line=line, uri="", reason="names no image")
    label = given.get("label", "")
    answers = answers_of(parts.get("history"), label)
    split = given.get("split", "").lower()
    measures = parts.get("history") is not None and SPLITS.get(split, "train") != "train"
    action = "label" if label else UNLABELED.get(given.get("status", "").lower())
    if action is None and not answers and not measures:
        return None
    if split and split not in SPLITS:
        return ImportIssue(
            line=line, uri=uri, reason=f"has the split {split!r}, which is not train, validation or test"
        )
    annotator = given.get("annotator", "").split(";")[0].strip()  # our exports name all, who agree with the label first
    try:
        return ImportRow.model_validate(
            {
                "line": line,
                "uri": uri,
                "action": action or "open",
                "label": label or None,
                "split": SPLITS.get(split),
                "annotator": annotator or None,
                "confidence": given.get("confidence") or None,
                "labeled_at": given.get("labeled_at") or None,
                "answers": answers,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"has a {first['loc'][0]} that cannot be: {first['msg']}"
        return ImportIssue(line=line, uri=uri[:4_096], reason=reason)


def has_columns(names: Iterable[str]) -> bool:
    """Whether rows can be read from columns of these names."""
    return {"uri", "label"} <= set(_columns(tuple(names)))


@lru_cache(maxsize=100)
def _columns(names: tuple[str, ...]) -> dict[str, str]:
    lower = {name.strip().lower(): name for name in names}
    return {part: lower[known] for part, all_known in COLUMNS.items() for known in all_known[::-1] if known in lower}


def _text(value: Any) -> str:
    """A missing value is None or not a number; what pandas made of a list is an array."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or value != value:
        return ""
    if isinstance(value, list):
        return ";".join(map(str, value))
    return str(value).strip()
