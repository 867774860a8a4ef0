"""Rows spread over workers in this process: the same numbers, and the same list, however many workers there are."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.columns.half_rows import HalfRows
from trainer.columns.spread_rows import CHUNK, SpreadRows, over
from trainer.engine.shards import Lost, Shards
from trainer.engine.workers import RowHolder
from trainer.learners.kernel_head import fit_head
from trainer.strategies import Pool, strategy_named
from trainer.tasks.pool_scores import ranked, score

ROWS = 3 * CHUNK + 1_234


class InProcess:
    """Row holders in this process, which get everything pickled."""

    def __init__(self, count):
        self.count = count
        self.holders = [RowHolder() for _ in range(count)]
        self.gone = set()
        self.asked = 0

    def put(self, value):
        return value

    def call(self, worker, method, *given):
        return worker, method, pickle.dumps(given)

    def results(self, tickets, seconds):
        found = []
        for worker, (_, method, pickled) in tickets:
            if worker in self.gone:
                self.gone.remove(worker)
                self.holders[worker] = RowHolder()  # as Ray does when it starts a worker again
                raise Lost(worker)
            self.asked += method == "over"
            found.append(getattr(self.holders[worker], method)(*pickle.loads(pickled)))
        return found


class Alone:
    def over(self, rows, function, which):
        return None


@pytest.fixture(scope="module")
def rows():
    Z = np.random.default_rng(0).standard_normal((ROWS, 12)).astype(np.float32)
    return Z / np.linalg.norm(Z, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def head(rows):
    return fit_head(rows[:60], np.arange(60) % 3)


def spread(rows, shards, name=1):
    return SpreadRows(rows, name, shards)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 7), st.integers(0, 2**31), st.booleans())
def test_the_numbers_do_not_depend_on_the_number_of_workers(rows, head, count, seed, half):
    kept = HalfRows(rows.astype(np.float16)) if half else rows
    rng = np.random.default_rng(seed)
    which = np.flatnonzero(rng.random(ROWS) < rng.random())
    crew = InProcess(count)
    shards = Shards(crew, least=1)
    shards.feed(spread(kept, shards))
    np.testing.assert_array_equal(
        over(spread(kept, shards), head.predict_proba, which), over(kept, head.predict_proba, which)
    )
    assert crew.asked > 0 or not len(which)


def test_the_numbers_do_not_depend_on_the_number_of_threads_here(rows, head, monkeypatch):
    alone = over(rows, head.predict_proba)
    monkeypatch.setattr("os.cpu_count", lambda: 5)
    np.testing.assert_array_equal(over(rows, head.predict_proba), alone)


@pytest.mark.parametrize("strategy", ["uncertainty_herding", "margin", "bald"])
def test_the_list_is_the_same_from_one_shard_and_from_three(rows, head, strategy):
    crew = InProcess(3)
    shards = Shards(crew, least=1)
    shards.feed(spread(rows, shards))
    labels = np.where(np.arange(ROWS) < 60, np.arange(ROWS) % 3, -1)

    def listed(embeddings):
        pool = Pool(embeddings, None, labels, np.zeros(ROWS, bool), np.arange(60, ROWS))
        view, scored = score(pool, head, 50)
        return ranked(view, strategy_named(strategy), 50, head.predict_proba, scored)

    alone, together = listed(rows), listed(spread(rows, shards))
    assert crew.asked > 0
    np.testing.assert_array_equal(together.rows, alone.rows)
    np.testing.assert_array_equal(together.scores, alone.scores)
    assert together.reasons == alone.reasons


def test_rows_that_join_are_sent_and_no_others(rows, head):
    crew = InProcess(2)
    shards = Shards(crew, least=1)
    assert shards.feed(spread(rows[: CHUNK + 10], shards))
    assert over(spread(rows[: CHUNK + 500], shards), head.predict_proba).shape == (CHUNK + 500, 3)
    assert crew.asked == 2
    assert shards.wanted is None


def test_many_missing_rows_are_computed_here_and_asked_for(rows, head):
    crew = InProcess(2)
    shards = Shards(crew, least=1)
    many = spread(rows, shards)
    np.testing.assert_array_equal(over(many, head.predict_proba), over(rows, head.predict_proba))
    assert crew.asked == 0
    assert shards.wanted is many


def test_a_worker_that_was_lost_is_sent_its_rows_again(rows, head):
    crew = InProcess(2)
    shards = Shards(crew, least=1)
    shards.feed(spread(rows, shards))
    crew.gone.add(1)
    expected = over(rows, head.predict_proba)
    np.testing.assert_array_equal(over(spread(rows, shards), head.predict_proba), expected)  # computed here
    assert shards.wanted is not None
    assert shards.feed(shards.wanted)
    before = crew.asked
    np.testing.assert_array_equal(over(spread(rows, shards), head.predict_proba), expected)
    assert crew.asked == before + 2


def test_a_worker_that_restarted_unnoticed_reports_that_it_has_no_rows(rows, head):
    crew = InProcess(2)
    shards = Shards(crew, least=1)
    shards.feed(spread(rows, shards))
    crew.holders[0] = RowHolder()
    np.testing.assert_array_equal(over(spread(rows, shards), head.predict_proba), over(rows, head.predict_proba))
    assert shards.wanted is not None
    assert shards.feed(shards.wanted)


def test_a_new_layout_replaces_the_old_one(rows, head):
    crew = InProcess(2)
    shards = Shards(crew, least=1)
    shards.feed(spread(rows, shards, name=1))
    turned = np.ascontiguousarray(rows[::-1])
    assert shards.feed(spread(turned, shards, name=2))
    found = over(spread(turned, shards, name=2), head.predict_proba)
    np.testing.assert_array_equal(found, over(turned, head.predict_proba))
    assert crew.asked == 2


def test_few_rows_are_computed_here(rows, head):
    crew = InProcess(2)
    shards = Shards(crew)
    shards.feed(spread(rows, shards))
    assert over(spread(rows, shards), head.predict_proba, np.arange(1_000)).shape == (1_000, 3)
    assert crew.asked == 0


def test_rows_without_workers_are_rows(rows):
    some = spread(rows, Alone())
    np.testing.assert_array_equal(some[[3, 1]], rows[[3, 1]])
    np.testing.assert_array_equal(np.asarray(some), rows)
    assert some.shape == rows.shape
