"""The figures of a task that brings its own metrics."""

from __future__ import annotations

import csv

from labeler.ui.charts import own_figures, progress_charts
from shared.wire.evaluation import Evaluation, Interval
from tests.labeler.ui.charts.test_progress_charts import evaluation
from tests.shared.tasks.count import COUNT

NAMES = COUNT.own_metrics


def of_counts(images: int, labels: int = 40) -> Evaluation:
    """An evaluation of a project that counts objects."""
    metrics = {
        "mean_error": Interval(value=0.4, low=0.2, high=0.6, n=images),
        "within_one": Interval(value=0.8, low=0.7, high=0.9, n=images),
    }
    none = Interval(value=0.0, low=0.0, high=1.0, n=0)
    return evaluation(labels, 0.9, 0.05, images).model_copy(update={"metrics": metrics, "accuracy": none})


def test_the_table_and_the_sentence_have_the_names_of_the_task() -> None:
    rows = own_figures.final_figures(of_counts(12), NAMES)
    assert rows[0] == {"Figure": "Mean error", "Value": "0.400", "95% interval": "0.200 – 0.600"}
    assert [row["Value"] for row in rows if row["Figure"] == "Test images"] == ["12"]
    assert "on 12 test images: Mean error **0.400**" in own_figures.in_words(of_counts(12), NAMES)


def test_a_number_that_is_no_share_has_no_percent_axis_that_ends_at_1() -> None:
    chart = own_figures.curve([of_counts(12), of_counts(20, 60)], "mean_error", NAMES)
    assert chart is not None
    drawn = str(chart.to_dict())
    assert "%" not in drawn.replace("95%", "")
    assert "domain" not in drawn
    assert own_figures.curve([of_counts(9)], "mean_error", NAMES) is None


def test_the_table_to_download_has_the_metrics_and_no_accuracy() -> None:
    (row,) = csv.DictReader(progress_charts.metrics_csv([of_counts(12)], NAMES).decode().splitlines())
    assert (row["mean_error"], row["within_one_high_95"], row["test_images"]) == ("0.4", "0.9", "12")
    assert not any(name.startswith("accuracy") for name in row)
