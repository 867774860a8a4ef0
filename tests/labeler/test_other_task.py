"""A project whose answers are no classes: from the answer to the log, to several people, to files, and back."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labeler.errors import AnnotationRefused
from labeler.service import Service
from shared.log import Fold
from shared.settings.project_file import FILE
from shared.settings.services import SettingsError
from shared.wire.dataset import SnapshotPost
from shared.wire.imports import ImportPost, ImportRow
from shared.wire.log import Undo
from tests.labeler.projects import answer, labeler, photos
from tests.shared.tasks.count import COUNT, registered


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A folder with six photos and a workspace whose project counts objects."""
    photos(tmp_path / "photos", 6)
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / FILE).write_text('task = "count"\n', encoding="utf-8")
    with registered():
        yield tmp_path


def counted(image_id: int, count: Any, who: str = "ann", **values: Any) -> Any:
    return answer(image_id, None, answer=count, annotator=who, **values)


def exported(service: Service) -> dict[int, str]:
    text = b"".join(service.exports.begin("csv")[0]).decode("utf-8-sig")
    return {int(row["id"]): row["label"] for row in csv.DictReader(text.splitlines())}


def test_an_answer_is_checked_kept_undone_and_brought_back(project: Path) -> None:
    with labeler(project, classes=[]) as service:
        assert service.project().task == "count"
        first = counted(1, 3)
        service.annotate([first, counted(2, 0)])
        assert service.annotate([first]).duplicates == 1
        with pytest.raises(AnnotationRefused) as refused:
            service.annotate([counted(3, "many")])
        assert "a count is a whole number from 0 on" in refused.value.fields["invalid"][0]["reason"]
        with pytest.raises(AnnotationRefused, match="1 of the annotations"):
            service.annotate([first.model_copy(update={"answer": 4})])
        assert service.log.fold.labels == {1: 3, 2: 0}
        assert service.project().images.labeled == 2
        service.snapshots.save(SnapshotPost(name="two"))
        service.undo(Undo(id=counted(1, 1).id, annotator="ann"))
        assert service.log.fold.labels == {1: 3}
        service.snapshots.restore("two", "ann")
        assert service.log.fold.labels == {1: 3, 2: 0}
        rows = service.log.page(0, 100).annotations
        assert Fold(rows, COUNT).labels == service.log.fold.labels
    with labeler(project, classes=[]) as again:
        assert again.log.fold.labels == {1: 3, 2: 0}


def test_several_people_agree_on_a_median_or_are_asked_to_settle(project: Path) -> None:
    with labeler(project, classes=[], overlap=3) as service:
        for who, count in (("ann", 2), ("bob", 5), ("eve", 3)):
            service.annotate([counted(1, count, who), counted(2, 4, who)])
        assert service.log.fold.labels == {1: 3, 2: 4}
        service.annotate([counted(3, 1, "ann"), counted(3, 2, "bob")])
        assert service.log.fold.state(3).disputed
        (first,) = service.disagreements.page().items
        assert {(said.annotator, said.name) for said in first.opinions} == {("ann", "2"), ("bob", "5"), ("eve", "3")}
        assert service.disagreements.agreement().agreed == pytest.approx(1 / 3)
        service.annotate([counted(1, 5, "ann", action="settle")])
        assert (service.log.fold.labels[1], service.disagreements.page("settled").settled) == (5, 1)


def test_files_hold_it_in_words(project: Path) -> None:
    with labeler(project, classes=[]) as service:
        service.annotate([counted(1, 3)])
        rows = [ImportRow(line=1, uri="0001.png", label="7"), ImportRow(line=2, uri="0002.png", label="seven")]
        receipt = service.imports.take(ImportPost(rows=rows))
        assert (receipt.labels, receipt.new_classes) == (1, {})
        assert [issue.reason for issue in receipt.rejected] == [
            "is counted as 'seven': a count is a whole number from 0 on"
        ]
        assert {image: label for image, label in exported(service).items() if label} == {1: "3", 2: "7"}
        assert service.imports.take(ImportPost(rows=rows[:1])).known == 1
        opened = service.addresses.open(1, "bob", "tab")
        assert (opened.status, opened.label) == ("labeled", None)


def test_a_task_that_nobody_knows_stops_the_start(project: Path) -> None:
    (project / "workspace" / FILE).write_text('task = "poetry"\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="There is no task 'poetry'"), labeler(project):
        pass
