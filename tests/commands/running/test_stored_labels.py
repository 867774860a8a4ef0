"""Commands read the labels of a stopped project wherever they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands.labels.exports import Wanted, read
from commands.labels.merge import merged
from commands.models.embed import _from_database
from commands.running.stored_labels import DATABASE_VARIABLE, labels_of
from shared.settings.project_file import edit
from shared.settings.services import SettingsError
from shared.settings.starting import remember
from tests.labeler.projects import answer, labeler, photos
from tests.postgresql import server


@pytest.fixture(params=["file", "server"])
def stopped(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The workspace of a project of three images, of which two have a label."""
    photos(tmp_path / "photos", 3)
    database = server().new_database() if request.param == "server" else ""
    with labeler(tmp_path, database_url=database) as running:
        remember(running.settings)
        running.annotate([answer(1), answer(2, "dog")])
    return tmp_path / "workspace"


def test_an_export(stopped: Path, tmp_path: Path) -> None:
    read(stopped, None, Wanted("jsonl", "", {}), tmp_path / "labels.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    assert [row["label"] for row in rows] == ["cat", "dog", None]


def test_a_merge(stopped: Path, tmp_path: Path) -> None:
    table = tmp_path / "more.csv"
    table.write_text("filename,label\n0002.png,cat\n")
    both = merged(stopped, table, tmp_path / "photos")
    assert len(both) == 3


def test_flywheel_embed_finds_the_photos(stopped: Path) -> None:
    assert [entry.uri for entry in _from_database(stopped)] == ["0000.png", "0001.png", "0002.png"]


def test_a_password_is_asked_for_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with edit(tmp_path) as project:
        project.labeler["database_url"] = "postgresql+psycopg://me:***@db/labels"
    with pytest.raises(SettingsError, match=r"are in postgresql\+psycopg://me:\*\*\*@db/labels: give that address"):
        labels_of(tmp_path)
    monkeypatch.setenv(DATABASE_VARIABLE, "postgresql+psycopg://me:secret@other/labels")
    with pytest.raises(SettingsError, match=r"not in postgresql\+psycopg://me:\*\*\*@other/labels"):
        labels_of(tmp_path)
    monkeypatch.setenv(DATABASE_VARIABLE, "postgresql+psycopg://me:secret@db/labels")
    assert labels_of(tmp_path) == "postgresql+psycopg://me:secret@db/labels"
