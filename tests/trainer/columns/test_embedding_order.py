"""The order in which images get their vectors."""

from hashlib import sha256
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.logs import entry
from trainer.columns.embedding_order import BEGINNING, ENOUGH, EmbeddingOrder
from trainer.columns.id_index import as_ids
from trainer.columns.images import Images
from trainer.columns.pending import Pending


def images_of(numbers, split="train"):
    return Images.of([entry(each, split=split, sha256=sha256(b"%d" % each).hexdigest()) for each in numbers])


def by_hash(numbers):
    return sorted(numbers, key=lambda each: sha256(b"%d" % each).hexdigest())


def order_of(train, test=()):
    order = EmbeddingOrder()
    order.add(images_of(train))
    order.add(images_of(test, "test"))
    return order


def first(order, count, labeled=(), *, embedded=0, measured=False):
    return order.first(count, as_ids(labeled), embedded=embedded, measured=measured).tolist()


def test_train_images_come_first_in_the_order_of_their_hashes():
    order = order_of(range(40), range(40, 80))
    assert first(order, 30)[:30] == by_hash(range(40))[:30]
    assert list(order) == [*by_hash(range(40)), *by_hash(range(40, 80))]
    order.discard(as_ids(range(40)))
    assert first(order, 40) == by_hash(range(40, 80))


def test_a_labeled_test_set_waits_for_the_beginning_and_then_has_every_fourth_place():
    order, labeled = order_of(range(40), range(100, 1_100)), range(100, 1_100)
    assert first(order, 30, labeled)[:30] == by_hash(range(40))[:30]
    found = first(order, 16, labeled, embedded=BEGINNING)
    assert [each >= 100 for each in found[:16]] == 4 * [False, False, False, True]
    assert [each for each in found if each < 100][:12] == by_hash(range(40))[:12]


def test_images_with_imported_labels_take_turns_with_those_to_be_asked():
    found = first(order_of(range(1_000)), 8, range(500, 1_000))
    turns = zip(by_hash(range(500, 1_000))[:8], by_hash(range(1_000))[:8], strict=True)
    assert found == list(dict.fromkeys(chain(*turns)))


def test_the_order_of_an_import_does_not_matter():
    """Its rows are often sorted by class."""
    for split in ({"train": range(100)}, {"train": [], "test": range(100)}):
        found = first(order_of(**split), 10, range(100))
        assert found[:10] == by_hash(range(100))[:10]


def test_test_images_without_a_label_join_when_they_make_the_accuracy_more_precise():
    order = order_of(range(40), range(40, 80))
    assert not set(first(order, 16, embedded=BEGINNING)[:16]) & set(range(40, 80))
    for state in ({"embedded": BEGINNING, "measured": True}, {"embedded": ENOUGH}):
        assert first(order, 8, **state)[3:8:4] == by_hash(range(40, 80))[:2]
    found = first(order, 16, [79], embedded=BEGINNING)
    assert found[3] == 79
    assert [each for each in found[:16] if each >= 40][1:] == by_hash(range(40, 80))[:3]


def test_an_image_that_waits_moves_with_its_split():
    order = order_of(range(10), range(10, 20))
    order.add(images_of([3], "test"))
    order.add(images_of([15]))
    assert first(order, 10)[:10] == by_hash({*range(10), 15} - {3})
    assert len(order) == len(list(order)) == 20


def test_another_thread_never_counts_an_image_twice_that_moves(monkeypatch):
    order, seen = order_of(range(10), range(10, 20)), []
    real = Pending.discard

    def looked_at(part, ids):
        seen.append(len(order))
        real(part, ids)
        seen.append(len(order))

    monkeypatch.setattr(Pending, "discard", looked_at)
    order.add(images_of([3, 4, 5], "test"))
    assert set(seen) == {20}


@given(
    st.dictionaries(st.integers(0, 60), st.booleans()),
    st.sets(st.integers(0, 70)),
    st.integers(1, 20),
    st.sampled_from([0, BEGINNING, ENOUGH]),
)
def test_each_image_comes_once_whatever_has_a_label(splits, labeled, count, embedded):
    order = order_of(*([each for each, train in splits.items() if train == kind] for kind in (True, False)))
    seen = []
    while len(order):
        batch = first(order, count, sorted(labeled), embedded=embedded)
        assert len(batch) >= min(count, len(order))
        assert len(set(batch)) == len(batch)
        seen += batch[:count]
        order.discard(as_ids(batch[:count]))
    assert sorted(seen) == sorted(splits)
