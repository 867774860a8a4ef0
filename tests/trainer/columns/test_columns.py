"""Columns and the indices into them, compared with the dicts and sorted lists that they replace."""

from hashlib import sha256

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.trainer.logs import entry
from trainer.columns.growing import Growing
from trainer.columns.hash_index import HashIndex, as_hashes, as_text
from trainer.columns.id_index import IdIndex, as_ids
from trainer.columns.id_matrix import IdMatrix
from trainer.columns.images import Images
from trainer.columns.pending import Pending
from trainer.columns.spread_rows import over

IDS = st.integers(0, 300) | st.sampled_from([10**6, 10**9, 2**40])


def test_what_a_reader_holds_does_not_change_while_an_array_grows():
    numbers = Growing[np.int64](np.int64)
    numbers.append([1, 2, 3])
    before = numbers.values
    numbers.append(range(4, 1_000))
    assert before.tolist() == [1, 2, 3]
    assert numbers.values.tolist() == list(range(1, 1_000))


@given(st.lists(st.lists(IDS, max_size=40), max_size=8), st.lists(IDS | st.integers(-5, -1)))
def test_an_id_is_found_as_in_a_dict(parts, asked):
    index, expected = IdIndex(), dict[int, int]()
    for part in parts:
        fresh = [each for each in dict.fromkeys(part) if each not in expected]
        rows = range(len(expected), len(expected) + len(fresh))
        index.put(as_ids(fresh), as_ids(rows))
        expected.update(zip(fresh, rows, strict=True))
    assert index == expected
    assert index.of(as_ids(asked)).tolist() == [expected.get(each, -1) for each in asked]
    assert [index.get(each) for each in asked] == [expected.get(each) for each in asked]


@given(st.lists(st.tuples(st.booleans(), st.lists(IDS, max_size=20)), max_size=8), st.integers(1, 5))
def test_removed_images_keep_their_rows_and_are_not_shown(steps, dim):
    matrix, rows, here = IdMatrix(dim), dict[int, float](), set[int]()
    for removes, ids in steps:
        before, shown = matrix.view(), sorted(here, key=list(rows).index)
        if removes:
            matrix.remove(as_ids(ids))
            here -= set(ids)
        else:
            matrix.bring_back(as_ids(ids))
            fresh = [each for each in dict.fromkeys(ids) if each not in rows]
            matrix.append(
                as_ids(fresh), np.array([[each % 100.0] * dim for each in fresh], np.float32).reshape(-1, dim)
            )
            rows |= {each: each % 100.0 for each in fresh}
            here |= set(ids)
        assert before[0].tolist() == shown  # what a reader holds does not change
        assert np.asarray(before[1]).tolist() == [[rows[each]] * dim for each in shown]
        assert matrix.ids.tolist() == list(rows)
        assert matrix.row_of == {each: row for row, each in enumerate(rows) if each in here}
        assert len(matrix.row_of) == len(here)
        assert matrix.ids[matrix.gone].tolist() == [each for each in rows if each not in here]
        ids_now, rows_now = matrix.view()
        assert ids_now.tolist() == [each for each in rows if each in here]
        assert over(rows_now, lambda some: some[:, :1] + 1.0)[:, 0].tolist() == [
            rows[each] + 1 for each in ids_now.tolist()
        ]


def digest(number):
    """The hash of a number. Every fifth number has a hash with the same beginning."""
    plain = sha256(str(number).encode()).hexdigest()
    return "ab" * 8 + plain[16:] if number % 5 == 0 else plain


@given(st.lists(st.lists(st.integers(0, 400), max_size=60), max_size=8), st.lists(st.integers(0, 500)))
def test_a_hash_is_found_as_in_a_dict(parts, asked):
    index, expected = HashIndex(), dict[str, int]()
    for part in parts:
        fresh = [each for each in dict.fromkeys(map(digest, part)) if each not in expected]
        index.add(as_hashes(fresh))
        expected |= {each: len(expected) + place for place, each in enumerate(fresh)}
    assert len(index) == len(expected)
    wanted = [digest(number) for number in asked]
    assert index.of(as_hashes(wanted)).tolist() == [expected.get(each, -1) for each in wanted]
    assert as_text(as_hashes(wanted)) == wanted


def test_a_hash_of_another_length_is_refused():
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        as_hashes(["abcd"])


def test_a_million_hashes_in_small_parts_are_in_a_few_runs():
    index = HashIndex()
    hashes = np.random.default_rng(0).integers(0, 256, (4_096, 32), np.uint8)
    for start in range(0, len(hashes), 4):
        index.add(hashes[start : start + 4])
    assert len(index._runs) <= np.log2(len(hashes))
    assert (index.of(hashes) == np.arange(len(hashes))).all()


IN_ORDER = sorted(range(8), key=lambda number: digest(number * 5 + 1))
WAIT_AGAIN = [("add", IN_ORDER), ("discard", IN_ORDER[1:6]), ("add", IN_ORDER[1:6]), ("first", IN_ORDER)]
STEPS = st.tuples(st.sampled_from(["add", "discard", "first"]), st.lists(st.integers(0, 60), max_size=30))


@given(st.lists(STEPS, max_size=30))
@example(WAIT_AGAIN)
def test_pending_images_come_in_the_order_of_their_hashes(steps):
    pending, expected = Pending(), set[int]()
    for step, numbers in steps:
        match step:
            case "add":
                chosen = list(dict.fromkeys(numbers))
                pending.add(Images.of([entry(number, sha256=digest(number * 5 + 1)) for number in chosen]))
                expected.update(chosen)
            case "discard":
                pending.discard(as_ids(numbers))
                expected.difference_update(numbers)
        ordered = sorted(expected, key=lambda number: digest(number * 5 + 1))
        assert pending.first(len(numbers)).tolist() == ordered[: len(numbers)]
        assert list(pending) == ordered
        assert len(pending) == len(expected)
        assert [number in pending for number in range(61)] == [number in expected for number in range(61)]
        assert [pending.among(as_ids(range(61)), n).tolist() for n in (0, 3, 61)] == [ordered[:n] for n in (0, 3, 61)]


def test_retried_images_take_no_more_memory():
    """Those with a problem are tried again every half minute, for as long as others are embedded."""
    pending, images = Pending(), Images.of([entry(number, sha256=digest(number)) for number in range(1_000)])
    pending.add(images)
    for _ in range(50):
        pending.discard(images.ids[100:200])
        pending.add(images[100:200])
    assert sum(map(len, pending._runs)) < 2 * len(images)
