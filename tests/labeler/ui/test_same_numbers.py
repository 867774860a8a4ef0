"""One known state, and every place that shows its numbers: they are the same everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from streamlit.testing.v1 import AppTest

from labeler.api import create_api
from labeler.service import Service
from labeler.ui.figures import curve_csv
from shared.messages import Interval
from tests.labeler.projects import answer, labeler, photos
from tests.labeler.ui.test_confusion import measured

LABELED, IMAGES, TEST_IMAGES = 3, 6, 20


def progress() -> None:
    from labeler.ui import progress

    progress.page()


def finish() -> None:
    from labeler.ui import finish

    finish.page()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    photos(tmp_path / "photos", IMAGES)
    with labeler(tmp_path) as service:
        service.annotate([answer(1, annotator="ann"), answer(2, "dog", annotator="bob"), answer(3, annotator="ann")])
        of_this = {"log_id": service.log.log_id}
        service.evaluate(measured([[1, 0], [0, 0]], ["cat", "dog"], 1).model_copy(update=of_this))
        service.evaluate(measured([[9, 0], [2, 9]], ["cat", "dog"], TEST_IMAGES).model_copy(update=of_this))
        yield service


def words(script: Any) -> str:
    page = AppTest.from_function(script, default_timeout=60).run()
    assert not page.exception
    said = [each.value for each in [*page.markdown, *page.info, *page.subheader, *page.metric]]
    tables = [str(value) for table in page.table for row in table.value.to_dict("records") for value in row.values()]
    return " | ".join([*map(str, said), *tables])


def test_all_places_say_the_same(service: Service) -> None:
    api = TestClient(create_api(service))
    project, curve = (api.get(path).raise_for_status().json() for path in ("/project", "/progress"))
    accuracy = Interval.model_validate(project["accuracy"])
    assert accuracy.n == TEST_IMAGES
    assert curve["evaluations"][-1]["accuracy"] == project["accuracy"]
    assert curve["labels"] == project["images"]["labeled"] == LABELED
    assert sum(split["labeled"] for split in project["splits"].values()) == LABELED
    assert sum(curve["labels_per_class"].values()) == sum(each["labels"] for each in project["classes"]) == LABELED
    assert project["labels_per_minute"] == pytest.approx(sum(each["per_minute"] for each in project["people"]), abs=0.2)

    value, low, high = (f"{each:.1%}" for each in (accuracy.value, accuracy.low, accuracy.high))
    for page in (words(progress), words(finish)):
        for number in (value, low, high, str(TEST_IMAGES)):
            assert number in page
    assert f"{LABELED} of {IMAGES}" in words(progress)
    assert f"{LABELED} labels, with the split" in words(finish)
    assert len(curve_csv(service.evaluations.all()).splitlines()) == 1 + 2  # the pages leave out the one of one image
