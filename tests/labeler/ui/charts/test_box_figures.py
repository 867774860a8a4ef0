"""The figures and sentences of a project of boxes."""

from __future__ import annotations

import csv
import io

from labeler.ui.charts import box_figures, forecast, measured_figures
from shared.figures import shown
from shared.wire.evaluation import Advice, ClassMetrics, ClassPair, Evaluation, Interval
from shared.wire.project import ClassEntry
from tests.labeler.ui.charts.test_progress_charts import evaluation, train


def of_boxes(images: int, margin: float = 0.1, labels: int = 40) -> Evaluation:
    """mAP 0.7 at IoU 0.5 and 0.4 over all; cells are found, and nobody has boxed dust in a training image."""

    def around(value: float, n: int = images) -> Interval:
        return Interval(value=value, low=value - margin, high=value + margin, n=n)

    cell = {"precision": 0.5, "recall": 0.75, "f1": 0.6, "average_precision": around(0.8), "threshold": 0.35}
    return evaluation(labels, 0.0, 0.0, 0).model_copy(
        update={
            "accuracy": Interval(value=0.0, low=0.0, high=1.0, n=0),
            "map_50": around(0.7),
            "map_50_95": around(0.4),
            "iou_threshold": 0.5,
            "macro_f1": None,
            "log_loss": None,
            "classes": [
                ClassMetrics(label=1, name="cell", support=80, **cell),
                ClassMetrics(label=2, name="dust", support=3, precision=None, recall=0.0, f1=0.0, learned=False),
            ],
            "confused": [ClassPair(label=2, name="dust", other=1, other_name="cell", images=2, among=3)],
        }
    )


def test_words_and_figures_have_what_was_measured_with_its_interval() -> None:
    latest = of_boxes(20)
    said = box_figures.in_words(latest)
    assert "mAP at IoU 0.5 **70.0%** (60.0% – 80.0%)" in said
    assert "on 20 test images with 83 boxes" in said
    assert "rough estimates" in said
    assert "precise estimates" in box_figures.in_words(of_boxes(300, 0.01))
    figures = {row["Figure"]: (row["Value"], row["95% interval"]) for row in box_figures.final_figures(latest)}
    assert figures["mAP at IoU 0.5–0.95"] == ("40.0%", "30.0% – 50.0%")
    assert figures["Boxes in them"] == ("83", "–")
    assert not {"Accuracy", "Macro F1"} & figures.keys()


def test_figures_are_shown_from_ten_test_images_on() -> None:
    assert shown([of_boxes(9)]) == []
    assert len(shown([of_boxes(9), of_boxes(10)])) == 1
    assert measured_figures.value_of(of_boxes(9), "map_50") == "–"


def test_each_class_has_its_row_and_what_is_not_learned_is_named() -> None:
    latest = of_boxes(20)
    table = box_figures.class_table(latest, {"cell": 30})
    assert table["Test boxes"].tolist() == [80, 3]
    assert table["Average precision"].tolist() == ["80% (70% – 90%)", "–"]
    said = box_figures.explained(latest)
    assert "a worth of at least 35%" in said
    assert "IoU 0.5" in said
    assert "Not learned yet, because no box of it is in a training image: dust" in said
    never = latest.model_copy(update={"classes": [latest.classes[0].model_copy(update={"threshold": 1.0})]})
    assert "none now, because suggestions would cost more" in box_figures.explained(never)
    now = [ClassEntry(id=k, name=name, aliases=[], hotkey=None) for k, name in ((1, "red cell"), (2, "dust"))]
    assert box_figures.confused(latest, now) == ["- dust suggested as red cell: 2 of 3 test boxes"]


def test_the_curve_is_a_table_without_an_accuracy() -> None:
    (row,) = csv.DictReader(io.StringIO(box_figures.curve_csv([of_boxes(20)]).decode()))
    assert (row["map_50"], row["map_50_95_low_95"]) == ("0.7", "0.30000000000000004")
    assert not [name for name in row if name.startswith("accuracy")]
    chart = box_figures.curve([of_boxes(12), of_boxes(20)], "map_50")  # twice at the same number of images
    assert chart is not None
    described = chart.to_dict()
    (rows,) = described["datasets"].values()
    assert [row["test images"] for row in rows] == [20]
    drawn = str(described["layer"])
    assert "'field': 'value'" in drawn  # a name with a dot would draw nothing
    assert "'title': 'Labeled images'" in drawn
    assert "mAP at IoU 0.5 on the test sample" in drawn
    assert box_figures.curve([of_boxes(3)], "map_50") is None


def test_the_forecast_is_one_of_the_map_and_counts_labeled_images() -> None:
    latest = of_boxes(200).model_copy(update={"advice": Advice(slope=0.01)})
    assert forecast.sentences([latest], train(40), "labeled image") == [
        "At the current slope, a hundred more labeled images gain about 1.0 points of mAP at IoU 0.5."
    ]
