"""Two versions side by side, from the trainer's comparison."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from labeler.explore import model_differences
from labeler.ui.charts import comparison
from shared.wire.evaluation import CalibrationBin, Interval
from shared.wire.jobs import Check, Comparison, Curve, Difference, Pairs, Scores
from shared.wire.models import ModelClass, ModelList, ModelVersion
from tests.labeler.projects import labeler, photos
from tests.labeler.ui.charts.test_several_classes import of_several

FULL = Interval(value=1, low=0.8, high=1, n=9)


def scores(version: str, accuracy: float, auc: float) -> Scores:
    return Scores(
        version=version,
        accuracy=Interval(value=accuracy, low=accuracy - 0.1, high=accuracy + 0.05, n=40),
        macro_f1=0.5,
        latency_ms=4.25,
        bytes=2_500_000,
        curves=[
            Curve(auc=auc, support=40, recall=[0.0, 1.0], precision=[1.0, auc]),
            Curve(label=1, name="cat", auc=0.9, support=20, recall=[0.0, 1.0], precision=[1.0, 0.8]),
            Curve(label=2, name="dog", auc=auc, support=20, recall=[0.0, 1.0], precision=[1.0, auc]),
            Curve(label=3, name="never seen", auc=None, support=0),
        ],
        calibration=[
            CalibrationBin(low=0.9, high=1, confidence=0.95, accuracy=Interval(value=1, low=0.8, high=1, n=9))
        ],
    )


@pytest.fixture
def found() -> Comparison:
    return Comparison(
        base=scores("old *one*", 0.8, 0.7),
        candidate=scores("new", 0.85, 0.75),
        split="test",
        images=40,
        pairs=Pairs(
            both_right=30,
            only_base=2,
            only_candidate=4,
            both_wrong=4,
            p=0.6875,
            gain=Interval(value=0.05, low=-0.05, high=0.15, n=40),
        ),
        checks=[Check(metric="accuracy", base=0.8, candidate=0.85, gain=0.05, min_delta=0.0, passed=True)],
        rule="all",
        decision="update_model",
        winner="new",
        reason="1 of 1 checks passed, 1 needed.",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_words_say_what_to_do_and_how_sure_that_is(found: Comparison) -> None:
    said = comparison.in_words(found)
    for part in (
        "Update to **new**",
        "is 5.0 points better",
        "between 5.0 points worse and 15.0 points better",
        "p = 0.688",
        "40 test images",
    ):
        assert part in said
    kept = found.model_copy(update={"decision": "discard", "winner": "old *one*"})
    assert r"Keep **old \*one\***" in comparison.in_words(kept)  # a name is no Markdown
    recorded = found.model_copy(update={"recorded": True, "pairs": None})
    assert "possibly on different images" in comparison.in_words(recorded)


def test_the_table_shows_what_was_measured_and_checked(found: Comparison) -> None:
    rows = {row["Metric"]: row for row in comparison.score_table(found)}
    assert rows["Accuracy"] == {"Metric": "Accuracy", r"old \*one\*": "80.0%", "new": "85.0%", "Check": "passed"}
    assert rows["Size, including the backbone"]["new"] == "2.5 MB"
    assert "Log loss (less is better)" not in rows  # neither was measured


def test_curves_are_offered_for_what_occurs_the_largest_change_first(found: Comparison) -> None:
    assert comparison.class_names(found) == [comparison.MEAN, "dog", "cat"]
    for name in comparison.class_names(found):
        drawn = comparison.curves(found, name).to_dict()
        (rows,) = drawn["datasets"].values()
        assert len(rows) == 4
        assert {row["version"][0] for row in rows} == {"A", "B"}
    assert len(comparison.calibration(found).to_dict()["datasets"]) == 2


def test_versions_are_listed_the_newest_first() -> None:
    version = ModelVersion(
        version="one",
        saved_at=datetime(2026, 1, 1, tzinfo=UTC),
        learner="head",
        architecture="pixels",
        classes=[ModelClass(id=1, name="cat"), ModelClass(id=2, name="dog")],
        log_id="x",
        acked_seq=1,
        labels=1_234,
        parameters=1,
        bytes=1_000,
        sha256="",
    )
    models = ModelList(models=[version, version.model_copy(update={"version": "two", "promoted": True})])
    rows = comparison.version_table(models)
    assert [row["Version"] for row in rows] == ["**two** (promoted)", "**one**"]
    assert rows[1]["Trained on"] == "1,234 labels"
    assert rows[1]["Accuracy (95% interval)"] == "not measured yet: 0 of 10 labeled test images"
    (row,) = comparison.version_table(
        ModelList(models=[version.model_copy(update={"metrics": of_several(20)})]), several=True
    )
    assert row["Macro F1 (95% interval)"] == "60.0% (50.0% – 70.0%, 20 test images)"
    assert row["Exact match (95% interval)"] == "30.0% (20.0% – 40.0%, 20 test images)"
    assert "Accuracy (95% interval)" not in row


def test_no_image_that_is_measured_on_is_shown_and_none_in_blind_mode(tmp_path) -> None:
    """Whatever the trainer names: the split that the labeler knows decides."""
    photos(tmp_path / "photos", 30)
    with labeler(tmp_path, test_set_frac=0.3, validation_set_frac=0.2) as service:
        entries = service.catalog.entries(0, 100)
        said = {"label": None, "base": "cat", "base_confidence": 0.9, "candidate": "dog", "candidate_confidence": 0.8}
        differing = [Difference.model_validate({**said, "image_id": entry.id}) for entry in entries]
        differing.append(differing[0].model_copy(update={"image_id": 999}))
        shown = model_differences.shown(differing, service.gallery, service.visibility, "ann")
        train = {entry.id for entry in entries if entry.split == "train"}
        assert {each.said.image_id for each in shown} == train
        assert 0 < len(train) < 30
        service.running.change({"blind_mode": True})
        assert model_differences.shown(differing, service.gallery, service.visibility, "ann") == []
