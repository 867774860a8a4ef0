"""`flywheel merge` merges two workspaces or label files into one file, which `flywheel import` reads.

Two images are the same if their content is the same (known only from two workspaces), or else if their names are. Each
annotator's answer is kept once, with its time. If the sides label an image differently, the chosen rule decides: the
first side's label wins, or the second's, or neither, and then the image stays open until somebody settles it. A side
where the image is open, skipped or flagged yields to a side with a label. If all answers together would give another
label than these rules, only the answers of the winning side are kept; if neither wins, one answer of each side. Of two
splits, test wins over validation, and validation over train, so that the model never learns from an image that either
side measured with.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer
from rich.console import Console

from commands.labels import exports
from commands.running.given_paths import file_or_folder, new_file
from commands.running.stored_labels import is_workspace
from commands.running.whole_outputs import whole_file
from shared.class_names import Spellings, key
from shared.figures import many
from shared.images.names import same_path
from shared.log import IMPORT
from shared.settings.project_file import ProjectFile
from shared.settings.services import SettingsError
from shared.tasks.classification import CLASSIFICATION
from shared.tasks.registry import TASKS
from shared.tasks.task import ByName, Task, Value
from shared.wire.fields import Split
from shared.wire.imports import ImportedAnswer, ImportIssue, ImportRow, NamedClasses

console = Console()
Prefer = Literal["first", "second", "neither"]
Given = Path | Iterable[ImportRow | ImportIssue]
"""One side of a merge: a workspace, folder or file, or rows."""
STATUS = {"label": "labeled", "skip": "skipped", "flag": "flagged", "settle": "flagged"}
ORDER: tuple[Split | None, ...] = (None, "train", "validation", "test")


def merge_command(
    first: Annotated[
        Path,
        typer.Argument(
            help="A stopped workspace, or a folder or file that `flywheel import` reads.", parser=file_or_folder
        ),
    ],
    second: Annotated[Path, typer.Argument(help="The other side, as above.", parser=file_or_folder)],
    target: Annotated[Path, typer.Argument(help="JSON lines file to write, for `flywheel import`.", parser=new_file)],
    prefer: Annotated[str, typer.Option(help="Whose label counts if they differ: first, second or neither.")] = (
        "neither"
    ),
    task: Annotated[
        str,
        typer.Option(
            help="What the answers are: classification, multilabel or detection. Default: the task of a workspace, for "
            "two files classification."
        ),
    ] = "",
) -> None:
    """Merge two workspaces or label files into one file."""
    spellings = Spellings()
    images = run(first, second, target, prefer, spellings, task)
    differ = sum(image.conflict for image in images)
    console.print(f"Written: {target}. {many(len(images), 'image')}, {differ:,} of them with different labels.")
    for name, written in spellings.taken.items():
        console.print(f"{name} is written as {written}: they are the same class.", markup=False, highlight=False)


@dataclass(frozen=True)
class Row:
    """An image on one side. An answer without an annotator belongs to `IMPORT`, as after an import."""

    uri: str
    answers: Sequence[ImportedAnswer] = ()
    split: Split | None = None
    sha256: str | None = None


@dataclass(slots=True)
class Merged:
    """One image: the distinct answers of each side, the split of the side that answered it, and the drawn split."""

    uri: str
    sha256: str | None = None
    split: Split | None = None
    drawn: Split | None = None
    given: tuple[list[ImportedAnswer], list[ImportedAnswer]] = field(default_factory=lambda: ([], []))
    names: ByName = field(default_factory=CLASSIFICATION.by_name)

    @property
    def conflict(self) -> bool:
        """Whether the sides have different labels."""
        first, second = (_decision(side, self.names) for side in self.given)
        return _differ(first, second, self.names)

    def kept(self, prefer: Prefer) -> list[ImportedAnswer]:
        """The answers to keep."""
        first, second = self.given if prefer != "second" else self.given[::-1]
        one, other = _decision(first, self.names), _decision(second, self.names)
        together = first + [each for each in second if not _answered(each, first)]
        if one is None and other is None:
            return together
        alone = first if one is not None else second
        if prefer == "neither" and self.conflict:
            alone = [_vote(first, one, self.names), _vote(second, other, self.names)]
        both, single = _decision(together, self.names), _decision(alone, self.names)
        agree = both is single if both is None or single is None else not _differ(both, single, self.names)
        return together if agree else alone


def label_of(answers: Iterable[ImportedAnswer]) -> str:
    """The class that follows from the answers; empty if the image is open or no class fits."""
    names = CLASSIFICATION.by_name()
    return names.cells(_decision(answers, names))["label"] or ""


def columns_of(images: Sequence[Merged]) -> list[str]:
    """The columns of the merged table."""
    return [*_columns(images[0].names if images else CLASSIFICATION.by_name())]


def _columns(names: ByName) -> tuple[str, ...]:
    return ("uri", "split", *names.held, "annotator", "status", "labeled_at", "history")


def _decision(answers: Iterable[ImportedAnswer], names: ByName) -> Value | None:
    """The value that follows from the answers; None if the image is open or no class fits."""
    from labeler.transfer.rows.past_answers import decided

    return decided([(each.action, names.value(each)) for each in answers], names.task.merge)


def _differ(one: Value | None, other: Value | None, names: ByName) -> bool:
    """Whether two values contradict each other. None contradicts nothing."""
    return one is not None and other is not None and names.task.differ([one, other])


def _answered(answer: ImportedAnswer, others: Iterable[ImportedAnswer]) -> bool:
    """Whether `others` contain an answer of the same annotator, or another `settle` if this one settles."""
    settles = answer.action == "settle"
    return any(
        (each.action == "settle") == settles and (settles or each.annotator == answer.annotator) for each in others
    )


def _vote(answers: Sequence[ImportedAnswer], value: Value, names: ByName) -> ImportedAnswer:
    """One vote for the label of a side: by an annotator who gave exactly that label, or else in the first one's
    name.
    """
    said = next((each for each in answers if names.value(each) == value), None)
    if said is None:
        said = names.answered(next(each for each in answers if names.value(each) is not None), value)
    return said.model_copy(update={"action": "label"})


def merge(
    first: Iterable[Row], second: Iterable[Row], spellings: Spellings | None = None, task: Task = CLASSIFICATION
) -> list[Merged]:
    """One entry per image, in the order of the rows.

    Spellings of one class are written as the first of them, and `spellings` records which were changed. Raises
    SettingsError if one name stands for two images, or if an answer is of another task.
    """
    by_content: dict[str, Merged] = {}
    by_name: dict[str, Merged] = {}
    alike: dict[str, tuple[int, Merged] | None] = {}  # by normalised name; None if several images have it
    found: list[Merged] = []
    spelled, names = spellings or Spellings(), task.by_name()
    for side, rows in enumerate((first, second)):
        for row in rows:
            path = same_path(row.uri)
            image = by_content.get(row.sha256 or "") or by_name.get(row.uri)
            if image is None and (like := alike.get(path)) is not None and like[0] != side:
                same = row.sha256 is None or like[1].sha256 in (None, row.sha256)
                image = like[1] if same else None  # the same image on the other side, written differently
            if image is None:
                image = Merged(row.uri, row.sha256, names=names)
                found.append(image)
                alike[path] = (side, image) if path not in alike else None
            elif row.sha256 and image.sha256 and row.sha256 != image.sha256:
                raise SettingsError(
                    f"Both sides have a different image called {row.uri}: rename one of the files first."
                )
            by_name.setdefault(row.uri, image)
            if row.sha256:
                by_content.setdefault(row.sha256, image)
            if row.answers:
                image.split = max(image.split, row.split, key=ORDER.index)
            else:
                image.drawn = max(image.drawn, row.split, key=ORDER.index)
            given = image.given[side]
            answers = [_readable_answer(names.spelled(each, spelled), names) for each in row.answers]
            given += [each for each in answers if not any(_same(each, known) for known in given)]
    return found


def _readable_answer(answer: ImportedAnswer, names: ByName) -> ImportedAnswer:
    try:
        names.value(answer)
    except ValueError as problem:
        raise SettingsError(str(problem)) from None
    return answer


def _same(one: ImportedAnswer, other: ImportedAnswer) -> bool:
    return (one.action, one.given, one.annotator) == (other.action, other.given, other.annotator)


def records(images: Iterable[Merged], prefer: Prefer) -> Iterator[dict[str, Any]]:
    """Columns as the import reads them: one record per image, with several answers in `history`.

    Two answers of one annotator become two records, which contradict each other.
    """
    for image in images:
        answers, names = image.kept(prefer), image.names
        told = dict.fromkeys(_columns(names)) | {"uri": image.uri, "split": image.split if answers else image.drawn}
        if _plain(answers):
            yield from (told | _said(each, names.value(each), names) for each in answers)
            continue
        value = _decision(answers, names)
        deciding = next((each for each in answers if names.value(each) == value), None)
        if deciding is None and value is not None:
            deciding = next(each for each in answers if names.value(each) is not None)
        told |= {"status": "unlabeled"} if deciding is None else _said(deciding, value, names)
        yield told | {"history": [_past(each, names) for each in answers]}


def _plain(answers: Sequence[ImportedAnswer]) -> bool:
    """Whether plain columns suffice, or are required because one annotator gave two answers."""
    voters = [each.annotator for each in answers if each.action != "settle"]
    alone = len(answers) == len(voters) == 1 and not (answers[0].reason or answers[0].note)
    return alone or len(voters) > len(set(voters))


def _past(answer: ImportedAnswer, names: ByName) -> dict[str, Any]:
    """An answer in the form of a history."""
    known = answer.model_dump(mode="json", exclude_none=True, exclude={"label", "answer"})
    cells = {name: cell for name, cell in names.cells(names.value(answer)).items() if cell is not None}
    return known | cells | {"counts": True}


def _said(answer: ImportedAnswer, value: Value | None, names: ByName) -> dict[str, Any]:
    return {
        **names.cells(value),
        "annotator": None if answer.annotator == IMPORT else answer.annotator,
        "status": STATUS["label" if value is not None else answer.action],
        "labeled_at": answer.at and answer.at.isoformat(),
    }


def write(images: Iterable[Merged], prefer: Prefer, target: Path) -> int:
    """Write JSON lines, one per record; returns their number. Raises SettingsError."""
    count = 0
    with whole_file(target) as partial, partial.open("w", encoding="utf-8") as stream:
        for count, record in enumerate(records(images, prefer), start=1):  # noqa: B007 - it is returned
            stream.write(json.dumps(record, ensure_ascii=True) + "\n")
    return count


def run(
    first: Path, second: Path, target: Path, prefer: str, spellings: Spellings | None = None, task: str = ""
) -> list[Merged]:
    """Merge two workspaces, folders or files into `target`; see `merge`. Raises SettingsError."""
    rule = rule_named(prefer)
    images = merged(first, second, target.parent, spellings, task)
    write(images, rule, target)
    return images


def rule_named(name: str) -> Prefer:
    """The rule with this name. Raises SettingsError if there is none."""
    rule: Prefer | None = next((rule for rule in get_args(Prefer) if rule == name), None)
    if rule is None:
        known = ", ".join(get_args(Prefer))
        raise SettingsError(f"'prefer' is one of {known}, not {name!r}.")
    return rule


def merged(
    first: Given, second: Given, beside: Path, spellings: Spellings | None = None, task: str = ""
) -> list[Merged]:
    """Merge two sides. File names are relative to the folder `beside`. Raises SettingsError."""
    wanted = _task_of(first, second, task)
    if wanted not in TASKS:
        raise SettingsError(f"--task is one of {', '.join(TASKS)}, not {wanted!r}.")
    with tempfile.TemporaryDirectory(prefix="flywheel-") as scratch:
        one, other = (_rows(side, Path(scratch), beside, TASKS[wanted]) for side in (first, second))
        return merge(one, other, spellings, TASKS[wanted])


def _task_of(first: Given, second: Given, task: str) -> str:
    """The task of both sides. Raises SettingsError if a workspace has another one."""
    found = {
        side: project.task
        for side in (first, second)
        if isinstance(side, Path) and is_workspace(side) and (project := ProjectFile.read(side)) is not None
    }
    wanted = task or next(iter(found.values()), CLASSIFICATION.name)
    for side, own in found.items():
        if own != wanted:
            raise SettingsError(f"{side} is a {own} project, whose answers cannot be merged into those of {wanted}.")
    return wanted


def _rows(given: Given, scratch: Path, beside: Path, task: Task) -> Iterator[Row]:
    """The rows of a stopped workspace with the content hashes, or what `flywheel import` would read."""
    from labeler.transfer.formats.json_lines import records as lines
    from labeler.transfer.sources import open_source

    name, folder = str(given) if isinstance(given, Path) else "The table", beside
    if isinstance(given, Path) and is_workspace(given):
        table = scratch / "labels.jsonl"
        exports.read(given, None, exports.Wanted("jsonl", "annotators,history", {}), table)
        for record in lines(table):
            for row in _read(record, task):
                known = _readable(row, name)
                yield Row(known.uri, _answers(known), known.split, _content_of(record))
        return
    if isinstance(given, Path):
        source = open_source(given, task=task.name)
        vocabulary = source.vocabulary()
        folder, given = source.folder, (_whole(row, vocabulary) for row in source.rows())
    for row in given:
        known = _readable(row, name)
        yield Row(_relative(known, folder, beside), _answers(known), known.split)


def _read(record: tuple[int, dict[str, Any]] | ImportIssue, task: Task) -> Iterator[ImportRow | ImportIssue]:
    """The row in a line of an export."""
    from labeler.transfer.boxes.tables import read_records
    from labeler.transfer.rows.imported import Chosen, rows_of
    from labeler.transfer.rows.left_out import LeftOut

    if isinstance(record, ImportIssue) or not task.by_box:
        return rows_of([record], Chosen(several=task.by_class))
    return read_records(iter([record]), None, LeftOut())


def _whole(row: ImportRow | ImportIssue, vocabulary: Sequence[str]) -> ImportRow | ImportIssue:
    """The row, completed with a no to the other classes of the file where its list means that."""
    if isinstance(row, ImportIssue) or not isinstance(row.answer, NamedClasses) or not row.answer.rest:
        return row
    yes = set(map(key, row.answer.yes))
    no = tuple(name for name in vocabulary if key(name) not in yes)
    return row.model_copy(update={"answer": NamedClasses(yes=row.answer.yes, no=no)})


def _content_of(record: tuple[int, dict[str, Any]] | ImportIssue) -> str | None:
    return None if isinstance(record, ImportIssue) else record[1]["sha256"]


def _readable(row: ImportRow | ImportIssue, source: str) -> ImportRow:
    if isinstance(row, ImportIssue):
        raise SettingsError(f"{source}, {row}. Fix it first: a merge leaves nothing out.")
    return row


def _answers(row: ImportRow) -> list[ImportedAnswer]:
    if row.answers or row.action == "open":
        return row.answers
    by = row.annotator or IMPORT
    return [ImportedAnswer(action=row.action, label=row.label, answer=row.answer, annotator=by, at=row.labeled_at)]


def _relative(row: ImportRow, folder: Path, to: Path) -> str:
    """The file's name relative to the merged file; unchanged if there is no such file."""
    file = folder / row.uri
    return os.path.relpath(file.absolute(), to.absolute()) if file.is_file() else row.uri
