from hypothesis import given
from hypothesis import strategies as st

from labeler.asking.random_order import HashOrder

STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 200)), max_size=400)


@given(STEPS)
def test_walks_the_open_ones_by_place(steps: list[tuple[bool, int]]) -> None:
    order, open_ids = HashOrder(), set()
    for opens, image_id in steps:
        order.add(image_id, (image_id * 7_919 % 211) / 211)
        if opens:
            order.open(image_id)
            open_ids.add(image_id)
        else:
            order.close(image_id)
            open_ids.discard(image_id)
    assert list(order) == sorted(open_ids, key=lambda image_id: image_id * 7_919 % 211)
    assert len(order) == len(open_ids)
    assert all((image_id in order) == (image_id in open_ids) for image_id in range(201))


def test_most_closed_and_opened_again() -> None:
    order = HashOrder()
    for image_id in range(1_000):
        order.add(image_id, image_id / 1_000)
        order.open(image_id)
    for image_id in range(990):
        order.close(image_id)
    assert list(order) == list(range(990, 1_000))
    order.open(5)
    assert list(order) == [5, *range(990, 1_000)]


def test_an_image_without_a_place_is_not_walked() -> None:
    order = HashOrder()
    order.open(1)
    assert list(order) == []


def test_an_image_gets_another_place() -> None:
    order = HashOrder()
    for image_id in range(5):
        order.add(image_id, image_id / 10)
        order.open(image_id)
    order.close(3)
    assert list(order) == [0, 1, 2, 4]
    order.add(0, 0.35)
    order.add(3, 0.05)
    assert list(order) == [1, 2, 0, 4]
    order.open(3)
    assert list(order) == [3, 1, 2, 0, 4]
