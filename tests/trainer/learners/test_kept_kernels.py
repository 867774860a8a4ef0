"""Probabilities from kernels that are kept between rounds equal those that the head computes by itself."""

import numpy as np
import pytest

from trainer.columns.half_rows import HalfRows
from trainer.embeddings.transform import unit
from trainer.learners import kept_kernels
from trainer.learners.kept_kernels import KeptKernels
from trainer.learners.kernel_head import fit_head
from trainer.learners.sigmoid_head import fit_sigmoids

CLASSES = 3
ROUNDS = ([*range(20)], [*range(30)], [*range(5), *range(15, 40)], [50, 51, 52, 53], [*range(60)])
"""Labeled rows: some more, some undone, others altogether, and all again."""


@pytest.fixture(scope="module")
def pool():
    """Unit rows in three groups, the last ten of them copies of the first ten, and their classes."""
    rng = np.random.default_rng(0)
    y = np.arange(200) % CLASSES
    rows = unit((np.eye(CLASSES, 8)[y] + 0.3 * rng.standard_normal((200, 8))).astype(np.float32))
    return np.concatenate([rows, rows[:10]]), np.concatenate([y, y[:10]])


def same(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("most", [210 * 1_000, 210 * 64], ids=["all kept", "room for one head"])
@pytest.mark.parametrize("unused", [0, 2, 100])
def test_probabilities_are_those_of_the_head_whichever_labels_came_before(pool, monkeypatch, most, unused):
    monkeypatch.setattr(kept_kernels, "MOST", most)
    monkeypatch.setattr(kept_kernels, "UNUSED", unused)
    rows, y = pool
    kernels = KeptKernels(rows)
    for labeled in ROUNDS:
        head = fit_head(rows[labeled], y[labeled])
        assert KeptKernels.suit(len(rows), len(head.landmarks))
        same(kernels.probabilities(head), head.predict_proba(rows))
    assert not KeptKernels.suit(len(rows), 1_001)
    assert not KeptKernels.suit(100_000, 1)


def test_copies_of_a_labeled_image_count_each(pool):
    rows, y = pool
    labeled = [*range(20), *range(200, 210)]
    head = fit_head(rows[labeled], y[labeled])
    same(KeptKernels(rows).probabilities(head), head.predict_proba(rows))


def test_several_classes_for_each_image_and_rows_in_half_precision(pool):
    rows, y = pool
    half = HalfRows(rows.astype(np.float16))
    head = fit_sigmoids(half[:60], np.eye(CLASSES, dtype=np.int8)[y[:60]])
    same(KeptKernels(half).probabilities(head), head.predict_proba(half[:]))


def test_kernels_that_were_not_computed_to_the_end_are_not_kept(pool, monkeypatch):
    rows, y = pool
    kernels, head = KeptKernels(rows), fit_head(rows[:20], y[:20])

    def out_of_memory(*_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(kept_kernels, "kernel", out_of_memory)
        with pytest.raises(MemoryError):
            kernels.probabilities(head)
    same(kernels.probabilities(head), head.predict_proba(rows))
