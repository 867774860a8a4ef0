"""What both sides say is said once, a rule decides where they differ, and what was measured with is never learned."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.merge import ORDER, Row, merge, run
from flywheel import Flywheel, FlywheelError
from labeler.formats.sources import open_source
from shared.messages import ImportPost, ImportRow
from shared.settings import SettingsError
from tests.labeler.projects import answer, labeler, photos
from tests.services import HOME

ROWS = st.lists(
    st.builds(
        Row,
        uri=st.sampled_from("abcd"),
        label=st.sampled_from(["cat", "dog", None]),
        split=st.sampled_from(ORDER),
        annotator=st.sampled_from([None, "ann"]),
    ),
    max_size=8,
)


def labels(rows: list[Row]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row.uri, set()).update({row.label} - {None})
    return found


@given(first=ROWS, second=ROWS)
def test_what_is_kept_and_where(first: list[Row], second: list[Row]) -> None:
    images = {image.uri: image for image in merge(first, second)}
    one, other = labels(first), labels(second)
    assert images.keys() == one.keys() | other.keys()
    for uri, image in images.items():
        splits = [row.split for row in first + second if row.uri == uri]
        assert image.split == max(splits, key=ORDER.index)
        assert set(image.labels("first")) == (one.get(uri) or other.get(uri) or set())
        assert set(image.labels("second")) == (other.get(uri) or one.get(uri) or set())
        assert set(image.labels("neither")) == one.get(uri, set()) | other.get(uri, set())
        assert image.conflict == bool(one.get(uri) and other.get(uri) and one[uri] != other[uri])
        assert (image.unlabeled is not None) == any(row.label is None for row in first + second if row.uri == uri)


@given(ROWS)
def test_with_itself_nothing_changes(rows: list[Row]) -> None:
    assert [set(image.labels("neither")) for image in merge(rows, rows)] == list(labels(rows).values())
    assert not any(image.conflict for image in merge(rows, rows))


def test_two_workspaces_by_content_and_a_manifest_by_name(tmp_path: Path) -> None:
    for name, prefix in (("one", ""), ("two", "renamed-")):
        photos(tmp_path / name / "photos", 4)
        for file in (tmp_path / name / "photos").iterdir():
            file.rename(file.with_name(prefix + file.name))
    with labeler(tmp_path / "one") as service:
        service.annotate([answer(1, "cat"), answer(2, "cat"), answer(3, "dog")])
    with labeler(tmp_path / "two") as service:
        service.catalog.move([1], "test")
        service.annotate([answer(1, "cat", annotator="bob"), answer(2, "dog", annotator="bob"), answer(4, "dog")])
    target = tmp_path / "merged.jsonl"
    images = run(tmp_path / "one" / "workspace", tmp_path / "two" / "workspace", target, "neither")
    assert sum(image.conflict for image in images) == 1
    rows: list[Any] = [json.loads(line) for line in target.read_text().splitlines()]
    assert [(row["uri"], row["label"]) for row in rows] == [
        ("0000.png", "cat"),
        ("0001.png", "dog"),
        ("0001.png", "cat"),
        ("0002.png", "dog"),
        ("renamed-0003.png", "dog"),
    ]
    assert rows[0]["split"] == "test"
    photos(tmp_path / "three" / "photos", 3)
    with labeler(tmp_path / "three") as service:
        taken = [row for row in open_source(target).rows() if isinstance(row, ImportRow)]
        receipt = service.imports.take(ImportPost(rows=taken))
        assert len(receipt.conflicts) == 1  # open until somebody decides
        assert [service.log.fold.state(image).label for image in (1, 2, 3)] == [1, None, 2]
        assert service.tally.splits[1] == "test"


def test_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("uri,label\nx.png,cat\ny.png,cat\n")
    (tmp_path / "b.csv").write_text("uri,label\nx.png,dog\n")
    command = [sys.executable, str(HOME / "flywheel.py"), "merge", "a.csv", "b.csv", "c.jsonl", "--prefer", "second"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "2 images, 1 of them with different labels" in done.stdout
    assert [json.loads(line)["label"] for line in (tmp_path / "c.jsonl").read_text().splitlines()] == ["dog", "cat"]
    with pytest.raises(SettingsError, match="first, second, neither"):
        run(tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "d.jsonl", "newest")
    (tmp_path / "b.csv").write_text("uri,label,split\nx.png,dog,later\n")
    with pytest.raises(SettingsError, match="line 2"):
        run(tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "d.jsonl", "first")
    assert not (tmp_path / "d.jsonl").exists()


def test_one_name_for_two_images_is_refused() -> None:
    """Their labels would be mixed up."""
    first, second = (Row("IMG_0001.jpg", label, sha256=label) for label in ("cat", "dog"))
    with pytest.raises(SettingsError, match=r"IMG_0001\.jpg, but not the same image"):
        merge([first], [second])


def test_tables_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos(tmp_path / "photos", 3))
    with labeler(tmp_path) as service:
        service.annotate([answer(1, "cat"), answer(2, None, action="flag")])
    table = pd.DataFrame({"uri": ["0000.png", "0002.png"], "label": ["dog", "dog"], "split": ["test", None]})
    merged = Flywheel.merge(tmp_path / "workspace", table, prefer="second")
    assert merged[["uri", "label", "split", "status"]].fillna("").values.tolist() == [
        ["0000.png", "dog", "test", "labeled"],
        ["0001.png", "", "train", "flagged"],
        ["0002.png", "dog", "", "labeled"],
    ]
    assert list(Flywheel.merge(merged, merged)["label"].fillna("")) == ["dog", "", "dog"]
    with pytest.raises(FlywheelError, match=r"line 1: .* names no image"):
        Flywheel.merge(merged, pd.DataFrame({"uri": [None], "label": ["cat"]}))
    with pytest.raises(FlywheelError, match="first, second, neither"):
        Flywheel.merge(merged, merged, prefer="third")


def test_what_one_side_leaves_open_stays_open(tmp_path: Path) -> None:
    said = [
        {"action": "label", "label": label, "annotator": who, "counts": counts}
        for label, who, counts in (("cat", "ann", True), ("dog", "bob", True), ("dog", "cem", False))
    ]
    table = pd.DataFrame({"uri": ["x.png"], "label": [None], "status": ["unlabeled"], "history": [said]})
    merged = Flywheel.merge(table, pd.DataFrame({"uri": ["y.png"], "label": ["cat"]}))
    assert merged[["uri", "label", "annotator"]].fillna("").values.tolist() == [
        ["x.png", "cat", "ann"],
        ["x.png", "dog", "bob"],
        ["y.png", "cat", ""],
    ]
