"""How numbers are written, the same on pages and in the terminal."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from shared import figures
from shared.wire.evaluation import CalibrationBin, Evaluation, Interval
from shared.wire.jobs import Comparison, Pairs, Scores

TEXT = Path(__file__).parents[2] / "labeler" / "ui" / "lib" / "text.js"


def interval(n: int, value: float = 1.0) -> Interval:
    return Interval(value=value, low=0.2, high=1.0, n=n)


def evaluation(n: int) -> Evaluation:
    return Evaluation(
        id=uuid4(),
        log_id=uuid4(),
        acked_seq=n,
        model_version="m",
        round=1,
        labels=n,
        spent=n,
        created_at=datetime.now(UTC),
        accuracy=interval(n),
        macro_f1=None,
        log_loss=None,
    )


def compared(images: int, only_base: int, only_candidate: int, p: float) -> Comparison:
    gain = (only_candidate - only_base) / images
    pairs = Pairs(
        both_right=images - only_base - only_candidate,
        only_base=only_base,
        only_candidate=only_candidate,
        both_wrong=0,
        p=p,
        gain=Interval(value=gain, low=gain - 0.05, high=gain + 0.05, n=images),
    )
    return Comparison(
        base=Scores(version="old", bytes=1, accuracy=interval(images)),
        candidate=Scores(version="new", bytes=1, accuracy=interval(images), latency_ms=2.5),
        split="test",
        images=images,
        pairs=pairs,
        checks=[],
        rule="all",
        decision="discard",
        winner="old",
        reason="",
        created_at=datetime.now(UTC),
    )


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        (None, "not measured yet: 0 of 10 labeled test images"),
        (interval(1), "not measured yet: 1 of 10 labeled test images"),
        (interval(9), "not measured yet: 9 of 10 labeled test images"),
        (interval(10, 0.6174), "61.7% (20.0% – 100.0%, 10 test images)"),
    ],
)
def test_an_accuracy_is_said_from_ten_test_labels_on(accuracy: Interval | None, words: str) -> None:
    assert figures.accuracy_in_words(accuracy) == words


def test_the_curve_begins_at_ten_test_labels_and_waits_where_they_were_taken_back() -> None:
    course = [evaluation(n) for n in (1, 9, 10, 40)]
    assert [each.accuracy.n for each in figures.shown(course)] == [10, 40]
    assert figures.shown(course[:2]) == []
    assert figures.shown([*course, evaluation(8)]) == []


def test_pages_count_test_labels_as_everything_else_does() -> None:
    (least,) = re.findall(r"ENOUGH_TEST_LABELS = (\d+);", TEXT.read_text("utf-8"))
    assert int(least) == figures.ENOUGH


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (0.05, "5.0 points better"),
        (-0.191, "19.1 points worse"),
        (0.01, "1.0 point better"),
        (-0.0001, "just as accurate"),
    ],
)
def test_a_gain_says_better_or_worse_and_no_sign(gain: float, words: str) -> None:
    assert figures.gain_in_words(gain) == words


@pytest.mark.parametrize(("p", "words"), [(0.0, "p < 0.001"), (0.00099, "p < 0.001"), (0.0294, "p = 0.029")])
def test_no_p_is_nought(p: float, words: str) -> None:
    assert figures.p_in_words(p) == words


@pytest.mark.parametrize(("size", "words"), [(21_467_000, "21.5 MB"), (2_640, "2.6 kB"), (100_000, "0.1 MB")])
def test_sizes(size: int, words: str) -> None:
    assert figures.megabytes(size) == words


@pytest.mark.parametrize(
    ("share", "digits", "words"), [(0.5625, 1, "56.3%"), (0.125, 0, "13%"), (1.0, 1, "100.0%"), (-0.0625, 1, "-6.3%")]
)
def test_halves_are_rounded_up_as_a_browser_does(share: float, digits: int, words: str) -> None:
    assert figures.percent(share, digits) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "1 s"), (59, "59 s"), (60, "1 min"), (150, "3 min"), (5_399, "90 min"), (7_500, "2 h")]
)
def test_a_time_is_said_as_a_person_says_it(seconds: float, words: str) -> None:
    assert figures.duration(seconds) == words


@pytest.mark.parametrize(
    ("metric", "value", "words"),
    [
        ("macro_f1", 0.5625, "56.3%"),
        ("calibration_error", 0.058, "5.8%"),
        ("log_loss", 0.7241, "0.724"),
        ("latency_ms", 5.25, "5.3 ms"),
        ("images_per_second", 1_234.5, "1,235"),
        ("bytes", 2_500_000, "2.5 MB"),
        ("auc_pr", None, "–"),
    ],
)
def test_a_metric_reads_the_same_everywhere(metric: str, value: float | None, words: str) -> None:
    assert figures.metric_in_words(metric, value) == words


def test_two_versions_on_the_same_images() -> None:
    said = figures.pairs_in_words(compared(40, only_base=10, only_candidate=1, p=0.0001))
    assert "On 40 test images the candidate is 22.5 points worse; with 95% confidence between 27.5 points" in said
    assert "Only the candidate is right on 1 image, only the base on 10" in said
    assert "p < 0.001" in said


def test_a_loss_in_another_metric_is_no_negative_gain() -> None:
    worse = compared(40, only_base=1, only_candidate=0, p=1.0).model_copy(
        update={"pairs": None, "map_gain": Interval(value=-0.191, low=-0.25, high=0.0, n=40)}
    )
    assert figures.pairs_in_words(worse) == (
        "On 40 test images the candidate is 19.1 points worse in mAP at IoU 0.5; with 95% confidence between 25.0 "
        "points worse and just as good."
    )


def test_too_few_images_compare_nothing() -> None:
    few = compared(3, only_base=1, only_candidate=0, p=1.0)
    assert (
        figures.pairs_in_words(few)
        == "Only 3 test images: too few to tell which version is better. At least 10 are needed."
    )
    assert figures.measured(few.base, "accuracy") is None
    assert figures.measured(few.candidate, "latency_ms") == 2.5  # which no test label is needed for
    assert figures.measured(compared(10, 1, 1, 1.0).base, "accuracy") == 1.0


def test_the_refusal_of_a_name_lists_those_that_exist() -> None:
    assert figures.choice([]) == "There is none yet."
    assert figures.choice("abc") == "Choose one of a, b, c."
    assert figures.choice(map(str, range(13)), most=3) == "Choose one of 0, 1, 2 and 10 more."


def bins(confidence: float, right: float, images: int) -> list[CalibrationBin]:
    accuracy = Interval(value=right, low=0.0, high=1.0, n=images)
    return [CalibrationBin(low=0.0, high=1.0, confidence=confidence, accuracy=accuracy)]


def test_a_calibration_is_judged_if_enough_test_images_tell() -> None:
    assert figures.leaning(bins(0.9, 0.1, 149)) is None
    assert figures.leaning(bins(0.9, 0.86, 150)) == "about as confident as it should be"  # likely by chance
    assert figures.leaning(bins(0.9, 0.86, 400)) == "overconfident"
    assert figures.leaning(bins(0.7, 0.86, 400)) == "underconfident"
    assert figures.leaning(bins(0.9, 0.875, 10_000)) == "about as confident as it should be"
    assert figures.calibration_error_in_words(0.041, 150) == "4.1%"
    assert figures.calibration_error_in_words(None, 3) == "–"
