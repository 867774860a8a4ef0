"""Guarantees of every registered strategy, and how strategies are found by name."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trainer.pools import make_pool
from trainer.strategies import STRATEGIES, Pool, Ranking, strategy_named

every = pytest.mark.parametrize("name", STRATEGIES)


def holds(ranking, pool, count):
    assert isinstance(ranking, Ranking)
    assert ranking.rows.dtype == np.int64
    assert ranking.scores.dtype == np.float64
    assert len(ranking.rows) == len(ranking.scores) == len(ranking.reasons) == min(count, len(pool.candidates))
    assert len(np.unique(ranking.rows)) == len(ranking.rows)
    assert np.isin(ranking.rows, pool.candidates).all()
    assert np.isfinite(ranking.scores).all()
    assert all(reason and len(reason) < 200 for reason in ranking.reasons)


@every
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    n=st.integers(0, 40),
    classes=st.integers(1, 4),
    labeled=st.integers(0, 15),
    head=st.booleans(),
    count=st.integers(0, 50),
    seed=st.integers(0, 3),
)
def test_it_ranks_the_candidates(name, n, classes, labeled, head, count, seed):
    pool = make_pool(n, 5, classes, labeled, head=head, seed=seed, leased=range(min(n, 2)))
    holds(STRATEGIES[name].strategy(pool, count), pool, count)


@every
@pytest.mark.parametrize("head", [True, False])
def test_asking_for_all_gives_a_permutation(name, head):
    pool = make_pool(head=head)
    ranking = STRATEGIES[name].strategy(pool, 1_000)
    assert sorted(ranking.rows.tolist()) == pool.candidates.tolist()


@every
@pytest.mark.parametrize("head", [True, False])
def test_it_is_the_same_under_the_same_seed_and_leaves_the_pool_alone(name, head):
    pool = make_pool(head=head)
    arrays = {key: value.copy() for key, value in vars(pool).items() if isinstance(value, np.ndarray)}
    first = STRATEGIES[name].strategy(pool, 20)
    second = STRATEGIES[name].strategy(replace(pool, memory={}), 20)
    np.testing.assert_array_equal(first.rows, second.rows)
    np.testing.assert_allclose(first.scores, second.scores, rtol=1e-5, atol=1e-6)
    assert first.reasons == second.reasons
    for key, value in arrays.items():
        np.testing.assert_array_equal(getattr(pool, key), value)


@every
def test_the_order_of_the_candidates_does_not_matter(name):
    pool = make_pool()
    shuffled = replace(pool, candidates=pool.candidates[::-1].copy(), memory={})
    np.testing.assert_array_equal(
        STRATEGIES[name].strategy(pool, 20).rows, STRATEGIES[name].strategy(shuffled, 20).rows
    )


@every
def test_what_is_upcoming_changes_no_more_than_the_order(name):
    pool = make_pool()
    for upcoming in (pool.candidates[:5], pool.candidates[-8:][::-1]):
        now = replace(pool, upcoming=upcoming, memory={})
        ranking = STRATEGIES[name].strategy(now, 1_000)
        holds(ranking, now, 1_000)


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "mixture"])
@pytest.mark.parametrize("head", [True, False])
def test_a_list_that_nothing_happened_to_stays_as_it_is(name, head):
    """(Except mixtures: an image that one part asked for may be nearly as good for another part.)"""
    pool = make_pool(head=head)
    first = STRATEGIES[name].strategy(pool, 20)
    again = STRATEGIES[name].strategy(replace(pool, upcoming=first.rows[:10]), 20)
    np.testing.assert_array_equal(again.rows, first.rows)


@every
def test_ties_are_broken_by_the_seed(name):
    def tied(seed):
        n = 30
        Z = np.tile(np.eye(1, 4, dtype=np.float32), (n, 1))
        p, y = np.full((n, 3), 1 / 3, dtype=np.float32), np.full(n, -1)
        y[:3] = [0, 1, 2]
        return Pool(Z, p, y, np.zeros(n, dtype=bool), np.arange(3, n), seed, {}, np.arange(3))

    orders = [STRATEGIES[name].strategy(tied(seed), 30) for seed in range(3)]
    for seed, ranking in enumerate(orders):
        holds(ranking, tied(seed), 30)
    assert len({tuple(ranking.rows.tolist()) for ranking in orders}) > 1


@every
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(st.tuples(st.integers(0, 29), st.integers(-1, 2), st.integers(0, 6)), min_size=1, max_size=6))
def test_a_cache_never_changes_the_answers(name, steps):
    """Labels come, change and go, and images join: a strategy with a cache gives the same answers as one without."""
    whole = make_pool(60, 6, 3, 0, seed=1)
    labels, size, memory = np.full(60, -1), 30, {}
    labels[:3] = [10, 11, 12]
    for row, label, joined in steps:
        labels[row], size = label + 10 if label >= 0 else -1, min(60, size + joined)
        now = Pool(
            whole.embeddings[:size],
            whole.probabilities[:size],
            labels[:size].copy(),
            whole.leased[:size],
            np.flatnonzero(labels[:size] < 0),
            0,
            memory,
            whole.classes,
        )
        remembered = STRATEGIES[name].strategy(now, 15)
        fresh = STRATEGIES[name].strategy(replace(now, memory={}), 15)
        np.testing.assert_array_equal(remembered.rows, fresh.rows)


@every
def test_it_says_when_to_use_it(name):
    assert STRATEGIES[name].when.endswith(".")


def test_an_unknown_name_gives_one_sentence_that_lists_the_known_ones():
    with pytest.raises(ValueError, match="no query strategy 'margn'") as error:
        strategy_named("margn")
    assert "margin" in str(error.value)


@pytest.mark.parametrize("path", ["no.such.module:function", "math:nothing", ":f", "math:", "math:pi"])
def test_a_path_to_no_function_gives_one_sentence(path):
    with pytest.raises(ValueError, match=r"^The query strategy .*\.$"):
        strategy_named(path)


def backwards(pool, count):
    """Your own strategy, as in docs/guides/strategies.md."""
    rows = np.sort(pool.candidates)[::-1][:count]
    return Ranking(rows, -np.arange(len(rows), dtype=float), ["a late one"] * len(rows))


def twice(pool, count):
    return Ranking(pool.candidates[[0, 0]], np.zeros(2), ["a", "b"])


def labeled(pool, count):
    return Ranking(pool.labeled, np.zeros(len(pool.labeled)), ["a"] * len(pool.labeled))


def infinite(pool, count):
    return Ranking(pool.candidates[:1], np.array([np.inf]), ["a"])


def uneven(pool, count):
    return Ranking(pool.candidates[:2], np.zeros(2), ["a"])


def fractional(pool, count):
    return Ranking(pool.candidates[:1] + 0.5, np.zeros(1), ["a"])


def listing(pool, count):
    return pool.candidates[:count].tolist()


def test_a_function_of_your_own_is_found_by_its_path():
    pool = make_pool()
    ranking = strategy_named(f"{__name__}:backwards")(pool, 7)
    holds(ranking, pool, 7)
    assert ranking.rows.tolist() == sorted(pool.candidates.tolist())[::-1][:7]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (twice, "a row twice"),
        (labeled, "not candidates"),
        (infinite, "not finite"),
        (uneven, "different lengths"),
        (fractional, "not integers"),
        (listing, "not a Ranking"),
    ],
)
def test_what_a_function_of_your_own_returns_is_checked(function, words):
    with pytest.raises(ValueError, match=words):
        strategy_named(f"{__name__}:{function.__name__}")(make_pool(), 5)


DOCUMENT = Path(__file__).parents[3] / "docs" / "guides" / "strategies.md"


def test_every_strategy_is_documented_with_its_sentence():
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, registered in STRATEGIES.items():
        assert f"| `{name}` | {registered.when} |" in text


@pytest.mark.parametrize("head", [True, False])
def test_the_example_in_the_document_runs(head, tmp_path, monkeypatch):
    source = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert source is not None
    (tmp_path / "example_of_a_strategy.py").write_text(source.group(1), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    pool = make_pool(head=head)
    holds(strategy_named("example_of_a_strategy:oldest_doubt")(pool, 9), pool, 9)
