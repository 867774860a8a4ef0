"""The rows of a large pool, in half precision in a mapped file."""

import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from tests.trainer.logs import entry
from trainer.columns import half_rows
from trainer.columns.half_rows import HalfRows, RowStore, parts
from trainer.columns.spread_rows import CHUNK, over
from trainer.embeddings.nearest import nearest
from trainer.embeddings.space import ImagePool
from trainer.learners.kernel_head import fit_head

DIM = 6
MAPPED = Path("/proc/self/smaps")


def rows_of(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)


@given(st.lists(st.integers(0, 40), max_size=8))
def test_large_pools_keep_rows_to_eleven_bits(tmp_path_factory, counts):
    store, expected = RowStore(DIM, tmp_path_factory.getbasetemp(), in_memory=20 * DIM), np.empty((0, DIM), np.float32)
    views = []
    for seed, count in enumerate(counts):
        views.append((store.first(len(store)), expected))
        store.append(rows_of(count, seed))
        expected = np.concatenate([expected, rows_of(count, seed)])
    found = store.first(len(expected))
    assert isinstance(found, HalfRows) == (len(expected) > 20)
    for view, then in [*views, (found, expected)]:  # what a reader holds does not change
        np.testing.assert_allclose(view[:], then, rtol=2**-11, atol=1e-7)
        assert view[:].dtype == np.float32


def test_it_copies_no_row_when_the_file_grows(tmp_path, monkeypatch):
    monkeypatch.setattr(half_rows, "RESERVED", 2 * DIM * 100)
    store = RowStore(DIM, tmp_path, in_memory=0)
    store.append(rows_of(50))
    before = store.first(50)
    for _ in range(10):
        store.append(rows_of(50))
    before._data[0] = 7.0  # the same bytes on the disk, mapped a second time
    assert store.first(550)[0].tolist() == [7.0] * DIM
    assert list(tmp_path.iterdir()) == []  # the file has no name: nothing is left behind


def test_a_full_disk_is_an_error_and_changes_nothing(tmp_path, monkeypatch):
    store = RowStore(DIM, tmp_path, in_memory=10 * DIM)
    store.append(rows_of(10))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        with pytest.raises(OSError, match="No space"):
            store.append(rows_of(10, 1))
    np.testing.assert_array_equal(store.first(10), rows_of(10))
    store.append(rows_of(10, 1))
    np.testing.assert_allclose(store.first(20)[10:], rows_of(10, 1), rtol=2**-11, atol=1e-7)


def test_they_can_replace_an_array(tmp_path):
    plain = rows_of(20_000)
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    store = RowStore(DIM, tmp_path, in_memory=0)
    store.append(plain)
    half = store.first(len(plain))
    rounded = plain.astype(np.float16).astype(np.float32)
    assert half.shape == np.asarray(half).shape == plain.shape
    np.testing.assert_array_equal(half @ np.ones(DIM, np.float32), rounded @ np.ones(DIM, np.float32))
    np.testing.assert_array_equal(np.concatenate([some for _, some in parts(half)]), rounded)
    np.testing.assert_allclose(over(half, lambda some: some @ plain[:3].T), rounded @ plain[:3].T, atol=1e-6)
    assert nearest(half[:2], half, 5)[0].tolist() == nearest(rounded[:2], rounded, 5)[0].tolist()


@pytest.mark.skipif(not MAPPED.exists(), reason="only Linux lists the pages of a mapped file")
def test_a_pass_over_all_leaves_no_pages_in_this_process(tmp_path):
    store = RowStore(64, tmp_path, in_memory=0)
    store.append(np.ones((2 * CHUNK, 64), np.float32))

    def pages():
        regions = MAPPED.read_text().split(str(tmp_path))[1:]
        return sum(int(re.findall(r"^Rss: +(\d+) kB", each, re.MULTILINE)[0]) for each in regions)

    rows = store.first(2 * CHUNK)
    assert pages() > 2_000
    assert over(rows, lambda some: some.sum(axis=1)).sum() == 64.0 * 2 * CHUNK
    assert pages() < 200
    assert over(rows, lambda some: some.sum(axis=1), np.array([5])).tolist() == [64.0]


def test_a_model_predicts_the_same_on_them(tmp_path, monkeypatch):
    """Digits, a quarter of them held out: what half precision changes is far below what a label changes."""
    data, truth = load_digits(return_X_y=True)
    data = data.astype(np.float32)

    def pool_in(folder):
        pool = ImagePool(64, lambda hashes: data[[int(each, 16) for each in hashes]], folder=folder)
        every = [entry(i, split="test" if i % 4 == 0 else "train") for i in range(len(data))]
        pool.add(every, complete=True)
        return pool

    def predicted(pool):
        head = fit_head(pool.train.rows[:100], truth[pool.train.ids[:100]])
        return over(pool.held.rows, head.predict_proba)

    plain = predicted(pool_in(None))
    monkeypatch.setattr(half_rows, "IN_MEMORY", 0)
    mapped = pool_in(tmp_path)
    assert isinstance(mapped.train.rows, HalfRows)
    assert np.abs(predicted(mapped) - plain).max() < 0.01
    assert (predicted(mapped).argmax(axis=1) == plain.argmax(axis=1)).mean() >= 0.997
