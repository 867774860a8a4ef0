"""Tables on the command line: a dry run and an import report alike how they read one, and columns can be named."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import flywheel
from commands.labels.simulate import Annotator, read_truth
from shared.settings.services import SettingsError
from tests.commands.labels.test_folders import served
from tests.labeler.projects import NOBODY, labeler, photos


def bring(table: Path, url: str, *words: Any) -> Result:
    given = ["import", str(table), "--labeler-url", url, *map(str, words)]
    return CliRunner().invoke(flywheel.app, given, env={"COLUMNS": "300"})


def test_an_import_says_how_the_table_is_read(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    table = tmp_path / "labels.csv"
    table.write_bytes("foto;art;score\n0000.png;Kätzchen;0,9\n\\0001.PNG;cat;hoch\n0002.png;;\n".encode("cp1252"))
    with labeler(tmp_path, classes=["cat", "Kätzchen"]) as service, served(service) as url:
        refused = bring(table, url, "--dry-run")
        assert isinstance(refused.exception, SettingsError)
        assert "--columns image=…,label=…" in str(refused.exception)
        assert "'foto', 'art', 'score'" in str(refused.exception)
        for words in (["--dry-run"], ["--report", tmp_path / "report.csv"]):
            done = bring(table, url, "--columns", "image=foto,label=art", *words)
            assert done.exit_code == 0, (done.output, done.exception)
            for said in (
                "labels.csv: read with separator semicolon, encoding cp1252, image from 'foto', label from 'art'",
                "1 row without a label, first line 4",
                "1 name matched by ignoring capital letters: \\0001.PNG is 0001.png",
                "line 3: \\0001.PNG has a confidence that cannot be read: 'hoch' is not a number: the row is imported",
            ):
                assert said in done.output
        assert service.tally.counts().labeled == 2
    with (tmp_path / "report.csv").open(newline="", encoding="utf-8") as stream:
        assert [(row["line"], row["kind"], row["uri"]) for row in csv.DictReader(stream)] == [
            ("3", "cell", "\\0001.PNG")
        ]


def test_a_simulation_reads_its_true_labels_from_such_a_table(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_bytes("image_id;class\nsub\\a;cat\nté.png;dog\n1.png;cat\n".encode("utf-16"))
    truth = read_truth(path)
    assert truth == {"sub\\a": "cat", "té.png": "dog", "1.png": "cat"}
    person = Annotator(NOBODY, truth)
    uris = ["sub/a.png", "te\u0301.png", "deep/1.png", "none.png"]
    assert [person._said(uri) for uri in uris] == ["cat", "dog", "cat", None]
    person.close()
    with pytest.raises(SettingsError):
        read_truth(tmp_path / "none.csv")
