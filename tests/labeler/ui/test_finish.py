"""The page Finish as Streamlit runs it: the downloads, and what to do next."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

import flywheel
from labeler.service import Service
from labeler.transfer.formats import FORMATS
from labeler.ui.charts.progress_charts import final_figures
from shared.settings.project_file import FILE
from tests.labeler.followers import Follower, following
from tests.labeler.projects import answer, boxes, classes, labeler, photos
from tests.labeler.ui.charts.test_box_figures import of_boxes
from tests.labeler.ui.charts.test_confusion import measured
from tests.labeler.ui.charts.test_own_figures import of_counts
from tests.labeler.ui.charts.test_several_classes import of_several
from tests.services import wait_for
from tests.shared.tasks.count import registered


def script() -> None:
    from labeler.ui import finish

    finish.page()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Service, Follower]]:
    photos(tmp_path / "photos", 3)
    with following() as (follower, url), labeler(tmp_path, trainer_url=url, overlap=2) as service:
        wait_for(service.trainer.status, "the trainer")
        yield service, follower


def opened() -> AppTest:
    page = AppTest.from_function(script, default_timeout=60).run()
    assert not page.exception
    return page


def words(page: AppTest) -> str:
    return " ".join(each.value for each in [*page.markdown, *page.info, *page.subheader, *page.warning, *page.success])


def links(page: AppTest) -> list[str]:
    return [each.proto.url for each in page.get("link_button")]


def test_before_anything_the_page_says_how_to_begin(pair: tuple[Service, Follower]) -> None:
    page = opened()
    assert "Press **Stop** above when you are done" in words(page)
    assert "There are no labels yet" in words(page)
    assert "Accuracy is not measured: no image is a test image." in words(page)  # none is set apart in this project
    assert links(page) == []


def test_the_backup_that_it_names_can_be_made_from_anywhere(
    pair: tuple[Service, Follower], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = re.findall(r"`(flywheel backup .*?)`", words(opened()))[0]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = CliRunner().invoke(flywheel.app, shlex.split(command)[1:])
    assert done.exit_code == 0, done.exception
    assert (tmp_path / "elsewhere" / "FOLDER" / "flywheel.db").is_file()


def test_every_format_is_one_press_away_and_figures_have_intervals(pair: tuple[Service, Follower]) -> None:
    service, _ = pair
    service.annotate([answer(1, annotator="ann"), answer(2, "dog", annotator="ann")])
    latest = measured([[5, 0], [2, 9]]).model_copy(
        update={"log_id": service.log.log_id, "macro_f1": 0.85, "macro_f1_low": 0.7, "macro_f1_high": 0.94}
    )
    service.evaluate(latest)
    page = opened()
    assert links(page) == [f"/api/export?format={name}" for name in FORMATS]
    (table,) = page.table
    rows = {row["Figure"]: row["95% interval"] for row in table.value.to_dict("records")}
    assert rows["Accuracy"] == "85.0% – 95.0%"
    assert rows["Macro F1"] == "70.0% – 94.0%"
    assert [button.label for button in page.download_button] == ["Download curve (CSV)"]
    assert "2 labels, with the split" in words(page)


def test_nine_test_labels_are_no_figure(pair: tuple[Service, Follower]) -> None:
    service, _ = pair
    service.evaluate(measured([[5, 0], [2, 2]], images=9).model_copy(update={"log_id": service.log.log_id}))
    page = opened()
    assert not page.table
    assert not page.download_button
    assert "Accuracy is not measured yet: 9 of 10 labeled test images." in words(page)


def test_an_interval_without_width_is_not_shown() -> None:
    perfect = measured([[5, 0], [0, 5]]).model_copy(update={"macro_f1": 1.0, "macro_f1_low": 1.0, "macro_f1_high": 1.0})
    rows = {row["Figure"]: row["95% interval"] for row in final_figures(perfect)}
    assert rows["Macro F1"] == "–"
    assert rows["Accuracy"] != "–"


def test_after_a_stop_the_page_says_why_and_how_to_go_on(pair: tuple[Service, Follower]) -> None:
    service, follower = pair
    follower.state = "stopped"
    service.outbox.look()
    wait_for(lambda: (s := service.trainer.status()) and s.state == "stopped", "the stop")
    page = opened()
    assert "Trainer safely shut down" in words(page)
    assert "Press **Resume** to continue labeling" in words(page)


def test_disagreements_come_first_among_what_is_next(pair: tuple[Service, Follower]) -> None:
    service, _ = pair
    service.annotate([answer(1, "cat", annotator="ann"), answer(1, "dog", annotator="bob")])
    assert "Annotators disagree on 1 image:" in words(opened())


def test_an_absent_trainer_is_reported(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path):
        page = opened()
        assert "Trainer not reachable" in words(page)
        assert "Press **Stop**" not in words(page)


def test_a_task_with_its_own_metrics_has_these(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 6)
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / FILE).write_text('task = "count"\n', encoding="utf-8")
    with registered(), labeler(tmp_path, classes=[], test_set_frac=0.5) as service:
        service.annotate([answer(1, None, answer=3, annotator="ann")])
        service.evaluate(of_counts(9).model_copy(update={"log_id": service.log.log_id}))
        assert "Mean error is not measured yet: 9 of 10 labeled test images" in words(opened())
        service.evaluate(of_counts(12).model_copy(update={"log_id": service.log.log_id}))
        page = opened()
        (table,) = page.table
        assert [row["Figure"] for row in table.value.to_dict("records")][:2] == ["Mean error", "Share within one"]
        assert "Mean error **0.400**" in words(page)
        assert "ccuracy" not in words(page)


def test_with_several_classes_an_image_it_has_the_figures_and_formats_of_that_task(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path, task="multilabel", classes=["cat", "dog"]) as service:
        service.annotate([classes(1, ["cat", "dog"])])
        service.evaluate(of_several(20).model_copy(update={"log_id": service.log.log_id}))
        page = opened()
        assert "macro F1 **60.0%**" in words(page)
        assert not any("format=imagefolder" in link for link in links(page))
        assert any("format=onehot" in link for link in links(page))
        (left_out,) = [each.value for each in page.caption if "one class per image only" in each.value]
        assert "Image folders; YOLO classification" in left_out


def test_a_project_of_boxes_has_the_figures_of_that_task(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path, task="detection", classes=["cell", "dust"], test_set_frac=0.5) as service:
        service.annotate([boxes(1, ("cell", 1, 1, 9, 9))])
        assert "mAP is not measured yet: 0 of 10 labeled test images" in words(opened())
        service.evaluate(of_boxes(20).model_copy(update={"log_id": service.log.log_id}))
        page = opened()
        said = words(page)
        assert "mAP at IoU 0.5 **70.0%**" in said
        why = "Not offered, because they have no place for boxes"
        assert f"{why}: CSV, a column per class; Image folders." in [each.value for each in page.caption]
        assert "1 labeled image, with the split of each image" in said
        assert "/predict" not in said
