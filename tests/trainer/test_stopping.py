"""A threshold must be met twice in a row, far enough apart; a budget and an empty pool stop at once."""

import json

from hypothesis import given
from hypothesis import strategies as st

from trainer.stopping import APART, APART_FIXED, Thresholds, budget_spent, nothing_left


def test_once_is_not_enough_and_neither_is_soon_after():
    thresholds = Thresholds({"accuracy": 0.9})
    assert thresholds.observe({"accuracy": 0.91}, 100, 100) is None
    assert thresholds.observe({"accuracy": 0.95}, 119, 119) is None
    reason = thresholds.observe({"accuracy": 0.92}, 120, 120)
    assert reason is not None
    assert "accuracy" in reason
    assert "92.0 %" in reason


def test_a_sample_that_does_not_grow_is_looked_at_with_models_apart():
    thresholds = Thresholds({"accuracy": 0.9})
    assert thresholds.observe({"accuracy": 0.95}, 945, 200) is None
    assert thresholds.observe({"accuracy": 0.95}, 945, 200 + APART_FIXED - 1) is None
    assert thresholds.observe({"accuracy": 0.95}, 945, 200 + APART_FIXED)


def test_a_sample_that_grows_must_grow_enough_whatever_was_learned():
    thresholds = Thresholds({"accuracy": 0.9})
    assert thresholds.observe({"accuracy": 0.95}, 100, 200) is None
    assert thresholds.observe({"accuracy": 0.95}, 101, 900) is None


def test_a_look_that_misses_begins_anew():
    thresholds = Thresholds({"accuracy": 0.9})
    looks = [(0.91, 100), (0.89, 130), (0.91, 160), (0.91, 170)]
    assert [thresholds.observe({"accuracy": low}, n, n) for low, n in looks] == [None] * 4
    assert thresholds.observe({"accuracy": 0.91}, 180, 180)


def test_every_metric_has_to_be_met():
    thresholds = Thresholds({"accuracy": 0.9, "macro_f1": 0.8})
    for n in (100, 200, 300):
        assert thresholds.observe({"accuracy": 0.95, "macro_f1": 0.7}, n, n) is None
        assert thresholds.observe({"accuracy": 0.95}, n, n) is None
    assert thresholds.observe({"accuracy": 0.95, "macro_f1": 0.8}, 400, 400) is None
    assert thresholds.observe({"accuracy": 0.95, "macro_f1": 0.8}, 420, 420)


def test_without_thresholds_and_once_disarmed_it_never_fires():
    none, disarmed = Thresholds({}), Thresholds({"accuracy": 0.5})
    disarmed.disarm()
    for n in (100, 200, 300):
        assert none.observe({"accuracy": 1.0}, n, n) is None
        assert disarmed.observe({"accuracy": 1.0}, n, n) is None


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30)), max_size=20), st.integers(0, 20))
def test_a_restart_in_between_changes_nothing(steps, restart):
    straight, restarted, n = Thresholds({"accuracy": 0.5}), Thresholds({"accuracy": 0.5}), 0
    for i, (low, more) in enumerate(steps):
        n += more
        if i == restart:
            restarted = Thresholds.from_dict(json.loads(json.dumps(restarted.to_dict())))
        assert straight.observe({"accuracy": low}, n, n) == restarted.observe({"accuracy": low}, n, n)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=30))
def test_it_fires_exactly_when_two_looks_in_a_row_are_far_enough_apart(steps):
    thresholds, n, run = Thresholds({"accuracy": 0.5}), 0, []
    for met, more in steps:
        n += more
        run = [*run, n] if met else []
        fired = thresholds.observe({"accuracy": 0.6 if met else 0.4}, n, n)
        assert bool(fired) == (bool(run) and run[-1] - run[0] >= APART)


def test_budget_and_empty_pool():
    assert budget_spent(99, 100) is None
    assert budget_spent(100, 100)
    assert budget_spent(10_000, 0) is None
    assert nothing_left(1) is None
    assert nothing_left(0)
