from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from labeler.store.pace import PACE_MINUTES, Pace
from shared.wire.log import Row


def answer(annotator: str, seconds_ago: float, image_id: int = 1) -> Row:
    at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return Row(seq=1, id=uuid4(), action="label", image_id=image_id, label=1, annotator=annotator, created_at=at)


def test_each_has_a_pace_and_all_have_one_together() -> None:
    pace = Pace()
    for seconds_ago in (60, 40, 20):
        pace.observe(answer("ann", seconds_ago))
    for seconds_ago in (30, 15):
        pace.observe(answer("bob", seconds_ago))
    assert pace.per_minute("ann") == pytest.approx(3, rel=0.1)
    assert pace.per_minute("bob") == pytest.approx(4, rel=0.1)
    assert pace.per_minute() == pytest.approx(3 + 4, rel=0.1)
    assert pace.per_minute("eve") == 0


def test_a_skip_takes_time_and_is_no_label() -> None:
    pace = Pace()
    for number, seconds_ago in enumerate((60, 45, 30, 15)):
        pace.observe(answer("ann", seconds_ago).model_copy(update={"action": "skip" if number % 2 else "label"}))
    assert pace.per_minute("ann") == pace.per_minute() == pytest.approx(2, rel=0.1)
    assert [(person.name, person.answers) for person in pace.active()] == [("ann", 4)]


def test_nobody_is_faster_than_all_together() -> None:
    pace = Pace()
    for seconds_ago in (290, 200, 100):
        pace.observe(answer("ann", seconds_ago))
    for number in range(20):
        pace.observe(answer("bob", 4 - number / 10))
    slow, fast = pace.per_minute("ann"), pace.per_minute("bob")
    assert fast > 200
    assert pace.per_minute() >= slow + fast - 0.2
    assert {person.name: person.per_minute for person in pace.people()} == pytest.approx(
        {"bob": fast, "ann": slow}, rel=0.1
    )


def test_who_has_not_answered_lately_counts_but_is_not_active() -> None:
    pace = Pace()
    for _ in range(3):
        pace.observe(answer("ann", 60 * PACE_MINUTES + 5))
    pace.observe(answer("bob", 1))
    assert [(person.name, person.answers, person.per_minute) for person in pace.people()] == [
        ("ann", 3, 0),
        ("bob", 1, 1),
    ]
    assert [person.name for person in pace.active()] == ["bob"]


def test_an_image_that_two_people_answer_brings_the_goal_nearer_once() -> None:
    pace = Pace()
    for number in range(6):
        pace.observe(answer("ann", 60 - number, number))
        pace.observe(answer("bob", 60 - number, number))
    assert pace.per_minute() == pytest.approx(12, rel=0.1)
    assert pace.images_per_minute() == pytest.approx(6, rel=0.1)


def test_train_images_have_a_pace_of_their_own() -> None:
    pace = Pace()
    for number in range(10):
        pace.observe(answer("ann", 60 - number, number))
    assert pace.images_per_minute(lambda image_id: image_id < 8) == pytest.approx(8, rel=0.1)


def test_an_answer_given_anew_is_no_further_image() -> None:
    pace = Pace()
    for number in range(6):
        pace.observe(answer("ann", 60 - number, number // 2))
    assert pace.images_per_minute() == pytest.approx(3, rel=0.1)


def test_the_first_answers_after_a_pause_and_a_step_on_the_grid_forecast_nothing() -> None:
    pace = Pace()
    for number in range(4):
        pace.observe(answer("ann", 60 - number, number))
    assert pace.per_minute() > 0
    assert pace.images_per_minute() == 0
    pace = Pace()
    for number in range(200):
        pace.observe(answer("ann", 1, number))
    assert pace.images_per_minute() == 0
