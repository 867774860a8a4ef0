from datetime import UTC, datetime
from uuid import uuid4

import pytest

from labeler.progress.goal import target
from shared.wire.evaluation import Advice, Evaluation, Interval, Needed
from shared.wire.project import ImageCounts, Target
from shared.wire.trainer import EmbeddingProgress, TrainerStatus


def status(label_budget: int) -> TrainerStatus:
    return TrainerStatus(
        state="training",
        log_id=None,
        acked_seq=0,
        round=0,
        labels=0,
        model_version=None,
        strategy="random",
        metrics={},
        last_error=None,
        embedding=EmbeddingProgress(done=0, total=0),
        timings={},
        label_budget=label_budget,
    )


def evaluation(labels: int, spent: int, needed: Needed | None) -> Evaluation:
    return Evaluation(
        id=uuid4(),
        log_id=uuid4(),
        acked_seq=spent,
        model_version="1",
        round=1,
        labels=labels,
        spent=spent,
        created_at=datetime.now(UTC),
        accuracy=Interval(value=0.8, low=0.7, high=0.9, n=50),
        macro_f1=None,
        log_loss=None,
        advice=Advice(needed=needed),
    )


def counts(labeled: int, left: int = 1_000) -> ImageCounts:
    return ImageCounts(total=labeled + left, labeled=labeled, skipped=0, flagged=0, unlabeled=left)


def found(
    status: TrainerStatus | None,
    latest: Evaluation | None,
    *,
    given: int = 100,
    trained: int = 80,
    left: int = 1_000,
    pace: float = 10.0,
    train_pace: float = 8.0,
) -> Target | None:
    """The goal after 100 labels, of which 20 are of test images."""
    return target(
        status,
        latest,
        given=given,
        images=counts(given, left),
        train=counts(trained, left),
        pace=pace,
        train_pace=train_pace,
    )


FORECAST = evaluation(80, 100, Needed(goal=0.9, labels=80, low=40, high=200))


def test_the_budget_is_reached_at_the_current_pace_of_all_labels() -> None:
    ahead = found(status(500), None, given=200, pace=20.0)
    assert (ahead.accuracy, ahead.labels, ahead.minutes) == (None, 300, 15.0)


def test_imported_labels_spend_no_budget() -> None:
    ahead = target(status(500), None, given=200, images=counts(900), train=counts(800), pace=1.0, train_pace=1.0)
    assert ahead.labels == 300


def test_train_labels_since_the_forecast_are_taken_off_at_their_own_pace() -> None:
    ahead = found(status(0), FORECAST, given=150, trained=120)
    assert (ahead.accuracy, ahead.labels, ahead.minutes) == (0.9, 40, 5.0)


def test_test_labels_bring_no_goal_nearer() -> None:
    assert found(None, FORECAST, given=100).labels == found(None, FORECAST, given=170).labels == 80


@pytest.mark.parametrize(("budget", "accuracy"), [(120, None), (1_000, 0.9)])
def test_the_nearer_one_counts(budget: int, accuracy: float | None) -> None:
    assert found(status(budget), FORECAST).accuracy == accuracy


def test_nobody_at_work_gives_no_time_and_what_is_passed_is_not_negative() -> None:
    assert found(status(500), None, pace=0.0).minutes is None
    assert found(None, FORECAST, train_pace=0.0).minutes is None
    assert found(status(50), None).labels == found(None, FORECAST, trained=300).labels == 0


def test_a_goal_beyond_the_images_left_is_no_goal() -> None:
    assert found(status(500), FORECAST, left=79) is None
    ahead = found(status(500), FORECAST, left=80)
    assert (ahead.accuracy, ahead.labels) == (0.9, 80)


def test_without_budget_and_forecast_there_is_no_target() -> None:
    assert found(None, None) is None
    assert found(status(0), evaluation(80, 100, None)) is None
    assert found(status(0), evaluation(80, 100, Needed(goal=0.9, labels=None, low=90, high=None))) is None
