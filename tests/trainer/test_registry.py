import csv
import json
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.services import HOME
from trainer.registry import Registry, UnknownVersion

TENSORS = {"weights": np.arange(6, dtype=np.float32).reshape(2, 3)}
ROW = {"image_id": 1, "uri": "=evil.jpg", "sha256": "ab", "split": "train", "label": "cat", "class_id": 3}


def test_a_version_can_be_read_without_flywheel(tmp_path):
    Registry(tmp_path).save("first", TENSORS, {"learner": "head"}, [ROW])
    folder = tmp_path / "first"
    assert json.loads((folder / "model.json").read_text())["learner"] == "head"
    with (folder / "dataset.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["label"] == "cat"
    assert row["uri"] == "'=evil.jpg"  # no formula in a spreadsheet


def test_arrays_come_back(tmp_path):
    registry = Registry(tmp_path)
    registry.save("first", TENSORS, {}, [])
    np.testing.assert_array_equal(registry.get("first").tensors()["weights"], TENSORS["weights"])
    assert [version.name for version in registry.list()] == ["first"]


def test_nothing_is_overwritten(tmp_path):
    registry = Registry(tmp_path)
    registry.save("first", TENSORS, {"labels": 1}, [])
    with pytest.raises(FileExistsError, match="never overwritten"):
        registry.save("first", TENSORS, {"labels": 2}, [])
    assert registry.get("first").description["labels"] == 1


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 101])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path, name):
    registry = Registry(tmp_path)
    with pytest.raises(ValueError, match="cannot be called"):
        registry.save(name, TENSORS, {}, [])
    with pytest.raises(UnknownVersion):
        registry.get(name)


def test_a_damaged_file_is_a_clear_error(tmp_path):
    version = Registry(tmp_path).save("first", TENSORS, {}, [])
    (version.folder / "model.safetensors").write_bytes(b"\xff" * 16)
    with pytest.raises(ValueError, match="first"):
        version.tensors()


SAVE_FOR_EVER = """
import os, sys
from pathlib import Path
import numpy as np
from trainer.registry import Registry

registry = Registry(Path(sys.argv[1]))
weights = {"weights": np.zeros((400, 400), np.float32)}
row = {"image_id": 1, "uri": "1.png", "sha256": "ab", "split": "train", "label": "cat", "class_id": 3}
for number in range(100_000):
    registry.save(f"v{os.getpid()}-{number}", weights, {"labels": number}, [row] * 200)
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
    versions = Registry(tmp_path).list()
    assert len(versions) >= 9
    for version in versions:
        assert version.tensors()["weights"].shape == (400, 400)
        assert len((version.folder / "dataset.csv").read_text().splitlines()) == 201
    assert not list(tmp_path.glob(".*.partial"))
