"""The Python client does what docs/guides/python.md says, with both real services."""

from __future__ import annotations

import importlib
import re
import socket
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from commands.running import supervisor
from commands.running.launching import Pair
from flywheel import Flywheel, FlywheelError
from shared.settings.command_line import parse_command_line
from shared.settings.services import LabelerSettings, TrainerSettings
from tests import forks
from tests.services import HOME, free_port, write_photos

pytestmark = pytest.mark.system


@pytest.fixture(autouse=True)
def services_are_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/system/test_up.py starts them in full."""
    monkeypatch.setattr(supervisor, "start_service", supervisor.start_service)  # as it is again afterwards
    forks.use_for_services()


def test_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (HOME / "docs" / "guides" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 6
    with warnings.catch_warnings(action="ignore"):  # what fastai's own imports say of others
        importlib.import_module("fastai.vision.all")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"truth": write_photos(tmp_path / "photos", 90)}
    port = free_port()  # settings are taken, that of the port too
    blocks[0] = blocks[0].replace("trainer={", f'labeler={{"port": {port}}}, trainer={{')
    try:
        for block in blocks[:-1]:
            exec(block, names)
        exec(blocks[-1].replace("flywheel.close()", ""), names)
        assert_sound(names)
    finally:
        if "flywheel" in names:
            names["flywheel"].close()


def assert_sound(names: dict[str, Any]) -> None:
    flywheel, truth = names["flywheel"], names["truth"]
    with Flywheel(workspace="my-project") as found:  # as another notebook finds it
        assert (found.labeler, found.trainer) == (flywheel.labeler, flywheel.trainer)
        assert len(found.labels()) == 90
    assert list(names["curve"].columns)[:4] == ["labels", "accuracy", "low", "high"]
    assert (names["predicted"]["label"] == names["unlabeled"]["uri"].map(truth)).mean() > 0.9
    assert names["looked"] == names["counts"]
    assert names["counts"]["issues"] == []
    assert list(names["changed"]["label_before"].unique()) == [None]
    assert list(flywheel.snapshots().index) == ["by hand"]
    assert list(pd.read_csv("labels.csv")["split"].unique()) == ["train"]
    assert names["counts"]["labels"] == len(names["unlabeled"]) > 30
    assert set(names["test"]["split"]) <= {"test"}
    assert {"prediction", "history"} <= set(names["everything"].columns)
    by_hand = flywheel.labels(status="labeled")
    assert len(by_hand) == 30
    assert dict(zip(names["merged"]["uri"], names["merged"]["label"], strict=True)) == (
        dict.fromkeys(names["others"]["uri"], "red")
        | dict(zip(names["table"]["uri"], names["table"]["label"], strict=True))
    )
    again = flywheel.import_labels(flywheel.labels(), images="photos")  # what was handed back is taken again
    assert (again["rejected"], again["conflict"]) == (0, 0)
    assert set(names["dls"].vocab) <= {"red", "green", "blue"}
    held = flywheel.labels(split="test")
    assert 20 <= len(held) <= 30
    with pytest.raises(FlywheelError, match="no such"):
        flywheel.restore("no such")
    gone = flywheel.import_labels(pd.DataFrame({"uri": ["gone.png"], "label": ["red"]}), report="report.csv")
    assert gone["issues"] == ["line 1: gone.png does not exist"]
    assert "gone.png" in Path("report.csv").read_text()
    classes = ["red", "green", "blue"]
    image = int(held.index[0])
    with pytest.raises(FlywheelError, match="no class 'rde': add it with add_classes=True, or did you mean 'red'"):
        flywheel.label({image: "rde"})
    again = flywheel.import_labels(pd.DataFrame({"uri": [held.loc[image, "uri"]], "label": ["rde"], "split": ["test"]}))
    assert (again["labels"], again["rejected"]) == (0, 1)
    flywheel.label({image: "RED "})
    name = str(held.loc[image, "uri"])
    assert flywheel.label({f"C:\\photos\\{name}": "red", name: "red"}) == {
        "leading folders": (f"C:\\photos\\{name}", name)
    }
    with pytest.raises(FlywheelError, match=r"none\.png matches no image here"):
        flywheel.label({"none.png": "red"})
    assert [each["name"] for each in flywheel._get("/api/project")["classes"]] == classes
    flywheel.label({image: "violet"}, add_classes=True)
    assert [each["name"] for each in flywheel._get("/api/project")["classes"]] == [*classes, "violet"]
    with pytest.raises(FlywheelError, match="columns for image and label"):
        flywheel.import_labels(pd.DataFrame({"uri": ["gone.png"]}))
    with pytest.raises(FlywheelError, match=r"There is no file or folder nowhere\.csv"):
        flywheel.import_labels("nowhere.csv")


def test_a_failed_start_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FlywheelError, match="ended with code 2"):
        Flywheel.launch(tmp_path / "nowhere", tmp_path / "w")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for labeler, named in [
            ({"port": taken.getsockname()[1]}, "is already in use on 127.0.0.1"),
            ({"port": "many"}, "'port' cannot be 'many'"),
            ({"port": 70_000}, "it is at most 65535"),
            ({"buffersize": 3}, "Did you mean 'buffer_size'?"),
            ({"buffer_size": 0}, "'buffer_size'"),
        ]:
            with pytest.raises(FlywheelError, match=re.escape(named)):
                Flywheel.launch(tmp_path, tmp_path / "w", labeler=labeler)


def test_settings_reach_a_service_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    pair = Pair(tmp_path, tmp_path / "w", ["a, b", "c"], {"port": port}, {"backbone_mean": [0.5, 0.5, 0.5]})
    assert pair.labeler == f"http://127.0.0.1:{port}"
    for child in pair.children:
        for name, value in child.environment.items():
            monkeypatch.setenv(name, value)
    labeler = LabelerSettings.load(command_line=parse_command_line(LabelerSettings, pair.children[0].arguments).given)[
        0
    ]
    trainer = TrainerSettings.load(command_line=parse_command_line(TrainerSettings, pair.children[1].arguments).given)[
        0
    ]
    assert labeler.classes == ["a, b", "c"]
    assert (labeler.port, labeler.trainer_url) == (port, pair.trainer)
    assert (trainer.backbone_mean, trainer.labeler_url) == ([0.5] * 3, pair.labeler)


def test_a_missing_service_is_reported() -> None:
    with (
        Flywheel("http://127.0.0.1:9", "http://127.0.0.1:9") as flywheel,
        pytest.raises(FlywheelError, match="refused"),
    ):
        flywheel.labels()
