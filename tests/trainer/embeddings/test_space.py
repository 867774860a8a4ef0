from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trainer.logs import entry
from trainer.columns.members import Members
from trainer.embeddings import space
from trainer.embeddings.space import ImagePool
from trainer.tasks.targets import held_out

DIM = 6


@pytest.fixture
def vectors():
    """Raw vectors by content hash, as the embedding store would read them."""
    rng = np.random.default_rng(0)
    return {entry(i).sha256: rng.normal(3.0, 1.0, DIM).astype(np.float32) for i in range(200)}


@pytest.fixture
def pool(vectors):
    return ImagePool(DIM, lambda hashes: np.stack([vectors[sha256] for sha256 in hashes]))


def test_rows_are_centred_on_the_train_images_and_of_unit_length(pool, vectors):
    train, held = [entry(i) for i in range(50)], [entry(i, split="test") for i in range(50, 60)]
    pool.add([*train, *held], complete=True)
    raw = np.stack([vectors[e.sha256] for e in train])
    np.testing.assert_allclose(pool.projection.mean, raw.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(pool.train.rows, axis=1), 1, rtol=1e-5)
    assert pool.train.ids.tolist() == list(range(50))
    assert pool.held.ids.tolist() == list(range(50, 60))


def test_the_mean_follows_while_images_come_and_is_exact_at_the_end(pool, vectors):
    for start in range(0, 200, 16):
        pool.add([entry(i) for i in range(start, min(start + 16, 200))], complete=start + 16 >= 200)
    raw = np.stack([vectors[entry(i).sha256] for i in range(200)])
    np.testing.assert_allclose(pool.projection.mean, raw.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(pool.train.rows, pool.projection.transform(raw)[pool.train.ids], atol=1e-5)


def test_a_few_late_images_cause_no_rebuild(pool):
    pool.add([entry(i) for i in range(100)], complete=True)
    version, memory = pool.version, pool.memory
    pool.add([entry(i) for i in range(100, 105)], complete=True)
    assert pool.version == version
    assert pool.memory is memory
    assert len(pool.train.ids) == 105


def test_in_a_large_pool_that_grows_the_late_images_wait_for_a_pause(pool, monkeypatch):
    """A trainer that keeps pace with a scan has embedded all known images after each batch."""
    monkeypatch.setattr(space, "LARGE", 50)
    monkeypatch.setattr(space, "PAUSE_SECONDS", 3_600.0)
    versions = set()
    for start in range(0, 180, 4):
        pool.add([entry(i) for i in range(start, start + 4)], complete=True)
        if len(pool) > 50:
            versions.add(pool.version)
    assert len(versions) <= 3  # a new one whenever their number has doubled
    assert not pool.due
    monkeypatch.setattr(space, "PAUSE_SECONDS", 0.0)
    assert pool.due
    pool.add([], complete=True)
    assert pool.version not in versions
    assert not pool.due


def test_an_image_that_changes_its_split_changes_sides(pool):
    pool.add([entry(i) for i in range(10)], complete=True)
    moved = entry(3, split="test")
    pool.move([moved if i == 3 else entry(i) for i in range(10)])
    assert 3 not in pool.train.row_of
    assert pool.split_of(3) == "test"
    assert pool.held.ids.tolist() == [3]


@pytest.fixture
def large(pool, monkeypatch):
    """A pool that counts as large, and the hashes that it reads from now on."""
    monkeypatch.setattr(space, "LARGE", 100)
    monkeypatch.setattr(space, "FEW", 0.02)
    monkeypatch.setattr(space, "SAMPLE", 20)
    pool.add([entry(i, split="test" if i >= 190 else "train") for i in range(200)], complete=True)
    read, asked = pool._read, []

    def noted(hashes):
        asked.extend(hashes)
        return read(hashes)

    monkeypatch.setattr(pool, "_read", noted)
    return pool, asked


def test_in_a_large_pool_a_change_of_split_costs_what_it_changes(large, vectors):
    pool, asked = large
    before, reader = pool.version, pool.space()
    pool.move([entry(3, split="test"), entry(195, split="validation")])
    assert pool.version == before
    assert asked == [entry(3).sha256]  # the other has its row among the held-out ones
    assert (pool.split_of(3), pool.split_of(195)) == ("test", "validation")
    held = pool.held.rows[pool.held.row_of[3]]
    np.testing.assert_allclose(held, pool.transform(vectors[entry(3).sha256][None])[0], rtol=1e-5)
    assert held_out(pool, "test", {3: "test", 195: "validation"}).tolist() == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert pool.space().split_of(195) == "validation"
    assert (len(reader.held.ids), reader.split_of(195)) == (10, "test")
    pool.move([entry(3), entry(195, split="test")])  # and back
    assert asked == [entry(3).sha256]
    assert held_out(pool, "test", {}).tolist() == list(range(10))
    pool.move([entry(i, split="test") for i in (11, 12)])
    assert pool.version != before  # too many images have changed their split by now
    assert 11 not in pool.train.row_of


def test_a_test_image_has_no_part_in_the_directions_of_a_large_pool(large):
    pool, _ = large
    fitted = pool._fitted.tolist()
    assert len(fitted) == 20
    before = pool.version
    pool.move([entry(195, split="validation")])
    assert pool.version == before
    pool.move([entry(fitted[0], split="test")])
    assert pool.version != before
    assert fitted[0] not in pool._fitted
    assert fitted[0] not in pool.train.row_of


def test_in_a_large_pool_a_disk_error_while_an_image_moves_is_followed_by_a_rebuild(large, monkeypatch):
    pool, _ = large

    def broken(_):
        raise OSError("no disk")

    with monkeypatch.context() as patched:
        patched.setattr(pool, "_read", broken)
        with pytest.raises(OSError, match="no disk"):
            pool.move([entry(3, split="test")])
    pool.add([], complete=True)
    assert 3 in pool.held.row_of
    assert 3 not in pool.train.row_of


def test_images_that_are_gone_are_dropped(pool):
    pool.add([entry(i) for i in range(10)], complete=True)
    pool.drop(np.array([8, 9, 77]))
    assert 9 not in pool
    assert sorted(pool.train.ids) == list(range(8))


def test_in_a_large_pool_a_removal_costs_what_it_changes(large, vectors):
    pool, asked = large
    before, reader, row = pool.version, pool.space(), pool.train.row_of[3]
    pool.drop(np.array([3, 195, 777]))
    assert (pool.version, asked) == (before, [])
    assert not pool.has(np.array([3, 195])).any()
    assert not {3, 195} & {*pool.train.row_of, *pool.held.row_of, *pool.ids.tolist(), *pool.space().train.ids.tolist()}
    assert held_out(pool, "test", {}).tolist() == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert len(reader.train.ids) == 190  # what another thread reads does not change
    assert pool.space().removals != reader.removals
    pool.add([entry(3)], complete=True)  # its row is back, too
    assert (pool.version, asked, pool.train.row_of[3]) == (before, [], row)
    assert pool.space().train.row_of[3] == row
    pool.drop(np.arange(20, 40))
    assert pool.version != before  # a tenth is gone by now
    assert len(pool.train.ids) == len(pool.space().train.ids) == 170


def test_values_read_before_a_removal_are_not_kept_after_it(large, monkeypatch):
    pool, _ = large
    pool.drop(np.array([7]))
    splits_of = pool._images.splits_of

    def late(ids):
        monkeypatch.undo()
        monkeypatch.setattr(space, "LARGE", 100)
        pool.drop(np.array([3]))  # the loop drops it while another thread makes its space
        return splits_of(ids)

    monkeypatch.setattr(pool._images, "splits_of", late)
    assert 3 in pool.space().train.row_of
    pool.add([entry(7)], complete=True)  # as many as before
    assert 3 not in pool.space().train.row_of
    assert 7 in pool.space().train.row_of


CHANGES = st.tuples(st.sampled_from(["add", "train", "test", "drop"]), st.lists(st.integers(0, 199), max_size=6))


@given(st.lists(CHANGES, max_size=12))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_large_pool_holds_what_a_dict_holds_whatever_is_added_moved_and_removed(vectors, monkeypatch, changes):
    monkeypatch.setattr(space, "LARGE", 50)
    monkeypatch.setattr(space, "FEW", 0.05)
    monkeypatch.setattr(space, "SAMPLE", 20)
    pool = ImagePool(DIM, lambda hashes: np.stack([vectors[sha256] for sha256 in hashes]))
    pool.add([entry(i, split="test" if i % 5 == 0 else "train") for i in range(150)], complete=True)
    splits = {i: "test" if i % 5 == 0 else "train" for i in range(150)}
    for change, ids in changes:
        if change == "add":
            pool.add([entry(i) for i in dict.fromkeys(ids) if i not in splits], complete=True)
            splits = dict.fromkeys(ids, "train") | splits
        elif change == "drop":
            pool.drop(np.array(ids, np.int64))
            splits = {i: split for i, split in splits.items() if i not in ids}
        else:
            there = [i for i in dict.fromkeys(ids) if i in splits]
            pool.move([entry(i, split=change) for i in there])
            splits |= dict.fromkeys(there, change)
        now = pool.space()
        assert len(pool) == len(splits)
        assert sorted(pool.ids.tolist()) == sorted(splits)
        assert {i: pool.split_of(i) for i in splits} == splits
        for view in (now.train, now.held):
            assert set(view.ids.tolist()) <= splits.keys()
            assert len(set(view.ids.tolist())) == len(view.ids)
            expected = pool.transform(np.stack([vectors[entry(i).sha256] for i in view.ids.tolist()]))
            np.testing.assert_allclose(view.rows[:], expected, atol=1e-5)
        train, held = set(now.train.ids.tolist()), set(pool.held.ids[held_out(pool, "test", splits)].tolist())
        assert train >= {i for i, split in splits.items() if split == "train"}
        assert held == set(now.held.ids[held_out(now, "test", splits)].tolist())
        assert held == {i for i, split in splits.items() if split == "test"}


def test_adding_twice_changes_nothing(pool):
    pool.add([entry(i) for i in range(10)], complete=False)
    pool.add([entry(i) for i in range(10)], complete=False)
    assert sorted(pool.train.ids) == list(range(10))


@pytest.mark.parametrize("broken", range(4))
def test_a_disk_error_is_followed_by_a_rebuild(vectors, broken):
    """The read numbered `broken` fails, while images are added or a split changes."""
    reads = 0

    def read(hashes):
        nonlocal reads
        reads += 1
        if reads == broken + 1:
            raise OSError("input/output error")
        return np.stack([vectors[sha256] for sha256 in hashes])

    images = [entry(i, split="test" if i % 5 == 0 else "train") for i in range(40)]
    pool = ImagePool(DIM, read)
    with suppress(OSError):
        pool.add(images, complete=True)
        pool.move([entry(1, split="test")])
    assert pool.whole == (reads > broken + 1)
    pool.add([], complete=True)
    pool.move([entry(1, split="test")])
    assert pool.whole
    assert sorted(pool.held.ids) == sorted([1, *range(0, 40, 5)])
    assert sorted([*pool.held.ids, *pool.train.ids]) == list(range(40))


def test_a_reader_on_another_thread_sees_the_old_geometry_whole_until_the_new_one_is(vectors):
    """Read the pool at each read that the rebuild after a change of split makes."""
    seen = []

    def read(hashes):
        if watching:
            seen.append(pool.space())
        return np.stack([vectors[sha256] for sha256 in hashes])

    watching = False
    pool = ImagePool(DIM, read)
    pool.add([entry(i, split="test" if i % 5 == 0 else "train") for i in range(40)], complete=True)
    before, watching = pool.space(), True
    pool.move([entry(1, split="test")])
    after = pool.space()
    assert len(seen) >= 3
    assert all(space is before for space in seen)
    assert 1 in before.train.row_of
    assert (1 in after.train.row_of, after.split_of(1)) == (False, "test")
    assert after.version != before.version
    np.testing.assert_array_equal(after.train.rows, pool.train.rows)
    assert not np.array_equal(before.projection.mean, after.projection.mean)


def test_a_reader_on_another_thread_can_read_while_images_are_dropped(pool, monkeypatch):
    pool.add([entry(i, split="test" if i % 5 == 0 else "train") for i in range(40)], complete=True)
    seen, append = [], Members.append

    def read_first(members, images):
        seen.append(pool.space())
        append(members, images)

    monkeypatch.setattr(Members, "append", read_first)
    pool.drop(np.array([5, 6]))
    assert [space.split_of(5) for space in seen] == ["test"]
    assert 5 not in pool.space().held.row_of


def test_a_space_stays_as_it_was_while_images_join(pool):
    pool.add([entry(i) for i in range(100)], complete=False)
    before = pool.space()
    rows = before.train.rows.copy()
    for image_id in before.train.row_of:  # a reader iterates while the loop adds images
        pool.add([entry(100 + image_id)], complete=False)
        if pool.version != before.version:
            break
    assert len(before.train.ids) == len(before.train.row_of) == 100
    np.testing.assert_array_equal(before.train.rows, rows)
    assert pool.space() is pool.space()


BLOCKS = (400, 200)


@pytest.fixture
def in_blocks():
    """A pool of 300 train and 20 test images whose vectors have two blocks, and the group of each in the second."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 4, 320)
    second = 3 * rng.standard_normal((4, 200))[group] + rng.standard_normal((320, 200))
    raw = np.hstack([rng.standard_normal((320, 400)), second]).astype(np.float32)
    place = {entry(i).sha256: i for i in range(320)}
    pool = ImagePool(600, lambda hashes: raw[[place[sha256] for sha256 in hashes]], BLOCKS)
    pool.add([entry(i, split="test" if i >= 300 else "train") for i in range(320)], complete=True)
    return pool, raw, group


def test_labels_change_the_shares_of_blocks_without_another_look_at_the_vectors(in_blocks):
    pool, raw, group = in_blocks
    before, space = pool.version, pool.space()
    pool._read = None  # nothing may be read
    pool.learn_shares(np.arange(60), np.eye(4)[group[:60]])
    assert pool.projection.shares[1] > 0.5 > pool.starting_shares[1]
    assert pool.version != before
    assert pool.space().base == space.base == before
    np.testing.assert_allclose(pool.train.rows, pool.transform(raw[:300]), atol=1e-5)
    np.testing.assert_allclose(pool.held.rows, pool.transform(raw[300:]), atol=1e-5)
    assert pool.held.ids.tolist() == list(range(300, 320))
    np.testing.assert_allclose(space.train.rows, space.projection.transform(raw[:300]), atol=1e-5)  # unchanged


def test_learned_shares_outlive_a_rebuild_and_are_looked_at_again_after_a_tenth_more_labels(in_blocks):
    pool, _, group = in_blocks
    pool.learn_shares(np.arange(60), np.eye(4)[group[:60]])
    learned = pool.projection.shares
    pool.move([entry(0, split="validation")])
    assert pool.projection.shares == learned
    version = pool.version
    other = np.eye(4)[np.arange(60) % 4]  # the vectors do not explain these
    pool.learn_shares(np.arange(60), other)
    assert pool.version == version
    pool.learn_shares(np.arange(66), np.eye(4)[np.arange(66) % 4])
    assert pool.projection.shares != learned


def test_a_pool_of_one_block_keeps_its_geometry(pool):
    pool.add([entry(i) for i in range(100)], complete=True)
    version = pool.version
    pool.learn_shares(np.arange(50), np.eye(2)[np.arange(50) % 2])
    assert pool.version == version


def test_learned_shares_are_begun_anew_after_a_time_with_too_few_images(in_blocks):
    pool, _, group = in_blocks
    pool.learn_shares(np.arange(60), np.eye(4)[group[:60]])
    pool.drop(np.arange(20, 300))
    assert pool.projection.shares == ()  # a single block, until the spectrum can be estimated again
    pool.add([entry(i) for i in range(20, 300)], complete=True)
    assert pool.projection.shares == pool.starting_shares != ()
