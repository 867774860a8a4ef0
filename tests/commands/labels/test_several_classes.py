"""The commands and the Python client in a multi-label project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, Image, Sequence
from typer.testing import CliRunner

import flywheel
from commands.client import Flywheel
from commands.connection import FlywheelError
from commands.labels.hub import write
from commands.labels.simulate import Annotator, read_answers
from shared.settings.services import SettingsError
from tests.commands.labels.test_folders import served
from tests.labeler.projects import labeler, photo, photos


def run(*words: Any) -> Any:
    done = CliRunner().invoke(flywheel.app, [*map(str, words)], env={"COLUMNS": "300"})
    if isinstance(done.exception, SettingsError):
        raise done.exception
    return done


def told(service: Any) -> dict[int, tuple[list[str], list[str]]]:
    name = service.log.fold.name_of
    return {
        image: ([*map(name, sorted(each.yes))], [*map(name, sorted(each.no))])
        for image, each in sorted(service.log.fold.labels.items())
    }


def test_the_command_and_python_import_label_export_and_simulate(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 6)
    (tmp_path / "labels.csv").write_text("file,cat,dog\n0000.png,1,0\n0001.png,,1\n")
    (tmp_path / "more.csv").write_text("file,label\n0004.png,dog;cat\n0005.png,cat\n")
    with (
        labeler(tmp_path, task="multilabel", classes=["cat", "dog"]) as service,
        served(service) as url,
        Flywheel(url, url) as client,
    ):
        looked = run("import", tmp_path / "labels.csv", "--labeler-url", url, "--dry-run").output
        assert "a class per column, 1 for yes, 0 for no, empty for unknown: cat, dog" in looked
        assert told(service) == {}
        assert run("import", tmp_path / "labels.csv", "--labeler-url", url).exit_code == 0
        client.label({"0002.png": ["dog"], 4: {"yes": ["cat"], "no": []}})
        assert told(service) == {1: (["cat"], ["dog"]), 2: (["dog"], []), 3: (["dog"], ["cat"]), 4: (["cat"], [])}
        table = client.labels(status="labeled")
        assert [*map(list, table["label"])] == [["cat"], ["dog"], ["dog"], ["cat"]]
        counts = client.import_labels(pd.DataFrame({"uri": ["0003.png"], "label": [["cat", "dog"]]}))
        assert (counts["labels"], counts["conflict"]) == (1, 0)
        assert told(service)[4] == (["cat", "dog"], [])
        person = Annotator(url, read_answers(tmp_path / "more.csv"))
        result = person.run(6)
        person.close()
        assert {said for _, said, _ in result.answers} == {"dog;cat", "cat"}
        assert (told(service)[5], told(service)[6]) == ((["cat", "dog"], []), (["cat"], ["dog"]))
        with pytest.raises(SettingsError, match="no room for images of several classes"):
            run("export", tmp_path / "out", "--files", "copy", "--labeler-url", url)
        with pytest.raises(FlywheelError, match="There is no class 'owl'"):
            client.label({1: ["owl"]})
    (tmp_path / "a.csv").write_text("file,label\n0000.png,cat\n")
    assert run("merge", tmp_path / "workspace", tmp_path / "a.csv", tmp_path / "merged.jsonl").exit_code == 0
    rows = [json.loads(line) for line in (tmp_path / "merged.jsonl").read_text().splitlines()]
    assert {row["uri"]: (row["label"], row["absent"]) for row in rows if row["label"] is not None} == {
        "0000.png": (["cat"], ["dog"]),
        "0001.png": (["dog"], []),
        "0002.png": (["dog"], ["cat"]),
        "0003.png": (["cat", "dog"], []),
        "0004.png": (["cat", "dog"], []),
        "0005.png": (["cat"], ["dog"]),
    }


def test_a_dataset_with_lists_of_class_labels_is_fetched_by_name(tmp_path: Path) -> None:
    features = Features({"image": Image(), "tags": Sequence(ClassLabel(names=["cat", "dog"]))})
    given = {"image": [str(photo(tmp_path / f"{n}.png", n)) for n in range(2)], "tags": [[0, 1], []]}
    write({"train": Dataset.from_dict(given, features)}, tmp_path / "out")
    lines = (tmp_path / "out" / "train" / "metadata.jsonl").read_text().splitlines()
    assert [line.partition('"label": ')[2] for line in lines] == ['["cat", "dog"]}', "[]}"]
