from datetime import UTC, datetime
from uuid import uuid4

import pytest

from labeler.progress.goal import target
from shared.wire.evaluation import Advice, Evaluation, Interval, Needed
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


def evaluation(spent: int, needed: Needed | None) -> Evaluation:
    return Evaluation(
        id=uuid4(),
        log_id=uuid4(),
        acked_seq=spent,
        model_version="1",
        round=1,
        labels=spent,
        spent=spent,
        created_at=datetime.now(UTC),
        accuracy=Interval(value=0.8, low=0.7, high=0.9, n=50),
        macro_f1=None,
        log_loss=None,
        advice=Advice(needed=needed),
    )


FORECAST = evaluation(100, Needed(goal=0.9, labels=80, low=40, high=200))


def test_the_budget_is_reached_at_the_pace_of_now() -> None:
    found = target(status(500), None, labeled=200, given=200, pace=20.0)
    assert (found.accuracy, found.labels, found.minutes) == (None, 300, 15.0)


def test_imported_labels_spend_no_budget() -> None:
    assert target(status(500), None, labeled=900, given=200, pace=1.0).labels == 300


def test_labels_given_since_the_forecast_are_taken_off() -> None:
    found = target(status(0), FORECAST, labeled=150, given=150, pace=10.0)
    assert (found.accuracy, found.labels, found.minutes) == (0.9, 30, 3.0)


@pytest.mark.parametrize(("budget", "accuracy"), [(120, None), (1_000, 0.9)])
def test_the_nearer_one_counts(budget: int, accuracy: float | None) -> None:
    assert target(status(budget), FORECAST, labeled=100, given=100, pace=10.0).accuracy == accuracy


def test_nobody_at_work_gives_no_time_and_what_is_passed_is_not_negative() -> None:
    assert target(status(500), None, labeled=200, given=200, pace=0.0).minutes is None
    assert target(status(100), None, labeled=200, given=200, pace=1.0).labels == 0


def test_what_the_images_without_a_label_cannot_reach_is_no_goal() -> None:
    assert target(status(500), FORECAST, labeled=100, given=100, pace=10.0, left=79) is None
    found = target(status(500), FORECAST, labeled=100, given=100, pace=10.0, left=80)
    assert (found.accuracy, found.labels) == (0.9, 80)


def test_without_budget_and_forecast_there_is_no_target() -> None:
    assert target(None, None, labeled=10, given=10, pace=1.0) is None
    assert target(status(0), evaluation(10, None), labeled=10, given=10, pace=1.0) is None
    assert (
        target(
            status(0), evaluation(10, Needed(goal=0.9, labels=None, low=90, high=None)), labeled=10, given=10, pace=1.0
        )
        is None
    )
