"""Imports labels in batches of a thousand rows; shared by the command line and the data page.

Rows are dropped once the labeler has answered, so memory does not grow with the file. The labeler treats all batches as
one import. It skips rows that were imported before, so an import that is started again resumes.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from shared.figures import many
from shared.images.names import spellings
from shared.web.parts import parts, text_length
from shared.wire.imports import (
    CellIssue,
    Conflicts,
    ImportIssue,
    ImportPost,
    ImportReceipt,
    ImportRow,
    NamedAnswer,
    NamedBoxes,
)

BATCH = 1_000
ROW_BYTES = 500  # per row, without its texts
BOX_BYTES = 120  # per box
COUNTED = ("labels", "known", "images", "held_out", "conflict", "kept", "overwritten", "reopened", "rejected", "cell")
SHOWN = 20  # issues of each kind kept for display


@dataclass
class Outcome:
    """The result of all rows. `issues` holds the first issues of each kind: `conflict`, `rejected`, or skipped `cell`.

    `counted_as` maps other spellings and old names to their class. `matched` counts rows whose file has another name,
    by the difference ignored (`shared.images.names`); `matched_as` has the first example of each.
    """

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    new_classes: Counter[str] = field(default_factory=Counter)
    counted_as: dict[str, str] = field(default_factory=dict)
    matched: Counter[str] = field(default_factory=Counter)
    matched_as: dict[str, tuple[str, str]] = field(default_factory=dict)
    issues: dict[str, list[ImportIssue]] = field(default_factory=lambda: {"conflict": [], "rejected": [], "cell": []})

    @property
    def names(self) -> list[str]:
        """How many names differ from their file's name, with an example of each kind."""
        return [
            f"{many(rows, 'name')} matched by ignoring {difference}: {given} is {file}"
            for difference, rows in self.matched.items()
            for given, file in [self.matched_as[difference]]
        ]

    def add(self, receipt: ImportReceipt) -> None:
        """Add the counts of one answer."""
        for name in ("labels", "known", "images", "held_out", "kept", "overwritten", "reopened"):
            self.counts[name] += getattr(receipt, name)
        self.matched.update(receipt.matched)
        self.matched_as = receipt.matched_as | self.matched_as
        self.new_classes.update(receipt.new_classes)
        self.counted_as |= receipt.counted_as
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
    vocabulary: Sequence[str] = (),
    located: Callable[[ImportIssue], ImportIssue] = lambda issue: issue,
    on_receipt: Callable[[ImportReceipt], None] = lambda _: None,
    on_progress: Callable[[Outcome], None] = lambda _: None,
) -> Outcome:
    """Pass all `rows` to `take`; their names are relative to `folder` or to the labeler's image folder.

    `vocabulary` is that of `ImportPost`; `located` adds to an issue where its row is.
    """
    outcome, import_id = Outcome(), None
    for batch, more in _batches(rows):
        cells = [each for each in batch if isinstance(each, CellIssue)]
        unreadable = [each for each in batch if isinstance(each, ImportIssue) and not isinstance(each, CellIssue)]
        readable = [_placed(each, folder, outcome) for each in batch if isinstance(each, ImportRow)]
        choices: dict[str, Any] = {"dry_run": dry_run, "add_classes": add_classes, "conflicts": conflicts}
        if import_id is None:
            choices["vocabulary"] = tuple(vocabulary)
        receipt = take(ImportPost(rows=readable, import_id=import_id, more=more, **choices))
        import_id = receipt.import_id
        receipt.rejected = sorted([*unreadable, *receipt.rejected], key=lambda issue: issue.line)
        receipt.cells += cells
        for issues in (receipt.conflicts, receipt.rejected, receipt.cells):
            issues[:] = map(located, issues)
        outcome.rows += len(batch) - len(cells)
        outcome.add(receipt)
        on_receipt(receipt)
        on_progress(outcome)
    return outcome


def _batches(rows: Iterable[ImportRow | ImportIssue]) -> Iterator[tuple[list[ImportRow | ImportIssue], bool]]:
    """Yield batches in order, each with whether more follow."""
    batches = parts(rows, _length, most=BATCH)
    batch = next(batches, None)
    while batch is not None:
        following = next(batches, None)
        yield batch, following is not None
        batch = following


def _length(row: ImportRow | ImportIssue) -> int:
    """Approximate bytes of a row in a request; the path of its folder is added later."""
    if isinstance(row, ImportIssue):
        return 0
    own = ROW_BYTES + text_length(row.uri, row.label, row.annotator) + _named(row.answer)
    return own + sum(
        ROW_BYTES + text_length(each.label, each.annotator, each.reason, each.note) + _named(each.answer)
        for each in row.answers
    )


def _named(answer: NamedAnswer | None) -> int:
    if isinstance(answer, NamedBoxes):
        return BOX_BYTES * len(answer.boxes) + text_length(*answer.names)
    return 0 if answer is None else 10 * len(answer.yes + answer.no) + text_length(*answer.yes, *answer.no)


def _placed(row: ImportRow, folder: Path, outcome: Outcome) -> ImportRow:
    """The row with the absolute path of its file if the file is in `folder`. Otherwise the row is unchanged: its name
    is relative to the image folder.

    For a link, or a file in a linked folder, the path is that of the target: an export may be a folder of links.
    """
    path = os.path.join(folder, row.uri)  # noqa: PTH118 - a million times
    if not os.path.isfile(path):  # noqa: PTH113
        if row.uri.isascii() and not _MARKED.search(row.uri):
            return row
        others = ((how, os.path.join(folder, name)) for how, name in spellings(row.uri))  # noqa: PTH118
        found = next(((how, other) for how, other in others if os.path.isfile(other)), None)  # noqa: PTH113
        if found is None:
            return row
        how, path = found
        outcome.matched[how] += 1
        outcome.matched_as.setdefault(how, (row.uri, os.path.relpath(path, folder)))
    linked = os.path.islink(path) or _is_linked(os.path.dirname(path), folder)  # noqa: PTH114, PTH120
    return row.model_copy(update={"uri": os.path.realpath(path) if linked else os.path.abspath(path)})  # noqa: PTH100


@lru_cache(maxsize=1_000)
def _is_linked(inside: str, folder: Path) -> bool:
    """Whether the folder `inside` is reached from `folder` through a link."""
    below = os.path.relpath(inside, folder)
    return os.path.realpath(inside) != os.path.normpath(os.path.join(os.path.realpath(folder), below))  # noqa: PTH118


_MARKED = re.compile(r"[\\%+]|^\s|\s$")  # hints that a name may be spelled differently


def one_sentence(*clauses: str) -> str:
    """The clauses as one sentence, though some of them end with a full stop."""
    return "; ".join(each.rstrip(".") for each in clauses) + "."
