"""Sentences of the page Progress about labels that are still needed, and about labels that were saved."""

from __future__ import annotations

import pytest

from labeler.progress.goal import target
from labeler.ui.charts import forecast, progress_charts
from shared.wire.evaluation import Advice, Evaluation, Expected, Interval, Needed, RandomEstimate
from tests.labeler.ui.charts.test_progress_charts import evaluation, train


def course(advice: Advice | None = None, baseline: tuple[int, ...] = ()) -> list[Evaluation]:
    """40 labels on, then 160, of which 100 went to the test sample."""
    estimates = [
        RandomEstimate(labels=labels, accuracy=Interval(value=0.7, low=0.6, high=0.8, n=100)) for labels in baseline
    ]
    latest = evaluation(160, 0.9, 0.05, 100).model_copy(update={"advice": advice, "random_baseline": estimates})
    return [evaluation(40, 0.8, 0.1, 10), latest]


def test_without_ground_nothing_is_said_and_drawn() -> None:
    assert forecast.sentences(course(), train(60)) == []
    chart = progress_charts.accuracy_curve(course())
    assert forecast.with_outlook(chart, course()) is chart


@pytest.mark.parametrize(
    ("needed", "words"),
    [
        (
            Needed(goal=0.95, labels=1200, low=800, high=3000),
            "About **1,200 more labels** (800–3,000) to reach **95.0%**",
        ),
        (Needed(goal=0.95, labels=1200, low=800, high=None), "(at least 800)"),
        (Needed(goal=0.95, labels=1200, low=0, high=None), "(the test sample is too small for bounds)"),
        (Needed(goal=0.95, labels=None, low=900, high=None), "More than 900 more labels to reach **95.0%**"),
    ],
)
def test_labels_needed_come_with_how_sure_that_is(needed: Needed, words: str) -> None:
    (said,) = forecast.sentences(course(Advice(needed=needed)), train(60))
    assert words in said


@pytest.mark.parametrize(
    ("labeled", "words"),
    [
        (60, "About **80 more labels** (40–200)"),
        (90, "**50 more labels** (10–170)"),
        (200, "are there: the next evaluation"),
    ],
)
def test_labels_learned_since_the_forecast_are_taken_off_as_on_the_card(labeled: int, words: str) -> None:
    evaluations = course(Advice(needed=Needed(goal=0.9, labels=80, low=40, high=200)))
    assert words in forecast.sentences(evaluations, train(labeled))[0]
    ahead = target(
        None, evaluations[-1], given=0, images=train(labeled + 100), train=train(labeled), pace=2.0, train_pace=1.0
    )
    assert ahead is not None
    assert ahead.labels == max(0, 60 + 80 - labeled)


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (80, None),
        (79, "Only 79 training images have no label yet"),
        (1, "Only 1 training image has no label yet"),
        (0, "No training image is left"),
    ],
)
def test_too_few_images_for_the_goal_are_said(left: int, words: str | None) -> None:
    (said,) = forecast.sentences(course(Advice(needed=Needed(goal=0.9, labels=80, low=40, high=200))), train(60, left))
    assert said.endswith(f" {words}: add photos to get there." if words else "if the curve continues like this.")


def test_a_falling_curve_gains_nothing() -> None:
    (said,) = forecast.sentences(course(Advice(slope=-0.0131, flat=True)), train(60))
    assert said == "The curve is flat: more labels gain nothing."


def test_stable_and_flat_are_said_when_they_are() -> None:
    stable, flat = forecast.sentences(course(Advice(agreement=0.994, stable=True, slope=0.002, flat=True)), train(60))
    assert "kappa 0.994" in stable
    assert "flat: a hundred more labels gain about 0.2 points" in flat
    (rising,) = forecast.sentences(course(Advice(agreement=0.9, slope=0.03)), train(60))
    assert "flat" not in rising
    assert "3.0 points" in rising


def test_the_random_baseline_is_named_an_estimate_and_set_beside_as_many_chosen_labels() -> None:
    evaluations = course(baseline=(24, 48))
    assert forecast.sentences(evaluations, train(60)) == []
    chosen = Interval(value=0.85, low=0.77, high=0.91, n=100)
    evaluations[-1].random_baseline[-1].chosen = chosen
    (said,) = forecast.sentences(evaluations, train(60))
    assert "estimate" in said
    assert "**48 random labels would have given about 70.0%**" in said
    assert "60.0% – 80.0%" in said
    assert "The first 48 labels given here give **85.0%** (77.0% – 91.0%)" in said


def test_both_lines_are_in_the_curve_by_labels_spent() -> None:
    expected = [Expected(labels=labels, accuracy=0.92, low=0.9, high=0.94) for labels in (60, 120)]
    evaluations = course(Advice(forecast=expected), baseline=(15, 30))
    chart = forecast.with_outlook(progress_charts.accuracy_curve(evaluations), evaluations).to_dict()
    drawn = next(rows for rows in chart["datasets"].values() if "line" in rows[0])
    assert [(row["line"], row["labels"]) for row in drawn] == [
        (forecast.FORECAST, 160),
        (forecast.FORECAST, 220),
        (forecast.RANDOM, 20),
        (forecast.RANDOM, 40),
    ]
    assert len(chart["layer"]) == 5
