"""Slow results are computed once per state of the pool."""

import threading

import numpy as np
import pytest

from trainer.embeddings.transform import fit_projection
from trainer.explore import pool_layout


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    centres = np.eye(3, 8, dtype=np.float32)[np.arange(60) % 3]
    found = (centres + 0.1 * rng.standard_normal((60, 8))).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_groups_contain_nearby_rows(rows):
    group, closeness = pool_layout.LayoutCache(seed=0).groups("now", rows, 3)
    assert [len(set(group[k::3])) for k in range(3)] == [1, 1, 1]
    assert len(set(group)) == 3
    assert closeness.min() > 0.8


def test_a_state_is_computed_once_and_another_state_again(rows, monkeypatch):
    made = []
    monkeypatch.setattr(pool_layout, "groups", lambda rows, count, seed: made.append(count))
    seen = pool_layout.LayoutCache(seed=0)
    for state, count in [("now", 3), ("now", 3), ("now", 4), ("later", 3), ("later", 3)]:
        seen.groups(state, rows, count)
    assert made == [3, 4, 3]


def test_a_request_that_waits_too_long_is_told_and_later_finds_it_done(rows, monkeypatch):
    ready = threading.Event()
    monkeypatch.setattr(pool_layout, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(pool_layout, "positions", lambda rows, seed: ready.wait(30) and rows[:, :2])
    seen = pool_layout.LayoutCache(seed=0)
    for _ in range(2):
        with pytest.raises(pool_layout.Unfinished, match="will appear in a moment"):
            seen.positions("now", rows)
    ready.set()
    monkeypatch.setattr(pool_layout, "PATIENCE_SECONDS", 30)
    assert seen.positions("now", rows).shape == (60, 2)


def test_a_failed_computation_is_tried_again(rows, monkeypatch):
    seen = pool_layout.LayoutCache(seed=0)
    monkeypatch.setattr(pool_layout, "positions", lambda rows, seed: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        seen.positions("now", rows)
    monkeypatch.undo()
    assert np.abs(seen.positions("now", rows)).max() == pytest.approx(1)


def test_small_pools_have_a_map_and_groups():
    for n in range(4):
        rows = np.eye(4, dtype=np.float32)[:n]
        assert pool_layout.positions(rows, seed=0).shape == (n, 2)
        assert len(pool_layout.groups(rows, 20, seed=0).group) == n


@pytest.mark.parametrize("dim", [1, 3, 64])
@pytest.mark.parametrize("count", [2, 3, 30, 300])
def test_copies_of_one_image_lie_on_one_point_in_one_group(dim, count):
    image = np.random.default_rng(dim).standard_normal(dim).astype(np.float32)
    raw = np.tile(image, (count, 1))
    raw += np.random.default_rng(count).uniform(-1e-7, 1e-7, raw.shape).astype(np.float32) * np.abs(image)
    rows = fit_projection(raw.mean(axis=0), raw).transform(raw)
    assert not pool_layout.positions(rows, seed=0).any()
    assert len(np.unique(pool_layout.groups(rows, 20, seed=0).group)) == 1
    assert len(pool_layout.neighbours(rows, 0, 5)[0]) == min(5, count - 1)


def test_two_images_lie_apart_and_one_axis_is_enough():
    two = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    assert np.abs(np.diff(pool_layout.positions(two, seed=0)[:, 0])) == pytest.approx(2)
    line = np.array([[1.0], [-1.0], [-1.0], [1.0]], np.float32)
    flat = pool_layout.positions(line, seed=0)
    assert (flat[0] == flat[3]).all()
    assert np.abs(flat[0] - flat[1]).max() == pytest.approx(2)


def test_neighbours_are_the_most_similar_of_the_given_candidates(rows):
    found, similarity = pool_layout.neighbours(rows, 0, 19)
    assert set(found) == set(range(3, 60, 3))
    assert (np.diff(similarity) <= 0).all()
    some = np.array([0, 1, 6, 3, 2])
    found, similarity = pool_layout.neighbours(rows, 0, 2, some)
    assert set(found) == {3, 6}
    assert similarity == pytest.approx(rows[found] @ rows[0])
    assert pool_layout.neighbours(rows, 0, 5, np.array([0]))[0].size == 0
