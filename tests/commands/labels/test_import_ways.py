"""The command line and Python import alike, through HTTP, in posts of a thousand rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import flywheel
from commands.client import Flywheel
from commands.connection import FlywheelError
from shared.importing import BATCH
from shared.settings.services import SettingsError
from tests.commands.labels.test_folders import served
from tests.labeler.projects import labeler, photo, photos


def run(*words: Any) -> Result:
    return CliRunner().invoke(flywheel.app, ["import", *map(str, words)], env={"COLUMNS": "300"})


@pytest.mark.parametrize("way", ["command line", "Python"])
def test_folders_of_more_photos_than_a_post_has_rows_into_a_project_without_classes(tmp_path: Path, way: str) -> None:
    for number in range(BATCH + 20):
        photo(tmp_path / "photos" / ("cat" if number < BATCH + 2 else "cow") / f"{number:04d}.png", number, (4, 4))
    said: list[Any] = []
    with labeler(tmp_path, classes=[]) as service, served(service) as url:
        for dry_run in (True, False):
            if way == "Python":
                counts = Flywheel(url, url).import_labels(tmp_path / "photos", dry_run=dry_run)
                said.append({name: counts[name] for name in ("labels", "rejected", "issues")})
            else:
                done = run(tmp_path / "photos", "--labeler-url", url, *["--dry-run"][: int(dry_run)])
                assert done.exit_code == 0, (done.output, done.exception)
                lines = [line.split("│")[1:3] for line in done.output.splitlines() if line.startswith("│")]
                said.append(
                    {
                        "labels" if "labels" in name else name.strip(): int(n)
                        for name, n in lines[:7]
                        if n.strip().isdigit()
                    }
                )
        assert said[0] == said[1]
        assert service.tally.counts().labeled == BATCH + 20
        assert [each.name for each in service.classes.entries()] == ["cat", "cow"]


def test_a_file_of_which_nothing_can_be_imported_is_an_error_that_says_what_is_in_it(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    box = {"type": "rectanglelabels", "value": {"rectanglelabels": ["Car"], "x": 1}}
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps([{"data": {"image": "0000.png"}, "annotations": [{"result": [box]}]}]))
    unlabeled = tmp_path / "labels.csv"
    unlabeled.write_text("image,label\n0000.png,\n0001.png,\n")
    with labeler(tmp_path) as service, served(service) as url:
        for path, said in [(boxes, "1 result of the kind rectanglelabels"), (unlabeled, "2 rows without a label")]:
            refused = run(path, "--labeler-url", url)
            assert isinstance(refused.exception, SettingsError)
            assert f"{path.name} has no label that can be imported" in str(refused.exception)
            assert said in str(refused.exception)
            with pytest.raises(FlywheelError, match=said):
                Flywheel(url, url).import_labels(path)
        mixed = tmp_path / "mixed.jsonl"
        mixed.write_text('{"image": "0000.png", "label": "cat"}\n{"image": "0001.png", "label": ["cat", "dog"]}\n')
        done = run(mixed, "--labeler-url", url)
        assert (done.exit_code, "line 2: 0001.png has several labels ('cat', 'dog')" in done.output) == (1, True)
        assert Flywheel(url, url).import_labels(mixed)["rejected"] == 1


def test_several_files_and_folders_are_one_import(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    photo(tmp_path / "photos" / "more" / "dog" / "new.png", 900)
    (tmp_path / "a.csv").write_text("image,label\n0000.png,cat\n0001.png,cat\n")
    (tmp_path / "b.csv").write_text("image;label\n0001.png;dog\ngone.png;dog\n")
    (tmp_path / "empty.json").write_text("[{]")
    given = [tmp_path / "a.csv", tmp_path / "empty.json", tmp_path / "b.csv", tmp_path / "photos" / "more"]
    report = tmp_path / "report.csv"
    with labeler(tmp_path, classes=["cat", "dog"]) as service, served(service) as url:
        for dry_run in (True, False):
            done = run(*given, "--labeler-url", url, "--report", report, *["--dry-run"][: int(dry_run)])
            assert done.exit_code == 1, (done.output, done.exception)
            assert f"{given[2]}: read with separator semicolon" in done.output
            lines = report.read_text().splitlines()[1:]
            assert [line.split(",")[:2] for line in lines] == [["2", "conflict"], ["0", "rejected"], ["3", "rejected"]]
            assert [line.rpartition("(in ")[2].partition(")")[0] for line in lines] == [
                str(path) for path in (given[2], given[1], given[2])
            ]
            assert f"line 3: gone.png does not exist (in {given[2]})" in done.output
        counts = service.tally.counts()
        assert (counts.labeled, counts.total) == (2, 4)  # 0001.png is open: one import says two things of it
        again = Flywheel(url, url).import_labels(given)
        assert (again["labels"], again["known"], again["rejected"]) == (0, 4, 2)
        with pytest.raises(FlywheelError, match="Name a file or folder"):
            Flywheel(url, url).import_labels([])
