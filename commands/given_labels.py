"""The labels that a script gives: a class name, several in a multi-label project, boxes, or a table of them."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.connection import FlywheelError
from shared.class_names import key
from shared.tasks.registry import task_named
from shared.wire.imports import ImportIssue, ImportRow

if TYPE_CHECKING:
    import pandas as pd

    from labeler.transfer.rows.imported import Chosen
    from labeler.transfer.rows.left_out import LeftOut

Label = str | Collection[str] | Mapping[str, Collection[str]] | Sequence[Mapping[str, Any]]


def names_in(label: Label) -> list[str]:
    """The classes in a label."""
    if isinstance(label, str):
        return [label]
    if isinstance(label, Mapping):
        return [name for side in label.values() for name in side]
    return [str(each.get("label", "")) if isinstance(each, Mapping) else each for each in label]


def answer_of(label: Label, project: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an answer in this project. A list of classes says no to all others; a list of boxes is complete."""
    if task_named(project["task"]).by_box:
        if isinstance(label, str | Mapping) or not all(isinstance(each, Mapping) for each in label):
            raise FlywheelError(
                'An answer here is a list of boxes such as {"label": "dog", "x": 1, "y": 2, "w": 30, "h": 40}, not '
                f"{str(label)[:100]!r}."
            )
        return {"answer": {"boxes": [dict(each) for each in label if isinstance(each, Mapping)]}}
    if not task_named(project["task"]).by_class:
        return {"label": label}
    if isinstance(label, Mapping):
        return {"answer": {side: [*names] for side, names in label.items()}}
    called = {key(name): each["name"] for each in project["classes"] for name in (*each["aliases"], each["name"])}
    yes = dict.fromkeys(called.get(key(name), name) for name in names_in(label))
    return {"answer": {"yes": [*yes], "no": [each["name"] for each in project["classes"] if each["name"] not in yes]}}


def rows_of_table(
    table: pd.DataFrame, columns: Chosen | None = None, left: LeftOut | None = None
) -> Iterator[ImportRow | ImportIssue]:
    """The rows of a DataFrame. Raises FlywheelError if its columns do not name images and labels."""
    from labeler.transfer.rows.imported import has_columns, rows_of

    _refuse_lacking(table, columns)
    if not has_columns(map(str, table.columns), columns):
        raise FlywheelError(
            "A table of labels needs columns for image and label, such as uri and label; or name them with "
            'columns={"image": …, "label": …}.'
        )
    records: list[Any] = table.to_dict("records")
    return rows_of(enumerate(records, start=1), columns, left)


def _refuse_lacking(table: pd.DataFrame, columns: Chosen | None) -> None:
    from labeler.transfer.rows.imported import lacking

    names = [*map(str, table.columns)]
    absent = lacking(names, columns)
    if absent is not None:
        raise FlywheelError(f"The table has no column {absent!r}; it has {', '.join(names)}.")


def boxes_of_table(table: pd.DataFrame, columns: Chosen | None, left: LeftOut) -> Iterator[ImportRow | ImportIssue]:
    """The rows of a DataFrame with a row per box, or with all boxes of an image in a column.

    Raises SettingsError if its columns do not say where the boxes are.
    """
    from labeler.transfer.boxes.csv_table import BoxTable
    from labeler.transfer.boxes.tables import has_boxes, read_records

    if has_boxes([*map(str, table.columns)]):
        _refuse_lacking(table.reset_index(), columns)
        records: list[Any] = table.reset_index().to_dict("records")
        yield from read_records(enumerate(records, start=1), columns, left)
        return
    with tempfile.TemporaryDirectory(prefix="flywheel-") as scratch:
        path = Path(scratch) / "boxes.csv"
        table.to_csv(path, index=False)
        yield from BoxTable(path, columns, left).rows()
