"""Bringing labels along, a thousand rows at a time: what the command line and the page of data share.

Rows are forgotten once they are answered, so memory does not grow with the file. What was brought before is passed
over by the labeler, so that starting again is how an import is resumed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shared.messages import MAX_ROWS, CellIssue, Conflicts, ImportIssue, ImportPost, ImportReceipt, ImportRow
from shared.names import Spellings

BATCH = 1_000
COUNTED = ("labels", "known", "images", "held_out", "conflict", "kept", "overwritten", "reopened", "rejected", "cell")
SHOWN = 20  # issues of each kind that are kept to be shown


@dataclass
class Outcome:
    """What became of all rows. `issues` holds the first of each kind: `conflict`, `rejected`, or `cell` left out.

    `counted_as` are names that stood for another: other spellings and old names, each with its class.
    """

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    new_classes: Counter[str] = field(default_factory=Counter)
    counted_as: dict[str, str] = field(default_factory=dict)
    spellings: Spellings = field(default_factory=Spellings)
    issues: dict[str, list[ImportIssue]] = field(default_factory=lambda: {"conflict": [], "rejected": [], "cell": []})

    def add(self, receipt: ImportReceipt) -> None:
        """Count what one answer says."""
        for name in ("labels", "known", "images", "held_out", "kept", "overwritten", "reopened"):
            self.counts[name] += getattr(receipt, name)
        for name, rows in receipt.new_classes.items():  # in a dry run a later part does not know of an earlier one
            self.new_classes[self.spellings.of(name)] += rows
        self.counted_as |= receipt.counted_as | self.spellings.taken
        for kind, issues in (("conflict", receipt.conflicts), ("rejected", receipt.rejected), ("cell", receipt.cells)):
            self.counts[kind] += len(issues)
            self.issues[kind] += issues[: SHOWN - len(self.issues[kind])]


def take_rows(
    rows: Iterable[ImportRow | ImportIssue],
    folder: Path,
    take: Callable[[ImportPost], ImportReceipt],
    *,
    dry_run: bool = False,
    add_classes: bool = False,
    conflicts: Conflicts = "keep",
    began: int | None = None,
    on_receipt: Callable[[ImportReceipt], None] = lambda _: None,
    on_progress: Callable[[Outcome], None] = lambda _: None,
) -> Outcome:
    """Give `take` all `rows`, whose names are relative to `folder` or to the labeler's image folder.

    `began` is the log's end before the first of them: rows that contradict each other are known by it.
    """
    outcome = Outcome()
    for batch in _batches(rows):
        cells = [each for each in batch if isinstance(each, CellIssue)]
        unreadable = [each for each in batch if isinstance(each, ImportIssue) and not isinstance(each, CellIssue)]
        readable = [_placed(each, folder) for each in batch if isinstance(each, ImportRow)]
        post = ImportPost(rows=readable, dry_run=dry_run, add_classes=add_classes, conflicts=conflicts, began=began)
        receipt = take(post)
        receipt.rejected[:0] = unreadable
        receipt.cells += cells
        outcome.rows += len(batch) - len(cells)
        outcome.add(receipt)
        on_receipt(receipt)
        on_progress(outcome)
    return outcome


def _batches(rows: Iterable[ImportRow | ImportIssue]) -> Iterator[list[ImportRow | ImportIssue]]:
    """Rows in order, such that those about one image which follow each other stay together, up to MAX_ROWS."""
    batch: list[ImportRow | ImportIssue] = []
    for row in rows:
        full = len(batch) >= BATCH and batch[-1].uri != row.uri
        if full or len(batch) == MAX_ROWS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _placed(row: ImportRow, folder: Path) -> ImportRow:
    """The row with its file's absolute path where the file lies in `folder`; else as the image folder has it.

    Of a link it is the file that it leads to, as in a folder of links that was exported.
    """
    path = os.path.join(folder, row.uri)  # noqa: PTH118 - a million times
    if not os.path.isfile(path):  # noqa: PTH113
        return row
    return row.model_copy(update={"uri": os.path.realpath(path) if os.path.islink(path) else os.path.abspath(path)})  # noqa: PTH100, PTH114
