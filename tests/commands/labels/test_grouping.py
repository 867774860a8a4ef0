"""Splits by group from the command line: by a pattern on the name, and by a column of a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import flywheel
from commands.labels.grouping import draw
from labeler.service import Service
from shared.settings.services import SettingsError
from tests.commands.labels.test_folders import served
from tests.labeler.projects import labeler, photo

PATIENTS = 10


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    for number in range(PATIENTS * 3):
        photo(tmp_path / "photos" / f"{number}-p{number % PATIENTS}.png", number)
    with labeler(tmp_path) as service:
        yield service


@pytest.fixture
def url(service: Service) -> Iterator[str]:
    with served(service) as url:
        yield url


def split(url: str, *words: Any) -> Result:
    words = ("split", "--test", 0.3, "--by", "group", *words, "--labeler-url", url)
    return CliRunner().invoke(flywheel.app, [*map(str, words)], env={"COLUMNS": "300"})


def patients_by_split(service: Service) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for entry in service.catalog.entries(0, 100):
        found.setdefault(entry.split, set()).add(entry.uri.split("-")[1])
    return found


def test_by_the_name(service: Service, url: str) -> None:
    done = split(url, "--pattern", r"-(p\d+)")
    assert "10 groups; 0 images without a group." in done.output, done.exception
    found = patients_by_split(service)
    assert (len(found["test"]), len(found["train"])) == (3, 7)
    assert not found["test"] & found["train"]
    row = service.log.page(service.log.last_seq - 1, 1).annotations[0]
    assert row.reason == "test 0.3, validation 0 by group (pattern -(p\\d+)), seed 0"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("beside", ["photos", "."])  # names are below the table's folder, or the labeler's
def test_by_a_column(service: Service, url: str, tmp_path: Path, kind: str, beside: str) -> None:
    names = [entry.uri for entry in service.catalog.entries(0, 100)]
    table = pd.DataFrame({"uri": names, "label": "cat", "patient": [name[-5] for name in names]})[:-1]
    path = tmp_path / beside / f"labels.{kind}"
    {"csv": table.to_csv, "parquet": table.to_parquet}.get(
        kind, lambda path, **_: table.to_json(path, orient="records", lines=True)
    )(path, index=False)
    done = split(url, "--groups", path, "--column", "patient")
    assert "10 groups; 1 image without a group." in done.output, done.exception
    found = patients_by_split(service)
    assert len(found["test"] & found["train"]) <= 1  # of the patient whose image is in no group


def test_impossible_input_is_refused_with_a_reason(service: Service, url: str, tmp_path: Path) -> None:
    table = tmp_path / "photos" / "t.csv"
    table.write_text("uri,label,group\n0-p0.png,cat,a\n1-p1.png,cat,\n")
    (tmp_path / "two.csv").write_text("uri,label,group\n0-p0.png,cat,a\n0-p0.png,cat,b\n")
    end = service.log.last_seq
    for words, said in [
        ((), "needs --pattern or --groups"),
        (("--pattern", "a", "--groups", table), "needs --pattern or --groups"),
        (("--pattern", "("), "not a regular expression"),
        (("--pattern", "nothing like it"), "matches none of the 30 images"),
        (("--groups", table), "line 3: 1-p1.png has no group"),
        (("--groups", table, "--column", "patient"), "no column 'patient'; it has uri, label, group"),
        (("--groups", tmp_path / "two.csv"), "line 3: 0-p0.png is in 'a' and 'b'"),
        (("--groups", tmp_path / "none.csv"), "There is no file"),
    ]:
        refused = split(url, *words)
        assert isinstance(refused.exception, SettingsError), words
        assert said in str(refused.exception)
    assert service.log.last_seq == end


def test_names_may_be_spelled_differently(service: Service, url: str, tmp_path: Path) -> None:
    table = tmp_path / "patients.csv"
    table.write_text(
        "ID;patient\n" + "".join(f"old\\{n}-p{n % PATIENTS};p{n % PATIENTS}\n" for n in range(PATIENTS * 3))
    )
    done = split(url, "--groups", table, "--column", "patient")
    assert "30 names matched by ignoring endings: old\\0-p0 is 0-p0.png" in done.output, done.exception
    assert "10 groups; 0 images without a group." in done.output


def test_groups_of_many_images_are_posted_in_parts() -> None:
    groups = {number: f"patient-{number // 7:06d}" for number in range(400_000)}
    taken: dict[int, str] = {}
    ends: list[tuple[bool, object]] = []

    def post(part: dict[str, Any]) -> Any:
        assert len(json.dumps(part)) < 8_388_608
        taken.update(part["groups"])
        ends.append((part.get("more", False), part.get("groups_id")))
        return {"groups_id": "a", "moved": 3}

    assert draw(post, {"by": "group", "groups": groups, "dry_run": True})["moved"] == 3
    assert taken == groups
    assert len(ends) > 2
    assert ends == [(True, None), *[(True, "a")] * (len(ends) - 2), (False, "a")]
    assert draw(lambda part: part, {"by": "image"}) == {"by": "image", "groups": {}}
