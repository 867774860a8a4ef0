"""The HTML of the components: each has the parts of each task, and a place for each part."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labeler.ui.parts.scripts import FOLDER
from shared.tasks.registry import TASKS

PARTS = sorted(FOLDER.glob("tasks/*/*.html"))


def test_each_task_has_a_folder() -> None:
    assert {path.name for path in (FOLDER / "tasks").iterdir() if path.is_dir()} == TASKS.keys()
    assert {path.parent.name for path in PARTS} == TASKS.keys()


@pytest.mark.parametrize("part", PARTS, ids=lambda path: "/".join(path.parts[-2:]))
def test_a_page_has_a_place_for_each_part_of_a_task(part: Path) -> None:
    page = (FOLDER / part.stem / part.name).read_text("utf-8")
    parts = re.findall(r'<template data-into="([^"]*)">', part.read_text("utf-8"))
    assert parts
    assert set(parts) <= set(re.findall(r'<template data-slot="([^"]*)"></template>', page))
    assert len(parts) == len(set(parts))
    assert part.read_text("utf-8").count("<template") == len(parts)


def test_no_page_names_a_task() -> None:
    """What depends on the kind of label stands in `tasks/`."""
    kinds = re.compile(rf"""["'`]({"|".join(TASKS)})["'`]""")
    pages = [path for kind in ("*.js", "*.html", "*.py") for path in FOLDER.rglob(kind)]
    assert len(pages) > 100
    assert [
        path for path in pages if FOLDER / "tasks" not in path.parents and kinds.search(path.read_text("utf-8"))
    ] == []
