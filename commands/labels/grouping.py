"""The groups of `flywheel split --by group`: from the names of the images, or from a column of a table."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commands.running.reach import ask
from shared.figures import many
from shared.images.names import NamesInList
from shared.settings.services import SettingsError
from shared.storage.file_errors import cause_of
from shared.web.parts import parts, text_length
from shared.wire.dataset import MOST_GROUPED
from shared.wire.images import ImageEntry, ImagePage
from shared.wire.imports import ImportIssue

PAGE = 1_000
LONGEST = 300  # maximum characters of the description in the log


@dataclass(frozen=True)
class Groups:
    """Image id → group, the number of images without a group, and a short description of the groups.

    `names` describes inexact file names in the table, with an example each.
    """

    groups: dict[int, str]
    alone: int
    how: str
    names: list[str] = field(default_factory=list)


def find(labeler_url: str, pattern: str | None, table: Path | None, column: str) -> Groups:
    """The groups of a running labeler's images, by a `pattern` or a `table`. Raises SettingsError."""
    entries = [entry for entry in _catalogue(labeler_url) if not entry.removed]
    told: list[str] = []
    if table is None:
        found, how = by_pattern(entries, pattern or ""), f"pattern {pattern}"
    else:
        folder = ask(f"{labeler_url}/api/settings")["images"]["value"]
        found = by_column(entries, table, column, Path(folder) if folder else None, told)
        how = f"{column} of {table.name}"
    if not found:
        raise SettingsError(f"No image has a group: {how} matches none of the {len(entries):,} images.")
    return Groups(found, len(entries) - len(found), how[:LONGEST], told)


def by_pattern(entries: Iterable[ImageEntry], pattern: str) -> dict[int, str]:
    """Group each name by what the pattern's first bracket matches, or the whole match without a bracket. Raises
    SettingsError.
    """
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise SettingsError(f"--pattern {pattern!r} is not a regular expression: {error}.") from None
    found = {entry.id: wanted.search(entry.uri) for entry in entries}
    return {image_id: match[min(wanted.groups, 1)] or "" for image_id, match in found.items() if match}


def by_column(
    entries: Iterable[ImageEntry], table: Path, column: str, images: Path | None, told: list[str] | None = None
) -> dict[int, str]:
    """The value of the column for each image. Names are relative to the folder of the table or of the labeler.

    `told` receives descriptions of inexact file names. Raises SettingsError for a row without a group, two groups of
    one image, and a name that may mean several images.
    """
    from labeler.transfer.rows.imported import columns_of

    ids = {entry.uri: entry.id for entry in entries}
    names = NamesInList(list(ids))
    matched: dict[str, list[str]] = {}
    found: dict[int, str] = {}
    for line, record in _records(table):
        known = {name.strip().lower(): value for name, value in record.items()}
        if column.lower() not in known:
            raise SettingsError(f"{table} has no column {column!r}; it has {', '.join(record)}.")
        uri = str(record.get(columns_of(tuple(record), by_id=True).get("uri", ""), ""))
        image_id = ids.get(uri) or ids.get(_below(table.parent / uri, images))
        if image_id is None:
            difference, places = names.find(uri)
            meant = [[*ids][place] for place in places]
            if len(meant) > 1:
                raise SettingsError(
                    f"{table}, line {line}: {uri} may mean {', '.join(meant[:3])}: write it with its folder."
                )
            if not meant:
                continue
            image_id = ids[meant[0]]
            matched.setdefault(difference or "", []).append(f"{uri} is {meant[0]}")
        group = known[column.lower()]
        if group is None or not str(group).strip():
            raise SettingsError(f"{table}, line {line}: {uri} has no {column}.")
        if found.setdefault(image_id, str(group).strip()) != str(group).strip():
            raise SettingsError(f"{table}, line {line}: {uri} is in {found[image_id]!r} and {group!r}.")
    if told is not None:
        told += [f"{many(len(some), 'name')} matched by ignoring {how}: {some[0]}" for how, some in matched.items()]
    return found


def draw(post: Callable[[dict[str, Any]], Any], body: Mapping[str, Any]) -> Any:
    """Send the body of `POST /api/splits` with `post`, in as many parts as needed; returns the last response."""
    groups = parts(body.get("groups", {}).items(), lambda pair: 30 + text_length(pair[1]), most=MOST_GROUPED)
    part, groups_id = next(groups, []), None
    for following in groups:
        more = {"groups": dict(part), "groups_id": groups_id, "more": True}
        groups_id = post({**body, **more})["groups_id"]
        part = following
    return post({**body, "groups": dict(part), **({"groups_id": groups_id} if groups_id else {})})


def _below(file: Path, images: Path | None) -> str:
    return os.path.relpath(file.absolute(), images.absolute()) if images is not None else ""


def _records(table: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    from labeler.transfer.files import parquet
    from labeler.transfer.formats import csv_table, json_lines

    readers = {".csv": csv_table.records, ".tsv": csv_table.records, ".jsonl": json_lines.records}
    try:
        if table.suffix.lower() == ".parquet":
            yield from parquet.records(table)
            return
        if table.suffix.lower() not in readers:
            raise SettingsError(f"{table} is not a table: use {', '.join(readers)} or .parquet.")
        for record in readers[table.suffix.lower()](table):
            if isinstance(record, ImportIssue):
                raise SettingsError(f"{table}, line {record.line} {record.reason}.")
            yield record
    except (OSError, ValueError) as error:
        raise SettingsError(f"{table} cannot be read: {cause_of(error)}.") from None


def _catalogue(labeler_url: str) -> Iterator[ImageEntry]:
    after = 0
    while True:
        page = ImagePage.model_validate(ask(f"{labeler_url}/api/images", params={"after": after, "limit": PAGE}))
        yield from page.images
        if not page.images:
            return
        after = page.next
