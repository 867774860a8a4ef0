"""The page Progress as Streamlit runs it: before anything is measured, with an evaluation, and in trouble."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from labeler.service import Service
from shared.settings.project_file import FILE
from shared.wire.evaluation import CalibrationBin, Interval
from shared.wire.fields import TrainerState
from shared.wire.imports import ImportPost, ImportRow
from shared.wire.trainer import Downloading, EmbeddingProgress, Tracking, TrainerStatus
from tests.labeler.projects import answer, boxes, classes, labeler, photos
from tests.labeler.ui.charts.test_box_figures import of_boxes
from tests.labeler.ui.charts.test_confusion import measured
from tests.labeler.ui.charts.test_own_figures import of_counts
from tests.labeler.ui.charts.test_several_classes import of_several
from tests.shared.tasks.count import registered


def script() -> None:
    from labeler.ui import progress

    progress.page()


def states_script() -> None:
    import streamlit as st

    from labeler import service
    from labeler.ui.sections import waiting
    from shared.wire.trainer import TrainerStatus

    waiting.show(service.current().project(), TrainerStatus.model_validate(st.session_state["status"]))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    photos(tmp_path / "photos", 6)
    with labeler(tmp_path) as service:
        yield service


def opened() -> AppTest:
    page = AppTest.from_function(script, default_timeout=60).run()
    assert not page.exception
    return page


def words(page: AppTest) -> str:
    return " ".join(each.value for each in [*page.markdown, *page.info, *page.subheader, *page.warning, *page.error])


def test_with_several_classes_an_image_the_page_has_the_metrics_of_that_task(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 6)
    with labeler(tmp_path, task="multilabel", classes=["cat", "dog"]) as service:
        assert "Give the first one on the page Label" in words(opened())
        cat, dog = (entry.id for entry in service.classes.entries())
        service.annotate([classes(1, [cat, dog], annotator="ann")])
        service.evaluate(of_several(20).model_copy(update={"log_id": service.log.log_id}))
        page = opened()
        assert [each.label for each in page.metric] == ["Labeled", "Macro F1", "Exact match", "Labels per minute"]
        assert [each.value for each in page.metric][1:3] == ["60.0%", "30.0%"]
        said = words(page)
        for part in ("micro F1 **70.0%**", "cat missed, dog predicted instead: [3](/grid?label=1&predicted=2) of 8"):
            assert part in said, part
        assert "Confusion matrix" not in said
        assert "Not learned yet: dog" in " ".join(each.value for each in page.caption)
        page.button_group[0].set_value("exact_match").run()
        assert not page.exception


def test_a_project_of_boxes_has_the_metrics_of_that_task(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 6)
    with labeler(tmp_path, task="detection", classes=["cell", "dust"], test_set_frac=0.5) as service:
        assert "mAP is measured on test images" in words(opened())
        service.annotate([boxes(1, ("cell", 1, 1, 9, 9), annotator="ann")])
        service.evaluate(of_boxes(20).model_copy(update={"log_id": service.log.log_id}))
        page = opened()
        assert [each.value for each in page.metric][1:3] == ["70.0%", "40.0%"]
        said = words(page)
        for part in (
            "mAP at IoU 0.5 **70.0%**",
            "dust suggested as cell: 2 of 3 test boxes",
            "Labeled images by class",
            "Pictures of mistakes",
        ):
            assert part in said, part
        assert "Accuracy" not in said
        page.button_group[0].set_value("map_50_95").run()
        assert not page.exception


def test_a_task_with_its_own_metrics_has_these(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 6)
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / FILE).write_text('task = "count"\n', encoding="utf-8")
    with registered(), labeler(tmp_path, classes=[], test_set_frac=0.5) as service:
        assert "Mean error is measured on test images" in words(opened())
        service.annotate([answer(1, None, answer=3, annotator="ann")])
        service.evaluate(of_counts(12).model_copy(update={"log_id": service.log.log_id}))
        page = opened()
        assert [(each.label, each.value) for each in page.metric][1:2] == [("Mean error", "0.400")]
        said = words(page)
        assert "Mean error **0.400** (0.200 – 0.600), Share within one **0.800** (0.700 – 0.900)" in said
        assert "1 label." in said
        for part in ("Accuracy", "Confusion", "the model is right on", "class"):
            assert part not in said, part
        page.button_group[0].set_value("within_one").run()
        assert not page.exception


def test_before_the_first_label_the_page_says_what_to_do_and_that_nobody_learns(service: Service) -> None:
    page = opened()
    assert "Give the first one on the page Label" in words(page)
    assert "Trainer not reachable" in words(page)
    assert "no image is a test image" in words(page)  # none is set apart in this project
    assert not page.download_button


def test_an_evaluation_brings_every_figure(service: Service) -> None:
    service.annotate([answer(1, annotator="ann"), answer(2, "dog", annotator="bob"), answer(3, annotator="ann")])
    bins = [CalibrationBin(low=0.9, high=1.0, confidence=0.95, accuracy=Interval(value=0.9, low=0.7, high=1, n=20))]
    update = {"log_id": service.log.log_id, "calibration": bins, "timings": {"fit": 5.0, "evaluate": 9.0}}
    service.evaluate(measured([[5, 0], [2, 9]], ["cat", "dog"]).model_copy(update=update))
    page = opened()
    said = words(page)
    for part in (
        "the model is right on",
        "Calibration",
        "Confusion matrix",
        "Time per round",
        "training images",
    ):
        assert part in said, part
    assert [button.label for button in page.download_button] == ["Download curve (CSV)"]
    assert "/grid?label=11&amp;predicted=10" in page.get("html")[0].proto.body
    assert any("ann" in str(table.value) and "bob" in str(table.value) for table in page.table)


def test_imported_labels_are_told_apart_from_those_given_here(service: Service) -> None:
    service.annotate([answer(1), answer(2, "dog")])
    assert "given here" not in words(opened())  # as all are
    rows = [ImportRow(line=line, uri=f"{line:04d}.png", label="cat", split="train") for line in (3, 4, 5)]
    service.imports.take(ImportPost(rows=rows))
    page = opened()
    assert "5 labels: 2 given here, 3 imported." in words(page)
    assert "Labels by class" in words(page)


def test_an_active_test_says_what_is_weighted_and_what_is_left_out(service: Service) -> None:
    update = {"log_id": service.log.log_id, "active": True, "macro_f1": None, "log_loss": None}
    service.evaluate(measured([[5, 0], [2, 9]], ["cat", "dog"]).model_copy(update=update))
    said = words(opened())
    for part in ("each answer is weighted for it", "F1, log loss and calibration are left out", "Confusion matrix"):
        assert part in said, part
    assert "random labels" not in said


def test_the_curve_does_not_begin_before_ten_test_labels(service: Service) -> None:
    service.evaluate(measured([[5, 0], [2, 2]], ["cat", "dog"], 9).model_copy(update={"log_id": service.log.log_id}))
    page = opened()
    assert "Not measured yet: 9 of 10 labeled test images" in words(page)
    assert [each.value for each in page.metric if each.label == "Accuracy"] == ["–"]
    assert not page.download_button
    assert "the model is right on" not in words(page)
    service.evaluate(measured([[5, 0], [2, 3]], ["cat", "dog"], 10).model_copy(update={"log_id": service.log.log_id}))
    assert "of 10 test images" in words(opened())


@pytest.mark.parametrize(
    ("state", "done", "error", "said"),
    [
        ("waiting", 3, None, "The trainer is processing the images: 3 of 10, about 2 min left"),
        ("waiting", 9, None, "The trainer cannot read 1 image, so it does not learn from it. It tries again"),
        ("paused", 10, None, "press Resume to train on them"),
        ("failed", 10, "ValueError: no room", "ValueError"),
        ("training", 10, None, ""),
        ("waiting", -1, None, "downloading the network vit from the model hub: 23.0 MB of 88.0 MB"),
        ("training", 10, "wandb", "It is retried; the figures here are complete"),
    ],
)
def test_the_page_says_why_nothing_new_comes(
    service: Service, state: TrainerState, done: int, error: str | None, said: str
) -> None:
    download = Downloading(name="vit", done_bytes=23_000_000, total_bytes=88_000_000) if done < 0 else None
    embedding = EmbeddingProgress(
        done=max(done, 0), total=10, seconds_left=120, download=download, problems=int(done == 9)
    )
    status = TrainerStatus(
        state=state,
        log_id=None,
        acked_seq=0,
        round=0,
        labels=0,
        model_version=None,
        strategy="random",
        metrics={},
        last_error=error if error != "wandb" else None,
        embedding=embedding,
        timings={},
        tracking=Tracking(mode="offline", error="wandb does not work: no room." if error == "wandb" else None),
    )
    page = AppTest.from_function(states_script, default_timeout=60)
    page.session_state["status"] = status.model_dump(mode="json")
    page.run()
    assert not page.exception
    bars = " ".join(each.proto.text for each in page.get("progress"))
    if said:
        assert said in words(page) + bars
    else:
        assert words(page) + bars == ""
