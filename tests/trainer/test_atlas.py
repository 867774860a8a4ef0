"""What takes seconds is worked out once for each state of the pool."""

import threading

import numpy as np
import pytest

from trainer import atlas


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    centres = np.eye(3, 8, dtype=np.float32)[np.arange(60) % 3]
    found = (centres + 0.1 * rng.standard_normal((60, 8))).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_groups_are_what_lies_together(rows):
    group, closeness = atlas.Atlas(seed=0).groups("now", rows, 3)
    assert [len(set(group[k::3])) for k in range(3)] == [1, 1, 1]
    assert len(set(group)) == 3
    assert closeness.min() > 0.8


def test_the_same_state_is_worked_out_once_and_another_one_anew(rows, monkeypatch):
    made = []
    monkeypatch.setattr(atlas, "groups", lambda rows, count, seed: made.append(count))
    seen = atlas.Atlas(seed=0)
    for state, count in [("now", 3), ("now", 3), ("now", 4), ("later", 3), ("later", 3)]:
        seen.groups(state, rows, count)
    assert made == [3, 4, 3]


def test_a_request_that_waits_too_long_is_told_and_later_finds_it_done(rows, monkeypatch):
    ready = threading.Event()
    monkeypatch.setattr(atlas, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(atlas, "positions", lambda rows, seed: ready.wait(30) and rows[:, :2])
    seen = atlas.Atlas(seed=0)
    for _ in range(2):
        with pytest.raises(atlas.Unfinished, match="comes by itself"):
            seen.positions("now", rows)
    ready.set()
    monkeypatch.setattr(atlas, "PATIENCE_SECONDS", 30)
    assert seen.positions("now", rows).shape == (60, 2)


def test_what_failed_is_tried_again(rows, monkeypatch):
    seen = atlas.Atlas(seed=0)
    monkeypatch.setattr(atlas, "positions", lambda rows, seed: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        seen.positions("now", rows)
    monkeypatch.undo()
    assert np.abs(seen.positions("now", rows)).max() == pytest.approx(1)


def test_small_pools_have_a_map_and_groups():
    for n in range(4):
        rows = np.eye(4, dtype=np.float32)[:n]
        assert atlas.positions(rows, seed=0).shape == (n, 2)
        assert len(atlas.groups(rows, 20, seed=0).group) == n


def test_neighbours_are_the_most_similar_of_those_that_come_into_question(rows):
    found, similarity = atlas.neighbours(rows, 0, 19)
    assert set(found) == set(range(3, 60, 3))
    assert (np.diff(similarity) <= 0).all()
    some = np.array([0, 1, 6, 3, 2])
    found, similarity = atlas.neighbours(rows, 0, 2, some)
    assert set(found) == {3, 6}
    assert similarity == pytest.approx(rows[found] @ rows[0])
    assert atlas.neighbours(rows, 0, 5, np.array([0]))[0].size == 0
