"""The figures and sentences of the pages, as the pages draw them."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from labeler.ui.charts import progress_charts
from labeler.ui.charts.unmeasured import nothing_measured
from labeler.ui.parts.palette import NO_OWN
from labeler.ui.parts.wording import TRAINER, plain
from shared.settings.services import LabelerSettings
from shared.wire.evaluation import CalibrationBin, ClassMetrics, Evaluation, Interval, Stretch
from shared.wire.images import ScanView
from shared.wire.project import ImageCounts, TrainerView


def evaluation(spent: int, accuracy: float, margin: float, n: int) -> Evaluation:
    return Evaluation(
        id=uuid4(),
        log_id=uuid4(),
        acked_seq=spent,
        model_version=f"head-{spent}",
        round=1,
        labels=spent - n,
        spent=spent,
        created_at=datetime.now(UTC),
        accuracy=Interval(value=accuracy, low=accuracy - margin, high=accuracy + margin, n=n),
        macro_f1=None,
        log_loss=None,
        classes=[
            ClassMetrics(label=1, name="shirt", precision=0.9, recall=0.75, f1=0.82, support=n),
            ClassMetrics(label=2, name="hat", precision=None, recall=None, f1=None, support=0),
        ],
    )


def train(labeled: int, left: int = 10_000) -> ImageCounts:
    return ImageCounts(total=labeled + left, labeled=labeled, skipped=0, flagged=0, unlabeled=left)


def test_the_curve_has_a_point_an_evaluation_inside_its_band() -> None:
    curve = progress_charts.accuracy_curve([evaluation(20, 0.5, 0.2, 10), evaluation(40, 0.9, 0.09, 20)]).to_dict()
    (points,) = curve["datasets"].values()
    assert [(point["labels"], point["accuracy"], point["test images"]) for point in points] == [
        (20, 0.5, 10),
        (40, 0.9, 20),
    ]
    assert all(point["low"] < point["accuracy"] < point["high"] for point in points)
    assert len(curve["layer"]) == 3
    assert curve["layer"][0]["encoding"]["y"]["scale"]["domain"] == [0.3, 1]  # the tenth below the lowest bound


def test_words_say_how_good_how_sure_and_what_helps() -> None:
    rough = progress_charts.in_words(evaluation(40, 0.9, 0.09, 20))
    assert "40 labels" in rough
    assert "90.0%" in rough
    assert "of 20 test images" in rough
    assert "between 81.0% and 99.0%" in rough
    assert "more labeled test images" in rough
    assert "a precise estimate" in progress_charts.in_words(evaluation(2000, 0.96, 0.01, 1000))


def test_words_say_what_an_estimate_uses_beside_the_labeled_test_images() -> None:
    plain = evaluation(400, 0.9, 0.09, 60)
    assert "random sample" not in progress_charts.in_words(plain)
    sharper = plain.model_copy(update={"accuracy": plain.accuracy.model_copy(update={"unlabeled": 1_940})})
    said = progress_charts.in_words(sharper)
    assert "right on **90.0%** of the test images; with 95% confidence between 81.0% and 99.0%. The estimate" in said
    assert "uses 60 labeled test images and the model's confidence on 1,940 without a label" in said
    rows = {each["Figure"]: each["Value"] for each in progress_charts.final_figures(sharper)}
    assert (rows["Test images"], rows["Test images without a label, for the accuracy"]) == ("60", "1,940")
    assert "Only labeled test images are used" in progress_charts.in_words(
        plain.model_copy(update={"at_random": False})
    )
    active = progress_charts.in_words(plain.model_copy(update={"active": True}))
    assert "of the test images; with" in active
    assert "each answer is weighted for it" in active
    alone = progress_charts.in_words(plain.model_copy(update={"active": True, "at_random": False}))
    assert "of 60 test images; with" in alone
    assert "probably too low" in alone
    bins = [CalibrationBin(low=0.9, high=1.0, confidence=0.95, accuracy=Interval(value=0.95, low=0.9, high=1, n=160))]
    calibrated = progress_charts.calibration_in_words(sharper.model_copy(update={"calibration": bins}))
    assert "accuracy on these images 95%: the model is about as confident as it should be" in calibrated


def test_a_class_without_test_images_has_dashes_and_no_zeros() -> None:
    table = progress_charts.class_table(evaluation(40, 0.9, 0.09, 20), {"shirt": 12})
    assert table.to_dict("records") == [
        {"Class": "shirt", "Labels": 12, "Test images": 20, "Precision": "90%", "Recall": "75%", "F1": "82%"},
        {"Class": "hat", "Labels": 0, "Test images": 0, "Precision": "–", "Recall": "–", "F1": "–"},
    ]


def test_label_counts_keep_the_order_of_the_classes() -> None:
    chart = progress_charts.label_counts({"zebra": 3, "ape": 5}).to_dict()
    (bars,) = chart["datasets"].values()
    assert [(bar["class"], bar["labels"]) for bar in bars] == [("zebra", 3), ("ape", 5)]
    assert chart["encoding"]["y"]["sort"] is None
    own = progress_charts.label_counts({"zebra": 3, "ape": 5}, {"ape": "#12ab34"}).to_dict()
    assert own["encoding"]["color"]["scale"] == {"domain": ["zebra", "ape"], "range": [NO_OWN, "#12ab34"]}


def test_the_curve_as_a_table_has_a_row_an_evaluation() -> None:
    rows = list(
        csv.DictReader(
            progress_charts.curve_csv([evaluation(20, 0.5, 0.2, 10), evaluation(40, 0.9, 0.09, 20)])
            .decode()
            .splitlines()
        )
    )
    assert [(row["labels_given"], row["accuracy"], row["accuracy_low_95"]) for row in rows] == [
        ("20", "0.5", "0.3"),
        ("40", "0.9", "0.81"),
    ]


def test_no_plot_is_squashed_by_its_axis_and_legend() -> None:
    for number in (2, 3, 10, 40):
        names = [f"class {each}" for each in range(number)]
        bars = progress_charts.label_counts(dict.fromkeys(names, 3))
        assert bars.to_dict()["height"] - progress_charts.AXIS >= 20 * number
        stretches = [
            Stretch(labels=number * n, until=datetime.now(UTC), classes=dict.fromkeys(names, 1)) for n in (1, 2)
        ]
        shares = progress_charts.label_history(stretches).to_dict()
        entries = min(number, progress_charts.NAMED + 1)
        rows = -(-entries // shares["encoding"]["color"]["legend"]["columns"])
        assert (
            shares["height"] - progress_charts.AXIS - progress_charts.LEGEND - rows * progress_charts.LEGEND_ROW >= 200
        )


def test_the_names_in_the_legend_of_the_label_history_fit_on_a_phone() -> None:
    stretch = Stretch(labels=2, until=datetime.now(UTC), classes={"cat": 1, "dog": 1})
    legend = progress_charts.label_history([stretch, stretch]).to_dict()["encoding"]["color"]["legend"]
    axis, mark, phone = 85, 25, 358  # pixels: left of the names, beside each, and of the page
    assert axis + legend["columns"] * (mark + legend["labelLimit"]) <= phone


def test_the_label_history_adds_up_and_gives_rare_classes_one_colour() -> None:
    common = {f"class {number}": 10 + number for number in range(progress_charts.NAMED)}
    stretches = [
        Stretch(labels=100, until=datetime.now(UTC), classes=common | {"rare": 2}),
        Stretch(labels=103, until=datetime.now(UTC), classes={"class 0": 1, "rarer": 2}),
    ]
    (rows,) = progress_charts.label_history(stretches).to_dict()["datasets"].values()
    last = {row["class"]: row["labels"] for row in rows if row["labels given here"] == 103}
    assert len(last) == progress_charts.NAMED + 1
    assert (last["class 0"], last[progress_charts.OTHERS]) == (11, 4)
    drawn = progress_charts.label_history(stretches, {"class 3": "#12ab34"}).to_dict()["encoding"]["color"]["scale"]
    colours = dict(zip(drawn["domain"], drawn["range"], strict=True))
    assert colours["class 3"] == "#12ab34"
    assert len({str(colour) for colour in colours.values()}) == progress_charts.NAMED + 1


def test_a_single_rare_class_keeps_its_name_in_the_label_history() -> None:
    classes = {f"class {number}": 10 + number for number in range(progress_charts.NAMED)} | {"rare": 2}
    drawn = progress_charts.label_history([Stretch(labels=100, until=datetime.now(UTC), classes=classes)]).to_dict()
    (rows,) = drawn["datasets"].values()
    assert {row["class"]: row["labels"] for row in rows} == classes
    assert set(drawn["encoding"]["color"]["sort"]) == set(classes)


def test_calibration_is_drawn_and_said() -> None:
    bins = [
        CalibrationBin(low=0.6, high=0.7, confidence=0.65, accuracy=Interval(value=0.5, low=0.2, high=0.8, n=40)),
        CalibrationBin(low=0.9, high=1.0, confidence=0.95, accuracy=Interval(value=0.75, low=0.5, high=0.9, n=160)),
    ]
    measured = evaluation(240, 0.7, 0.2, 200).model_copy(update={"calibration": bins, "calibration_error": 0.19})
    drawn = next(
        rows for rows in progress_charts.calibration(measured).to_dict()["datasets"].values() if "low" in rows[0]
    )
    assert [(row["confidence"], row["right"], row["test images"]) for row in drawn] == [
        (0.65, 0.5, 40),
        (0.95, 0.75, 160),
    ]
    said = progress_charts.calibration_in_words(measured)
    assert "confidence is 89%, the accuracy on these images 70%: the model is overconfident" in said
    assert "the calibration error is 19.0%" in said


def test_eleven_test_images_say_nothing_of_the_calibration() -> None:
    few = [CalibrationBin(low=0.9, high=1.0, confidence=0.92, accuracy=Interval(value=10 / 11, low=0.6, high=1, n=11))]
    measured = evaluation(40, 0.9, 0.1, 11).model_copy(update={"calibration": few, "calibration_error": 0.011})
    said = progress_charts.calibration_in_words(measured)
    assert "Too few test images to tell" in said
    assert "11 of 150" in said
    assert "as it should be" not in said
    rows = {each["Figure"]: each["Value"] for each in progress_charts.final_figures(measured)}
    assert rows["Calibration error"] == "too few test images to tell (11 of 150)"


def test_rounds_have_their_time_by_step() -> None:
    assert progress_charts.round_times([evaluation(20, 0.5, 0.2, 10)]) is None
    timed = evaluation(40, 0.9, 0.09, 20).model_copy(update={"timings": {"fit": 8.5, "rank": 60.0, "push": 20.0}})
    chart = progress_charts.round_times([evaluation(20, 0.5, 0.2, 10), timed])
    assert chart is not None
    (rows,) = chart.to_dict()["datasets"].values()
    assert [(row["round"], row["step"], row["ms"]) for row in rows] == [(1, "fit", 8.5), (1, "rank", 60.0)]


@pytest.mark.parametrize(("frac", "words"), [(0.1, "after the first 20 labels"), (0.0, "its first model")])
def test_before_anything_is_measured_the_page_says_when_it_will_be(frac: float, words: str) -> None:
    settings, _ = LabelerSettings.load(command_line={"test_set_frac": frac})
    assert words in nothing_measured(settings, [], 10, images=100)
    assert "Not measured yet: 3 of 10 labeled test images" in nothing_measured(
        settings, [evaluation(9, 1.0, 0.0, 3)], 10, images=100
    )


@pytest.mark.parametrize(
    ("images", "unlabeled", "words"),
    [
        (80, 60, "flywheel split --test 0.2 --workspace /"),
        (35, 30, "flywheel split --test 0.3 --workspace /"),
        (12, 12, "do not help. Add photos."),
        (80, 5, "do not help. Add photos."),  # labeled images stay in their split
    ],
)
def test_a_project_with_too_few_test_images_is_not_told_to_keep_labeling(
    images: int, unlabeled: int, words: str
) -> None:
    """Not even a label for each image would bring a figure."""
    settings, _ = LabelerSettings.load()
    said = nothing_measured(settings, [], 8, images=images, unlabeled=unlabeled)
    assert "Not measured yet: 0 of 10 labeled test images." in said
    assert "This project has only 8, so more labels do not help." in said
    of_boxes = nothing_measured(settings, [], 8, images=images, unlabeled=unlabeled, counted="labeled image")
    assert "This project has only 8, so more labeled images do not help." in of_boxes
    assert words in said
    assert "Keep labeling" not in said


def test_while_the_folder_is_read_the_page_does_not_ask_for_more_photos() -> None:
    settings, _ = LabelerSettings.load()
    reading = ScanView(running=True, done=300, total=5_000, seconds_left=None)
    said = nothing_measured(settings, [], 2, images=20, unlabeled=20, scanning=reading)
    assert "there are 2 so far. The image folder is still being read: 300 of 5,000 files." in said
    assert "Add photos" not in said
    read = reading.model_copy(update={"running": False})
    assert "Add photos" in nothing_measured(settings, [], 2, images=20, unlabeled=20, scanning=read)


def test_without_a_test_image_the_page_does_not_ask_for_more_labels() -> None:
    settings, _ = LabelerSettings.load(command_line={"test_set_frac": 0})
    said = nothing_measured(settings, [], 0)
    assert "flywheel split" in said
    assert "Keep labeling" not in said


def test_every_state_of_the_trainer_has_words() -> None:
    states = TrainerView.model_json_schema()["properties"]["state"]
    names = {name for part in states["anyOf"] for name in part.get("enum", [part.get("const")])}
    assert names <= set(TRAINER)


def test_typed_words_are_no_markdown() -> None:
    assert plain("![](http://a.b)") == r"\!\[\]\(http\://a\.b\)"
    assert plain("T-shirt, größe 5") == r"T\-shirt, größe 5"
