"""One known state, and every place in the labeler that shows its numbers: they are the same everywhere.

The state has labels, skips, a flag, test images, corrections and two people. What the pages draw in the browser, the
commands and the trainer's own numbers are compared in `tests/browser/test_models.py`.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from streamlit.testing.v1 import AppTest

from labeler.service import Service
from labeler.ui.charts.progress_charts import curve_csv
from labeler.web.api import create_api
from labeler.web.metrics import prometheus_text
from shared.wire.evaluation import Evaluation, Interval
from shared.wire.project import ClassPatch
from tests.labeler.projects import answer, labeler, photos
from tests.labeler.ui.charts.test_confusion import measured

IMAGES, TESTED = 30, 20
Known = dict[str, Any]


def progress() -> None:
    from labeler.ui import progress

    progress.page()


def finish() -> None:
    from labeler.ui import finish

    finish.page()


def data() -> None:
    from labeler.ui import data

    data.page()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    photos(tmp_path / "photos", IMAGES)
    with labeler(tmp_path, test_set_frac=0.3) as service:
        service.annotate([answer(each, "cat" if each % 3 else "dog", annotator="ann") for each in range(1, 16)])
        service.annotate([answer(each, None, action="skip", annotator="bob") for each in (16, 17)])
        service.annotate([answer(18, None, action="flag", annotator="bob"), answer(19, annotator="bob")])
        service.annotate([answer(1, "dog", annotator="ann")])  # a correction
        service.annotate([answer(2, "dog", action="settle", annotator="bob")])
        service.annotate([answer(4, None, action="skip", annotator="ann")])  # a label that became a skip
        for confusion, images in (([[1, 0], [0, 0]], 1), ([[9, 0], [2, 9]], TESTED)):
            service.evaluate(of_this(service, measured(confusion, ["cat", "dog"], images)))
        yield service


def of_this(service: Service, evaluation: Evaluation) -> Evaluation:
    """The evaluation as one of this project and its classes."""
    ids = {each.name: each.id for each in service.classes.entries()}
    classes = [each.model_copy(update={"label": ids[each.name]}) for each in evaluation.classes]
    return evaluation.model_copy(update={"log_id": service.log.log_id, "classes": classes})


@pytest.fixture
def known(service: Service) -> Known:
    """What the database says, counted here from its rows: the last answer about an image is what it is."""
    path = service.settings.workspace / "flywheel.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        rows = database.execute(
            "SELECT image_id, action, label, annotator FROM annotation WHERE image_id IS NOT NULL ORDER BY seq"
        ).fetchall()
        splits = dict(database.execute("SELECT id, split FROM image").fetchall())
        classes = dict(database.execute("SELECT label, name FROM annotation WHERE action = 'class_added'").fetchall())
    now = {image: (action, label) for image, action, label, _ in rows}
    labels = {image: classes[label] for image, (_, label) in now.items() if label is not None}
    train = {image for image, split in splits.items() if split == "train"}
    return {
        "labels": labels,
        "train": train,
        "skipped": {image for image, (action, _) in now.items() if action == "skip"},
        "flagged": {image for image, (action, _) in now.items() if action == "flag"},
        "per_class": Counter(labels.values()),
        "answers": Counter(who for _, action, _, who in rows if action != "settle"),
    }


def words(script: Any) -> str:
    page = AppTest.from_function(script, default_timeout=60).run()
    assert not page.exception
    said = [each.value for each in [*page.markdown, *page.info, *page.subheader, *page.metric]]
    tables = [str(value) for table in page.table for row in table.value.to_dict("records") for value in row.values()]
    return " | ".join([*map(str, said), *tables])


def test_every_route_counts_what_the_database_holds(service: Service, known: Known) -> None:
    api = TestClient(create_api(service))
    project, curve = (api.get(path).raise_for_status().json() for path in ("/project", "/progress"))
    labels, train = known["labels"], known["train"]
    held = set(labels) - train
    assert held  # else nothing is compared
    parts = {"labeled": labels.keys(), "skipped": known["skipped"], "flagged": known["flagged"]}
    unlabeled = IMAGES - sum(map(len, parts.values()))
    counts = {name: len(images) for name, images in parts.items()} | {"total": IMAGES, "unlabeled": unlabeled}
    assert project["images"] == counts
    for name, count in counts.items():
        assert sum(split[name] for split in project["splits"].values()) == count
    per_class = {each["name"]: each["labels"] for each in project["classes"]}
    assert per_class == known["per_class"] == curve["labels_per_class"]
    assert curve["labels"] == len(labels) == api.get("/history").json()[-1]["labels"]
    assert api.get("/export/count").json()["labeled"] == len(labels)
    assert len([row for row in api.get("/export").text.splitlines() if row.endswith(",labeled")]) == len(labels)
    people = {each["name"]: each["answers"] for each in api.get("/people").json()}
    assert people == known["answers"] == {each["name"]: each["answers"] for each in project["people"]}
    assert project["labels_per_minute"] == pytest.approx(sum(each["per_minute"] for each in project["people"]), abs=0.2)
    assert curve["evaluations"][-1]["accuracy"] == project["accuracy"]
    metrics = prometheus_text(service).decode()
    for status in ("labeled", "skipped", "flagged", "unlabeled"):
        assert f'flywheel_labeler_images{{status="{status}"}} {counts[status]:.1f}' in metrics
    assert f'flywheel_labeler_labeled_images{{split="test"}} {len(held):.1f}' in metrics

    for status in ("labeled", "skipped", "flagged", "unlabeled", "any"):  # the grid shows none that is held out
        shown = api.get("/grid", params={"status": status}).json()["total"]
        assert shown == project["splits"]["train"]["total" if status == "any" else status]
    for entry in project["classes"]:
        shown = api.get("/grid", params={"label": entry["id"], "status": "labeled"}).json()["image_ids"]
        assert len(shown) == entry["labels"] - sum(labels[each] == entry["name"] for each in held)


def test_open_pages_are_told_what_the_project_says(service: Service) -> None:
    """Card, bar, Grid, Map and Review draw their numbers from these news."""
    news, project = service.state.snapshot(), service.project().model_dump(mode="json")
    for name in ("images", "splits", "classes", "accuracy", "target"):
        assert news[name] == project[name]
    assert {each["name"]: each["answers"] for each in news["people"]} == {
        each["name"]: each["answers"] for each in project["people"]
    }


def test_the_pages_say_them(service: Service, known: Known) -> None:
    labeled = len(known["labels"])
    accuracy = Interval.model_validate(service.project().accuracy)
    assert accuracy.n == TESTED
    value, low, high = (f"{each:.1%}" for each in (accuracy.value, accuracy.low, accuracy.high))
    progressed, finished = words(progress), words(finish)
    for page in (progressed, finished):
        for number in (value, low, high, str(TESTED)):
            assert number in page
    assert f"{labeled} of {IMAGES}" in progressed
    assert f"{labeled} labels, with the split" in finished
    assert f"**{IMAGES}** photos, **{labeled}** of them labeled" in words(data)
    for name, count in known["per_class"].items():
        assert re.search(rf"\b{name} \| {count} \| ", progressed)
    for name, count in known["answers"].items():
        assert f"{name} | {count} | " in progressed
    assert len(curve_csv(service.evaluations.all()).splitlines()) == 1 + 2  # the pages leave out the one of one image


def test_a_renamed_class_keeps_its_labels_on_progress(service: Service, known: Known) -> None:
    (dog,) = (each.id for each in service.classes.entries() if each.name == "dog")
    service.classes.change(dog, ClassPatch(name="hound"))
    assert re.search(rf"\bhound \| {known['per_class']['dog']} \| ", words(progress))
