"""The labels that a script gives: a class name, or several in a multi-label project, or a table of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from commands.connection import FlywheelError
from shared.class_names import key
from shared.tasks.multilabel import MULTILABEL
from shared.wire.imports import ImportIssue, ImportRow

if TYPE_CHECKING:
    import pandas as pd

    from labeler.transfer.rows.imported import Chosen
    from labeler.transfer.rows.left_out import LeftOut

Label = str | Collection[str] | Mapping[str, Collection[str]]


def names_in(label: Label) -> list[str]:
    """The classes that a label names."""
    if isinstance(label, str):
        return [label]
    if isinstance(label, Mapping):
        return [name for side in label.values() for name in side]
    return list(label)


def answer_of(label: Label, project: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an answer in this project; a list says no to the project's other classes."""
    if project["task"] != MULTILABEL.name:
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

    if not has_columns(map(str, table.columns), columns):
        raise FlywheelError(
            "A table of labels needs columns for image and label, such as uri and label; or name them with "
            'columns={"image": …, "label": …}.'
        )
    records: list[Any] = table.to_dict("records")
    return rows_of(enumerate(records, start=1), columns, left)
