"""Exports while people label."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import pytest

from shared.wire.log import Row
from tests.labeler.projects import labeler, photos
from tests.labeler.tasks import SAID, every_task


@every_task
def test_a_label_that_comes_meanwhile_has_its_annotator_and_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path, task=task) as service:
        service.annotate([SAID[task](2, 1)])
        read = service.log.rows_about

        def read_then_label(image_ids: Collection[int]) -> dict[int, list[Row]]:
            found = read(image_ids)
            if service.log.fold.state(1).label is None:
                service.annotate([SAID[task](1, 1)])
            return found

        monkeypatch.setattr(service.log, "rows_about", read_then_label)
        rows = [json.loads(line) for line in b"".join(service.exports.begin("jsonl")[0]).splitlines()]
    told = {row["id"]: (row["status"], row["annotators"], row["labeled_at"] is None) for row in rows}
    assert told == {1: ("labeled", ["ann"], False), 2: ("labeled", ["ann"], False), 3: ("unlabeled", [], True)}
