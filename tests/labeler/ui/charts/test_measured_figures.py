"""Metrics with intervals, in words and in tables."""

from labeler.ui.charts import measured_figures
from shared.wire.evaluation import Interval
from shared.wire.project import ImageCounts

PRECISE = Interval(value=0.9, low=0.86, high=0.95, n=200)
ROUGH = Interval(value=0.75, low=0.6, high=0.9, n=20)


def test_an_estimate_is_rough_if_any_of_its_metrics_is():
    precise = measured_figures.in_words({"macro F1": PRECISE}, "test labels")
    assert precise == "macro F1 **90.0%** (86.0% – 95.0%); in brackets the 95% intervals. These are precise estimates."
    rough = measured_figures.in_words({"macro F1": PRECISE, "micro F1": ROUGH}, "test labels")
    assert rough.startswith("macro F1 **90.0%** (86.0% – 95.0%), micro F1 **75.0%** (60.0% – 90.0%); in brackets")
    assert rough.endswith("These are rough estimates: more test labels make them more precise.")


def test_where_every_test_image_has_an_answer_no_further_labels_are_asked_for():
    def said(unlabeled: int) -> str:
        images = ImageCounts(total=20, labeled=20 - unlabeled, skipped=0, flagged=0, unlabeled=unlabeled)
        return measured_figures.in_words({"macro F1": ROUGH}, "test labels", images)

    assert said(1).endswith("more test labels make them more precise.")
    assert said(0).endswith("all test images have an answer, so only more test images make them more precise.")


def test_an_unmeasured_figure_is_a_dash_or_an_empty_cell():
    assert [measured_figures.value(each) for each in (PRECISE, None)] == ["90.0%", "–"]
    assert [measured_figures.share(each) for each in (0.9, None)] == ["90%", "–"]
    assert [measured_figures.with_interval(each) for each in (PRECISE, None)] == ["90% (86% – 95%)", "–"]
    assert measured_figures.cells({"a": ROUGH, "b": None}) == {
        "a": 0.75,
        "a_low_95": 0.6,
        "a_high_95": 0.9,
        "b": None,
        "b_low_95": None,
        "b_high_95": None,
    }
