"""Datasets of the Hub become folders that import reads. The tests use folders laid out as the Hub's, and no Hub."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value
from typer.testing import CliRunner

import flywheel
from commands.labels.hub import load, write
from labeler.transfer.sources import open_source
from shared.settings.services import SettingsError
from shared.wire.imports import ImportRow
from tests.labeler.projects import photo
from tests.services import HOME


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def fetch(*words: object) -> str:
    done = CliRunner().invoke(flywheel.app, ["fetch", *map(str, words)], env={"COLUMNS": "300"})
    if done.exception:
        raise done.exception
    return done.output


def rows(folder: Path) -> list[tuple[str, str | None, str | None]]:
    """What import reads: the content, label and split of each picture."""
    return [
        ((folder / row.uri).read_bytes().hex(), row.label, row.split)
        for row in open_source(folder).rows()
        if isinstance(row, ImportRow)
    ]


def test_a_folder_per_class(tmp_path: Path) -> None:
    given = [
        (photo(tmp_path / "hub" / split / label / f"{n}.png", n).read_bytes().hex(), label, ours)
        for n, (split, label, ours) in enumerate(
            [("train", "cat", "train"), ("train", "dog", "train"), ("test", "cat", "test"), ("test", "dog", "test")]
        )
    ]
    assert "4 images" in fetch(tmp_path / "hub", tmp_path / "out")
    assert sorted(rows(tmp_path / "out")) == sorted(given)
    fetch(tmp_path / "hub", tmp_path / "one", "--split", "test")
    assert sorted(rows(tmp_path / "one")) == sorted(given[2:])


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two configurations of parquet with the pictures inside, the second without names of its classes."""
    folder = tmp_path / "hub"
    data = [photo(tmp_path / f"{n}.png", n).read_bytes() for n in range(3)]
    pictures = [{"bytes": each, "path": None} for each in data]
    kinds = Features({"picture": Image(), "fine": ClassLabel(names=["a/b", "cat"]), "coarse": ClassLabel(names=["x"])})
    columns = {"picture": pictures, "fine": [1, 0, -1], "coarse": [0, 0, 0]}
    Dataset.from_dict(columns, features=kinds).to_parquet(folder / "big" / "train-00000-of-00001.parquet")
    kinds = Features({"picture": Image(), "label": Value("string")})
    Dataset.from_dict({"picture": pictures, "label": ["x", None, "y"]}, features=kinds).to_parquet(
        folder / "small" / "validation-00000-of-00001.parquet"
    )
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: big\n  data_files: big/*.parquet\n"
        "- config_name: small\n  data_files:\n  - split: validation\n    path: small/*.parquet\n---\n"
    )
    return folder


def test_parquet_with_configurations(tmp_path: Path, shards: Path) -> None:
    fetch(shards, tmp_path / "big", "--config", "big", "--label", "fine")
    assert [row[1:] for row in rows(tmp_path / "big")] == [("cat", "train"), ("a/b", "train")]
    assert len(list((tmp_path / "big").rglob("*.png"))) == 3  # what has no label comes along
    fetch(shards, tmp_path / "small", "--config", "small")
    assert [row[1:] for row in rows(tmp_path / "small")] == [("x", "validation"), ("y", "validation")]


def test_from_python(tmp_path: Path, shards: Path) -> None:
    folder = flywheel.Flywheel.fetch(str(shards), tmp_path / "big", config="big", label="fine")
    assert [row[1:] for row in rows(folder)] == [("cat", "train"), ("a/b", "train")]
    with pytest.raises(flywheel.FlywheelError, match=r"is not a folder\. A dataset of the Hub is written as hf://"):
        flywheel.Flywheel.fetch("nowhere", tmp_path / "out")
    with pytest.raises(flywheel.FlywheelError, match="already exists"):
        flywheel.Flywheel.fetch(str(shards), tmp_path / "big", config="small")


def test_impossible_input_is_refused_and_leaves_no_file(tmp_path: Path, shards: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "file").touch()
    for words, said in [
        ((tmp_path / "nowhere", out), "not a folder"),
        ((shards, out), "big"),  # the library lists the configurations
        ((shards, out, "--config", "huge"), "huge"),
        ((shards, out, "--config", "big"), "--label: picture, fine, coarse"),
        ((shards, out, "--config", "big", "--label", "nothing"), "--label: picture, fine, coarse"),
        ((shards, out, "--config", "small", "--split", "test"), "it has validation"),
        ((shards, tmp_path, "--config", "small"), "already exists"),
        ((shards, tmp_path / "file" / "where", "--config", "small"), "is a file, so name another place"),
    ]:
        with pytest.raises(SettingsError, match=said):
            fetch(*words)
    assert not out.exists()
    assert not list(tmp_path.glob(".*.partial"))
    assert write(load(str(shards), "small"), out) == 3


def test_an_unreachable_hub_is_reported(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flywheel", "fetch", "hf://nobody/nothing", str(tmp_path / "out")],
        cwd=HOME,
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert "hf://nobody/nothing cannot be loaded" in done.stderr
    assert "HF_HUB_OFFLINE is set" in done.stderr
    assert "Traceback" not in done.stderr
