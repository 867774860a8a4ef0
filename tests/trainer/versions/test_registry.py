import csv
import json
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.services import HOME
from tests.trainer.descriptions import description
from trainer.versions.registry import RefusedVersion, Registry, StillNeeded, UnknownVersion

TENSORS = {"weights": np.arange(6, dtype=np.float32).reshape(2, 3)}
ROW = {"image_id": 1, "uri": "=evil.jpg", "sha256": "ab", "split": "train", "label": "cat", "class_id": 3}


def test_a_version_can_be_read_without_flywheel(tmp_path):
    Registry(tmp_path).save("first", TENSORS, description(), [ROW])
    folder = tmp_path / "first"
    assert json.loads((folder / "model.json").read_text())["learner"] == "head"
    with (folder / "dataset.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["label"] == "cat"
    assert row["uri"] == "'=evil.jpg"  # no formula in a spreadsheet


def test_arrays_come_back(tmp_path):
    registry = Registry(tmp_path)
    registry.save("first", TENSORS, description(), [])
    np.testing.assert_array_equal(registry.get("first").tensors()["weights"], TENSORS["weights"])
    assert [version.name for version in registry.list()[0]] == ["first"]


def test_nothing_is_overwritten(tmp_path):
    registry = Registry(tmp_path)
    registry.save("first", TENSORS, description(labels=1), [])
    with pytest.raises(FileExistsError, match="never overwritten"):
        registry.save("first", TENSORS, description(labels=2), [])
    assert registry.get("first").description.labels == 1
    with pytest.raises(FileExistsError, match="'first' already"):
        registry.save("First", TENSORS, description(labels=2), [])  # both names are one folder on a Mac and on Windows


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "x" * 101, "now", "CON", "nul.1", "v1."])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path, name):
    registry = Registry(tmp_path)
    with pytest.raises(ValueError, match="cannot be called"):
        registry.save(name, TENSORS, description(), [])
    with pytest.raises(UnknownVersion):
        registry.get(name)


def test_an_empty_name_is_asked_for(tmp_path):
    with pytest.raises(ValueError, match="needs a name"):
        Registry(tmp_path).save("", TENSORS, description(), [])


def test_a_damaged_file_is_a_clear_error(tmp_path):
    version = Registry(tmp_path).save("first", TENSORS, description(), [])
    (version.folder / "model.safetensors").write_bytes(b"\xff" * 16)
    with pytest.raises(RefusedVersion, match="first"):
        version.tensors()


def test_a_version_says_how_large_it_is_and_what_it_was_made_from(tmp_path):
    version = Registry(tmp_path).save("second", TENSORS, description(parent="first"), [])
    said = Registry(tmp_path).get("second").description
    assert (said.parent, said.parameters) == ("first", 6)
    assert said.bytes == version.model_file.stat().st_size
    assert "promoted" not in json.loads((version.folder / "model.json").read_text())


def test_the_dataset_comes_back_as_it_was(tmp_path):
    rows = [{**ROW, "image_id": number, "uri": uri} for number, uri in enumerate(["a.png", "=evil", "'quoted", "-x"])]
    version = Registry(tmp_path).save("first", TENSORS, description(), rows)
    assert [row["uri"] for row in version.dataset()] == ["a.png", "=evil", "'quoted", "-x"]


def test_a_file_that_was_changed_is_refused(tmp_path):
    version = Registry(tmp_path).save("first", TENSORS, description(), [])
    content = bytearray(version.model_file.read_bytes())
    content[-1] ^= 1
    version.model_file.write_bytes(content)
    with pytest.raises(RefusedVersion, match="checksum"):
        version.tensors()


@pytest.mark.parametrize(
    ("content", "named"),
    [("{", "cannot be read"), ('{"format": 1}', "learner"), ("[]", "cannot be read"), ("\ud800", "cannot be read")],
)
def test_a_broken_description_is_told_and_hides_no_other(tmp_path, content, named):
    registry = Registry(tmp_path)
    registry.save("good", TENSORS, description(), [])
    bad = registry.save("bad", TENSORS, description(), [])
    (bad.folder / "model.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    found, refused = registry.list()
    assert [version.name for version in found] == ["good"]
    assert [each.version for each in refused] == ["bad"]
    assert named in refused[0].reason
    registry.delete("bad")  # a broken version can still be deleted
    assert registry.list()[1] == []


def test_a_newer_format_is_not_guessed_at(tmp_path):
    version = Registry(tmp_path).save("first", TENSORS, description(), [])
    path = version.folder / "model.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(RefusedVersion, match="newer Flywheel"):
        Registry(tmp_path).get("first")


def test_promoting_and_rolling_back(tmp_path):
    registry = Registry(tmp_path)
    for name in ("first", "second"):
        registry.save(name, TENSORS, description(), [])
    assert registry.promoted is None
    with pytest.raises(ValueError, match="no earlier promotion"):
        registry.roll_back()
    registry.promote("first")
    registry.promote("second")
    registry.promote("second")  # a second time changes nothing
    assert Registry(tmp_path).promoted == "second"
    assert registry.roll_back() == "first"
    registry.promote(None)
    assert registry.promoted is None
    assert registry.roll_back() == "first"
    assert registry.roll_back() is None
    with pytest.raises(UnknownVersion, match=r"There is no model version 'third'\. Choose one of second, first\."):
        registry.promote("third")


def test_a_needed_version_is_not_deleted(tmp_path):
    registry = Registry(tmp_path)
    registry.save("parent", TENSORS, description(), [])
    registry.save("child", TENSORS, description(parent="parent"), [])
    registry.promote("child")
    with pytest.raises(StillNeeded, match="parent of 'child'"):
        registry.delete("parent")
    with pytest.raises(StillNeeded, match="promoted"):
        registry.delete("child")
    registry.promote(None)
    with pytest.raises(StillNeeded, match="names it"):
        registry.delete("child", also_needed={"child": "The finish page names it."})
    registry.delete("child")
    registry.delete("parent")
    with pytest.raises(UnknownVersion):
        registry.delete("parent")
    assert [path.name for path in tmp_path.iterdir()] == ["promoted.json"]


SAVE_FOR_EVER = """
import os, sys
from pathlib import Path
import numpy as np
from tests.trainer.descriptions import description
from trainer.versions.registry import Registry

registry = Registry(Path(sys.argv[1]))
weights = {"weights": np.zeros((400, 400), np.float32)}
row = {"image_id": 1, "uri": "1.png", "sha256": "ab", "split": "train", "label": "cat", "class_id": 3}
for number in range(100_000):
    registry.save(f"v{os.getpid()}-{number}", weights, description(labels=number), [row] * 200)
"""


def test_a_kill_leaves_whole_versions_or_none(tmp_path):
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", SAVE_FOR_EVER, str(tmp_path)], cwd=HOME)
        deadline = time.monotonic() + 60
        before = len(list(tmp_path.glob("v*")))
        while len(list(tmp_path.glob("v*"))) < before + 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.05))
        process.kill()
        process.wait()
    versions = Registry(tmp_path).list()[0]
    assert len(versions) >= 9
    for version in versions:
        assert version.tensors()["weights"].shape == (400, 400)
        assert len((version.folder / "dataset.csv").read_text().splitlines()) == 201
    assert not list(tmp_path.glob(".*.partial"))
