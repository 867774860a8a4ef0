"""A threshold must be met twice in a row, far enough apart; a budget and an empty pool stop at once."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.settings.services import TrainerSettings
from tests.trainer.learning import client, photos, teach, trainer, wait_for  # noqa: F401
from trainer.loop.stopping import APART, APART_FIXED, StoppingRules, Thresholds


def test_a_threshold_must_be_met_twice_and_far_enough_apart():
    thresholds = Thresholds({"accuracy": 0.9})
    assert thresholds.observe({"accuracy": 0.91}, 100, 100) is None
    assert thresholds.observe({"accuracy": 0.95}, 119, 119) is None
    reason = thresholds.observe({"accuracy": 0.92}, 120, 120)
    assert reason is not None
    assert "accuracy" in reason
    assert "92.0%" in reason


def test_with_a_constant_sample_the_two_models_must_be_far_apart():
    thresholds = Thresholds({"accuracy": 0.9})
    assert thresholds.observe({"accuracy": 0.95}, 945, 200) is None
    assert thresholds.observe({"accuracy": 0.95}, 945, 200 + APART_FIXED - 1) is None
    assert thresholds.observe({"accuracy": 0.95}, 945, 200 + APART_FIXED)


def test_a_sample_that_grows_must_grow_enough_whatever_was_learned():
    thresholds = Thresholds({"accuracy": 0.9})
    assert thresholds.observe({"accuracy": 0.95}, 100, 200) is None
    assert thresholds.observe({"accuracy": 0.95}, 101, 900) is None


def test_a_missed_threshold_starts_the_count_again():
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


def rules(state=None, **settings):
    loaded = TrainerSettings.load(command_line={})[0].model_copy(update=settings)
    return StoppingRules(loaded, {} if state is None else state)


def test_a_budget_that_is_spent():
    assert rules(label_budget=100).given(99) is None
    assert rules(label_budget=100).given(100)
    assert rules(label_budget=0).given(10_000) is None


def test_a_budget_is_reported_while_it_applies():
    spent = rules(label_budget=100)
    assert spent.budget == 100
    spent.stopped("budget")
    spent.resumed()
    assert spent.budget == 0
    spent.changed(["label_budget"])
    assert spent.budget == 100


def test_an_empty_pool_is_reported_only_after_an_answer():
    ended = rules()
    assert ended.left(0) is None
    ended.answered()
    assert ended.left(None) is None
    assert ended.left(1) is None
    assert ended.left(0)


@pytest.mark.parametrize("rule", [None, "thresholds", "budget", "nothing_left"])
def test_resuming_disarms_what_fired_and_nothing_else_also_over_a_restart(rule):
    settings = {"label_budget": 10, "early_stopping_metrics_thresholds": {"accuracy": 0.5}}
    before = rules(**settings)
    before.answered()
    before.stopped(rule)
    before.resumed()
    after = rules(json.loads(json.dumps(before.state)), **settings)
    after.measured({"accuracy": 0.9}, 100, 100)
    fires = {
        "thresholds": after.measured({"accuracy": 0.9}, 120, 200),
        "budget": after.given(10),
        "nothing_left": after.left(0),
    }
    assert [name for name, reason in fires.items() if reason is None] == ([rule] if rule else [])


def test_a_new_budget_is_armed_anew():
    spent = rules(label_budget=10)
    spent.stopped("budget")
    spent.resumed()
    assert spent.given(12) is None
    spent.changed(["label_budget"])
    assert spent.given(12)


def test_the_state_of_the_rules_is_used_only_under_the_lock(client, trainer):  # noqa: F811
    """The state is written whenever somebody presses a button, on another thread than the loop's."""
    unwatched = []

    class Watched(StoppingRules):
        def __getattribute__(self, name):
            if name in ("answered", "stopped", "resumed", "changed", "measured", "given", "left"):
                called.add(name)
                if not trainer.control.changed._is_owned():
                    unwatched.append(name)
            return super().__getattribute__(name)

    called = set()
    trainer.control.rules = Watched(trainer.settings, trainer.control.desired.stopping)
    teach(client, [*range(12), *range(40, 60)])
    wait_for(lambda: {"answered", "measured", "given", "left"} <= called)
    client.patch("/settings", json={"label_budget": 20})
    wait_for(lambda: client.get("/status").json()["state"] == "stopped")
    client.post("/resume")
    assert {"changed", "stopped", "resumed"} <= called
    assert unwatched == []
