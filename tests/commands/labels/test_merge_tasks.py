"""Merging projects of several classes per image, and of boxes: nothing is lost, and differences are decided by rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commands.labels.merge import Row, merge, records, run
from flywheel import Flywheel
from labeler.service import Service
from labeler.transfer.sources import open_source
from shared.importing import take_rows
from shared.settings.services import SettingsError
from shared.wire.imports import ImportedAnswer
from shared.wire.log import Annotation
from tests.labeler.projects import answer, boxes, classes, labeler, photo
from tests.shared.tasks.count import COUNT

ONE = ("cat", 2, 2, 20, 20)
NEAR = ("cat", 3, 2, 20, 20)
OTHER = ("dog", 30, 5, 20, 30)
SAID: dict[str, list[list[Annotation]]] = {
    "multilabel": [
        [
            classes(1, ["cat"], ["dog"]),
            classes(2, ["cat"], ["dog"]),
            classes(3, ["dog"]),
            answer(4, None, action="skip"),
        ],
        [
            classes(1, ["cat"], ["dog"], annotator="bob"),
            classes(2, ["dog"], ["cat"], annotator="bob"),
            classes(3, [], ["cat"], annotator="bob"),
        ],
    ],
    "detection": [
        [boxes(1, ONE), boxes(2, ONE), boxes(3, OTHER), answer(4, None, action="skip")],
        [boxes(1, NEAR, annotator="bob"), boxes(2, annotator="bob"), boxes(5, OTHER, ONE, annotator="bob")],
    ],
}
TEXTS: dict[str, dict[str, dict[int, str]]] = {
    "multilabel": {
        "neither": {1: "cat", 3: "dog"},
        "first": {1: "cat", 2: "cat", 3: "dog"},
        "second": {1: "cat", 2: "dog", 3: "dog"},
    },
    "detection": {
        "neither": {1: "1 cat", 3: "1 dog", 5: "1 cat, 1 dog"},
        "first": {1: "1 cat", 2: "1 cat", 3: "1 dog", 5: "1 cat, 1 dog"},
        "second": {1: "1 cat", 2: "nothing here", 3: "1 dog", 5: "1 cat, 1 dog"},
    },
}


def workspaces(tmp: Path, task: str) -> list[Path]:
    found = []
    for side, said in zip("ab", SAID[task], strict=True):
        for number in range(5):
            photo(tmp / side / "photos" / f"{number:04d}.png", number, (64, 48))
        with labeler(tmp / side, task=task) as service:
            service.annotate(said)
        found.append(tmp / side / "workspace")
    return found


def texts(service: Service) -> dict[int, str]:
    fold = service.log.fold
    return {image: str(fold.text(value)) for image, value in sorted(fold.labels.items())}


@pytest.mark.parametrize("prefer", ["neither", "first", "second"])
@pytest.mark.parametrize("task", sorted(SAID))
def test_two_workspaces_become_one_file_that_a_third_imports(tmp_path: Path, task: str, prefer: Any) -> None:
    first, second = workspaces(tmp_path, task)
    images = run(first, second, tmp_path / "merged.jsonl", prefer)
    assert [image.uri for image in images if image.conflict] == ["0001.png"]
    for number in range(5):
        photo(tmp_path / "c" / "photos" / f"{number:04d}.png", number, (64, 48))
    with labeler(tmp_path / "c", task=task, overlap=2) as service:
        source = open_source(tmp_path / "merged.jsonl", task=task)
        done = take_rows(source.rows(), tmp_path / "c" / "photos", service.imports.take, vocabulary=source.vocabulary())
        assert (done.counts["rejected"], texts(service)) == (0, TEXTS[task][prefer])
        fold = service.log.fold
        assert (fold.state(2).disputed, fold.state(4).status) == (prefer == "neither", "skipped")
        assert set(fold.votes(1)) == {"ann", "bob"}
    table = Flywheel.merge(first, second, prefer=prefer)
    assert ("boxes" in table.columns, "absent" in table.columns) == (task == "detection", task == "multilabel")


def test_a_merge_with_itself_keeps_every_answer_once(tmp_path: Path) -> None:
    first, _ = workspaces(tmp_path, "detection")
    run(first, first, tmp_path / "merged.jsonl", "neither")
    rows = [json.loads(line) for line in (tmp_path / "merged.jsonl").read_text().splitlines()]
    assert [row["boxes"] and [box["label"] for box in row["boxes"]] for row in rows][:3] == [["cat"], ["cat"], ["dog"]]
    assert rows[3]["status"] == "skipped"


def counted(annotator: str, number: str) -> ImportedAnswer:
    return ImportedAnswer(action="label", label=number, annotator=annotator)


def test_a_new_task_combines_its_own_answers() -> None:
    mine = [Row("a.png", [counted("ann", "3"), counted("bob", "5")]), Row("b.png", [counted("ann", "7")])]
    theirs = [Row("a.png", [counted("cid", "4")])]
    first, second = records(merge(mine, theirs, task=COUNT), "neither")
    assert (first["label"], len(first["history"]), second["label"]) == ("4", 3, "7")
    with pytest.raises(SettingsError, match="a count is a whole number"):
        merge([Row("a.png", [counted("ann", "many")])], [], task=COUNT)


def test_an_impossible_merge_is_refused_with_a_reason(tmp_path: Path) -> None:
    first, _ = workspaces(tmp_path, "detection")
    (tmp_path / "labels.csv").write_text("file,label\n0000.png,cat\n")
    (tmp_path / "shares.csv").write_text("file,label,x,y,w,h\n0000.png,cat,0.1,0.1,0.5,0.5\n")
    with pytest.raises(SettingsError, match="has no columns for boxes"):
        run(first, tmp_path / "labels.csv", tmp_path / "out.jsonl", "first")
    with pytest.raises(SettingsError, match="shares of the image, which a merge cannot compare"):
        run(first, tmp_path / "shares.csv", tmp_path / "out.jsonl", "first")
    with pytest.raises(SettingsError, match="is a detection project, whose answers cannot be merged into those of"):
        run(first, tmp_path / "labels.csv", tmp_path / "out.jsonl", "first", task="classification")
    with pytest.raises(SettingsError, match="--task is one of classification, multilabel, detection"):
        run(tmp_path / "labels.csv", tmp_path / "labels.csv", tmp_path / "out.jsonl", "first", task="boxes")
    assert not (tmp_path / "out.jsonl").exists()
