"""Shares of feature blocks: labels and pool decide how much own features and layout count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.embeddings.block_weights import GRID, SIGNALS, evidence_for, learned_shares, starting_shares
from trainer.embeddings.neighbourhood import Neighbourhood
from trainer.embeddings.transform import fit_projection, unit
from trainer.learners.kernel_head import GAMMA

BLOCKS = (40, 30)
START = (0.8, 0.2)


def pool(seed=0, n=600):
    """Raw vectors of two independent blocks, and the group (0 to 4) of each image in the first and the second."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 5, (2, n))
    parts = []
    for length, group in zip(BLOCKS, groups, strict=True):
        part = 2 * rng.standard_normal((5, length))[group] + rng.standard_normal((n, length))
        parts.append(part / np.linalg.norm(part, axis=1, keepdims=True))
    return np.hstack(parts).astype(np.float32), groups


def projected(X, shares=START):
    return fit_projection(X.mean(axis=0), X, BLOCKS, shares)


def one_hot(labels):
    return np.eye(5)[labels]


@pytest.mark.parametrize("block", [0, 1])
def test_the_block_that_tells_the_classes_apart_gets_the_weight(block):
    X, groups = pool()
    projection = projected(X)
    rows, labels = projection.transform(X[:60]), groups[block][:60]
    shares = learned_shares(rows, one_hot(labels), projection, START)
    assert sum(shares) == pytest.approx(1)
    assert shares[1] > 0.5 if block == 1 else shares[1] < 0.06


def test_both_count_when_both_are_needed():
    X, groups = pool()
    projection = projected(X)
    labels = (groups[0][:120] > 1) * 2 + (groups[1][:120] > 1)
    shares = learned_shares(projection.transform(X[:120]), one_hot(labels), projection, START)
    assert 0.25 < shares[1] < 0.6


def test_the_evidence_tells_whether_neighbours_share_a_class():
    """Letters in bright colours: neighbours share the colour."""
    rng = np.random.default_rng(0)
    colours, letters = rng.integers(0, 40, 600), rng.integers(0, 20, 600)
    raw = np.hstack([2 * np.eye(40)[colours], np.eye(20)[letters]]) + 0.05 * rng.standard_normal((600, 60))
    rows = unit((raw - raw.mean(axis=0)).astype(np.float32))
    near = Neighbourhood.of(rows, seed=0).coordinates(rows[:150], rows)
    assert evidence_for(near, 0.5, rows[:150], np.eye(20)[letters[:150]]) < -100
    assert evidence_for(near, 0.5, rows[:150], np.eye(40)[colours[:150]]) > 100


def test_few_uninformative_labels_do_not_change_the_shares():
    X, _ = pool()
    projection = projected(X)
    rows = projection.transform(X[:5])
    assert learned_shares(rows, one_hot(np.arange(5)), projection, START) == START
    assert learned_shares(rows[:2], one_hot(np.arange(2)), projection, START) == START
    assert learned_shares(rows, one_hot(np.zeros(5, int)), projection, START) == START


def test_a_single_block_has_no_shares():
    X, groups = pool()
    projection = fit_projection(X.mean(axis=0), X)
    assert starting_shares(X, (70,)) == projection.shares == ()
    assert learned_shares(projection.transform(X[:60]), one_hot(groups[0][:60]), projection, ()) == ()


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(5, 80), st.sampled_from([START, (0.45, 0.55)]))
def test_neither_the_order_of_labels_nor_the_present_shares_matter(seed, n, now):
    X, groups = pool(seed, n=200)
    labels, order = groups[1][:n], np.random.default_rng(seed).permutation(n)
    found = []
    for shares, places in ((START, np.arange(n)), (now, order)):
        projection = projected(X, shares)
        learned = learned_shares(projection.transform(X[:n])[places], one_hot(labels[places]), projection, START)
        found.append(learned)
        assert GRID[0] <= learned[1] <= GRID[-1]
    assert found[0][1] == pytest.approx(found[1][1], abs=0.051)  # shares change only by such a step or more


def test_three_blocks_are_weighted_one_after_the_other():
    X, groups = pool()
    noise = np.random.default_rng(1).standard_normal((len(X), 20)).astype(np.float32)
    X = np.hstack([X, noise / np.linalg.norm(noise, axis=1, keepdims=True)])
    start = (0.6, 0.2, 0.2)
    projection = fit_projection(X.mean(axis=0), X, (*BLOCKS, 20), start)
    shares = learned_shares(projection.transform(X[:80]), one_hot(groups[1][:80]), projection, start)
    assert shares[1] > 0.4
    assert shares[2] < 0.06
    assert sum(shares) == pytest.approx(1)


def test_photos_that_are_aligned_begin_with_more_layout():
    rng = np.random.default_rng(0)
    scattered, offset = rng.standard_normal((200, 70)), np.r_[np.zeros(40), 4 * np.ones(30)]
    assert starting_shares(scattered.astype(np.float32), BLOCKS) == pytest.approx((0.8, 0.2))
    assert starting_shares((scattered + offset).astype(np.float32), BLOCKS) == pytest.approx((0.6, 0.4))


def test_many_labels_are_represented_by_a_sample():
    X, groups = pool(n=3_000)
    projection = projected(X)
    shares = learned_shares(projection.transform(X), one_hot(groups[1]), projection, START)
    assert shares[1] > 0.5


def test_the_evidence_equals_that_from_the_eigenvalues_of_the_kernel():
    """Rasmussen & Williams 2006, equation 5.8, with the noise that fits best; also with copies of an image."""
    X, groups = pool(n=120)
    rows = unit(X[:, :40])
    rows[100:] = rows[:20]
    near = unit(X[:, 40:])
    targets = np.eye(5)[groups[0]]
    centred = targets - targets.mean(axis=0)
    degrees, n = 4, len(rows)

    def expected(gram):
        middle = np.eye(n) - 1 / n
        values, vectors = np.linalg.eigh(middle @ np.exp(2 * GAMMA * (np.minimum(gram, 1) - 1)) @ middle)
        power = ((vectors.T @ centred) ** 2).sum(axis=1)
        found = []
        for signal in SIGNALS:
            stretch = signal * np.maximum(values, 0) + 1
            noise = (power / stretch).sum() / (n * degrees)
            found.append(-0.5 * degrees * np.log(stretch).sum() - 0.5 * n * degrees * np.log(noise))
        return max(found)

    alone, other = (each.astype(np.float64) @ each.T.astype(np.float64) for each in (rows, near))
    gain = expected(0.7 * alone + 0.3 * other) - expected(alone)
    assert evidence_for(near, 0.3, rows, targets) == pytest.approx(gain, abs=1e-3)
