"""`flywheel merge`: two workspaces or manifests become one manifest, which `flywheel import` reads.

Images are the same when their content is (two workspaces know that), or else when their names are. What both say is
said once. Where they give an image different labels the rule that was asked for decides: the first, the second, or
neither, in which case all of them are kept and the image is open until somebody settles it. A skip or a flag is kept
where neither side has a label. Of two splits, test goes before validation and that before train: what either side
measured with is never learned from.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from commands import exports
from commands.backup import DATABASE
from shared.messages import ImportIssue, ImportRow, Split
from shared.settings import SettingsError

Prefer = Literal["first", "second", "neither"]
Given = Path | Iterable[ImportRow | ImportIssue]
"""One side of a merge: a workspace, folder or file, or rows at hand."""
STATUS = {"label": "labeled", "skip": "skipped", "flag": "flagged"}
ORDER: tuple[Split | None, ...] = (None, "train", "validation", "test")


@dataclass(slots=True)
class Merged:
    """One image: its labels by each side, as (label, annotator), without repeats; its status where it has none."""

    uri: str
    sha256: str | None = None
    split: Split | None = None
    given: tuple[dict[str, str | None], dict[str, str | None]] = field(default_factory=lambda: ({}, {}))
    unlabeled: tuple[str, str | None] | None = None  # status and annotator

    def labels(self, prefer: Prefer) -> dict[str, str | None]:
        """Label → annotator, of those that are kept."""
        first, second = self.given
        if not first or not second or first.keys() == second.keys():
            return second | first
        return {"first": first, "second": second, "neither": second | first}[prefer]

    @property
    def conflict(self) -> bool:
        """Whether the sides differ."""
        first, second = self.given
        return bool(first and second and first.keys() != second.keys())


@dataclass(frozen=True)
class Row:
    """A label as one side gives it, or with None the status of an image that was answered and has none."""

    uri: str
    label: str | None
    split: Split | None = None
    annotator: str | None = None
    sha256: str | None = None
    status: str = "labeled"


def merge(first: Iterable[Row], second: Iterable[Row]) -> list[Merged]:
    """One entry for each image, in the order in which they come.

    Raises SettingsError when a name stands for two images, whose labels a manifest would mix up.
    """
    by_content: dict[str, Merged] = {}
    by_name: dict[str, Merged] = {}
    found: list[Merged] = []
    for side, rows in enumerate((first, second)):
        for row in rows:
            image = by_content.get(row.sha256 or "") or by_name.get(row.uri)
            if image is None:
                image = Merged(row.uri, row.sha256)
                found.append(image)
            elif row.sha256 and image.sha256 and row.sha256 != image.sha256:
                raise SettingsError(f"Both hold {row.uri}, but not the same image: rename one of the files first.")
            by_name.setdefault(row.uri, image)
            if row.sha256:
                by_content.setdefault(row.sha256, image)
            image.split = max(image.split, row.split, key=ORDER.index)
            if row.label is not None:
                image.given[side].setdefault(row.label, row.annotator)
            elif image.unlabeled is None:
                image.unlabeled = (row.status, row.annotator)
    return found


def records(images: Iterable[Merged], prefer: Prefer) -> Iterator[dict[str, Any]]:
    """Columns as import reads them, an answer a record."""
    for image in images:
        told = {"uri": image.uri, "split": image.split}
        labels = image.labels(prefer)
        for label, annotator in labels.items():
            yield told | {"label": label, "annotator": annotator, "status": "labeled"}
        if image.unlabeled is not None and not labels:
            status, annotator = image.unlabeled
            yield told | {"label": None, "annotator": annotator, "status": status}


def write(images: Iterable[Merged], prefer: Prefer, target: Path) -> int:
    """JSON lines, an answer a line; returns how many. Raises SettingsError."""
    partial, count = target.with_name(f".{target.name}.partial"), 0
    try:
        with partial.open("w", encoding="utf-8") as stream:
            for record in records(images, prefer):
                stream.write(json.dumps(record, ensure_ascii=True) + "\n")
                count += 1
        partial.replace(target)
    except OSError as error:
        raise SettingsError(f"{target} cannot be written: {error.strerror}.") from None
    finally:
        partial.unlink(missing_ok=True)
    return count


def run(first: Path, second: Path, target: Path, prefer: str) -> list[Merged]:
    """Merge two workspaces, folders or files into `target`. Raises SettingsError."""
    rule = rule_named(prefer)
    images = merged(first, second, target.parent)
    write(images, rule, target)
    return images


def rule_named(name: str) -> Prefer:
    """Raises SettingsError when there is no such rule."""
    rule: Prefer | None = next((rule for rule in get_args(Prefer) if rule == name), None)
    if rule is None:
        known = ", ".join(get_args(Prefer))
        raise SettingsError(f"Whose label counts where they differ is one of {known}, not {name!r}.")
    return rule


def merged(first: Given, second: Given, beside: Path) -> list[Merged]:
    """Merge two sides; names of files are as seen from the folder `beside`. Raises SettingsError."""
    with tempfile.TemporaryDirectory(prefix="flywheel-") as scratch:
        return merge(*(_rows(side, Path(scratch), beside) for side in (first, second)))


def _rows(given: Given, scratch: Path, beside: Path) -> Iterator[Row]:
    """Labels of a workspace at rest with what its images are, or of whatever `flywheel import` reads."""
    if isinstance(given, Path) and (given / DATABASE).is_file():
        exports.read(given, None, exports.Wanted("jsonl", "annotators", {}), scratch / "labels.jsonl")
        with (scratch / "labels.jsonl").open(encoding="utf-8") as stream:
            for record in map(json.loads, stream):
                if record["status"] == "unlabeled":
                    continue
                by = next(iter(record["annotators"]), None)
                yield Row(record["uri"], record["label"], record["split"], by, record["sha256"], record["status"])
        return
    from labeler.formats.sources import open_source

    name, folder = str(given) if isinstance(given, Path) else "The table", beside
    if isinstance(given, Path):
        source = open_source(given)
        folder, given = source.folder, source.rows()
    for row in given:
        if isinstance(row, ImportIssue):
            raise SettingsError(
                f"{name}, line {row.line}: {row.uri} {row.reason}. Mend it first: a merge leaves nothing out."
            )
        uri = _relative(row, folder, beside)
        if row.action == "open":
            yield from (Row(uri, each.label, row.split, each.annotator) for each in row.answers if each.label)
        else:
            yield Row(uri, row.label, row.split, row.annotator, status=STATUS[row.action])


def _relative(row: ImportRow, folder: Path, to: Path) -> str:
    """The file's name as the merged manifest, beside which it is looked for, has it; unchanged where it is no file."""
    file = folder / row.uri
    return os.path.relpath(file.absolute(), to.absolute()) if file.is_file() else row.uri
