"""The figures and sentences of a project whose images may have several classes."""

from __future__ import annotations

import csv

from labeler.ui.charts import forecast, measured_figures, several_classes
from shared.figures import goal_metric, shown
from shared.wire.evaluation import ClassMetrics, ClassPair, Evaluation, Interval, RandomEstimate
from shared.wire.project import ClassEntry
from tests.labeler.ui.charts.test_progress_charts import evaluation, train


def of_several(images: int, margin: float = 0.1) -> Evaluation:
    """Macro F1 0.6, micro F1 0.7, exact match 0.3, and no average precision."""

    def around(value: float) -> Interval:
        return Interval(value=value, low=value - margin, high=value + margin, n=images)

    metrics = {"precision": 0.5, "recall": 0.75, "f1": 0.6}
    pair = {"label": 1, "name": "cat", "other": 2, "other_name": "dog"}
    return evaluation(40, 0.3, margin, images).model_copy(
        update={
            "macro_f1": 0.6,
            "macro_f1_low": 0.6 - margin,
            "macro_f1_high": 0.6 + margin,
            "micro_f1": around(0.7),
            "exact_match": around(0.3),
            "classes": [
                ClassMetrics(label=1, name="cat", support=8, average_precision=around(0.8), threshold=0.25, **metrics),
                ClassMetrics(label=2, name="dog", support=0, precision=None, recall=None, f1=None, learned=False),
            ],
            "confused": [ClassPair(images=3, among=8, **pair)],
            "together": [ClassPair(images=1, among=8, **pair)],
        }
    )


def test_words_and_figures_have_what_was_measured_with_its_interval() -> None:
    latest = of_several(20)
    said = several_classes.in_words(latest)
    assert "macro F1 **60.0%** (50.0% – 70.0%)" in said
    assert "average precision" not in said  # no test image has a class that it could be measured on
    assert "rough estimates" in said
    assert "precise estimates" in several_classes.in_words(of_several(30, 0.01))
    figures = {row["Figure"]: (row["Value"], row["95% interval"]) for row in several_classes.final_figures(latest)}
    assert figures["Exact match"] == ("30.0%", "20.0% – 40.0%")
    assert figures["Test images"] == ("20", "–")
    assert not {"Accuracy", "Mean average precision"} & figures.keys()


def test_after_a_class_was_added_the_figures_stay_and_only_the_exact_match_is_not_measured() -> None:
    """No answer of before says anything about the new class."""
    nothing = Interval(value=0.0, low=0.0, high=1.0, n=0)
    latest = of_several(20).model_copy(update={"accuracy": nothing, "exact_match": nothing})
    assert len(shown([of_several(12), latest])) == 2
    said = several_classes.in_words(latest)
    assert "on 20 test images" in said
    assert "micro F1 **70.0%**" in said
    assert "exact match" not in said
    assert measured_figures.value_of(latest, "exact_match") == "–"
    assert measured_figures.value_of(latest, "macro_f1") == "60.0%"
    figures = {row["Figure"]: row["Value"] for row in several_classes.final_figures(latest)}
    assert figures["Test images"] == "20"
    assert "Exact match" not in figures
    (row,) = csv.DictReader(several_classes.curve_csv([latest]).decode().splitlines())
    assert (row["micro_f1"], row["accuracy"], row["exact_match"], row["test_images"]) == ("0.7", "", "", "20")
    assert several_classes.curve([latest], "exact_match") is None


def test_each_metric_has_a_curve_and_all_are_in_the_table() -> None:
    measured = [of_several(12), of_several(20)]
    curve = several_classes.curve(measured, "micro_f1")
    assert curve is not None
    (points,) = curve.to_dict()["datasets"].values()
    assert [(point["micro F1"], point["test images"]) for point in points] == [(0.7, 12), (0.7, 20)]
    assert several_classes.curve(measured, "mean_average_precision") is None
    (_, row) = csv.DictReader(several_classes.curve_csv(measured).decode().splitlines())
    assert (row["macro_f1_low_95"], row["exact_match"], row["mean_average_precision"]) == ("0.5", "0.3", "")


def test_the_classes_have_their_own_figures_and_what_is_not_learned_is_named() -> None:
    latest = of_several(20)
    table = several_classes.class_table(latest, {"cat": 9})
    assert list(table["Average precision"]) == ["80% (70% – 90%)", "–"]
    assert list(table["Threshold"]) == ["25%", "–"]
    assert list(table["Labels"]) == [9, 0]
    assert "Not learned yet: dog." in several_classes.explained(latest)


def test_pairs_go_by_their_names_of_now_and_lead_to_the_grid() -> None:
    classes = [ClassEntry(id=1, name="kitten", hotkey=None), ClassEntry(id=2, name="dog", hotkey=None)]
    (said,) = several_classes.pairs(of_several(20).confused, classes, "{one}, not {other}", "/grid?a={one}&b={other}")
    assert said == "- kitten, not dog: [3](/grid?a=1&b=2) of 8 test images with kitten"


def test_a_forecast_is_about_macro_f1() -> None:
    name, found = goal_metric(of_several(20))
    assert (name, found.value, found.n) == ("macro F1", 0.6, 20)
    chosen = RandomEstimate(labels=40, accuracy=found, chosen=found)
    latest = of_several(20).model_copy(update={"random_baseline": [chosen]})
    (said,) = forecast.sentences([latest], train(40))
    assert "random labels would have given about 60.0% macro F1" in said
