import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.images import decoding_limit
from shared.images.decoding_limit import Lane, NoRoom, room


def test_together_no_more_than_the_lane_holds() -> None:
    lane, lock, inside, most = Lane(), threading.Lock(), [0], [0]

    def decode(size: int) -> None:
        with lane.room(size, 10):
            with lock:
                inside[0] += size
                most[0] = max(most[0], inside[0])
            with lock:
                inside[0] -= size

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, [3, 5, 2, 9, 1] * 40))
    assert most[0] <= 10


def test_who_came_first_goes_first_however_large() -> None:
    lane, order, threads = Lane(), list[str](), []
    with lane.room(1, 10):
        for number, (name, size) in enumerate((("large", 10), ("small", 1)), 1):

            def go(name: str = name, size: int = size) -> None:
                with lane.room(size, 10):
                    order.append(name)

            threads.append(threading.Thread(target=go))
            threads[-1].start()
            while len(lane._waiting) < number:
                pass
        assert order == []  # the small one would fit, but the large one would then wait for ever
    for thread in threads:
        thread.join(30)
    assert order == ["large", "small"]


def test_an_image_larger_than_the_limit_is_decoded_alone() -> None:
    lane = Lane()
    with lane.room(25, 10), pytest.raises(NoRoom), lane.room(1, 10, wait=0.01):
        pass
    with lane.room(1, 10, wait=0.01):
        pass


def test_a_small_image_waits_for_no_large_one() -> None:
    with room(800, 100), room(100, 100, wait=0.01), room(100, 100, wait=0.01):
        with pytest.raises(NoRoom), room(101, 100, wait=0.01):
            pass
        with pytest.raises(NoRoom), room(1, 100, wait=0.01):
            pass


def test_memory_goes_back_where_there_is_no_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_limit, "_LIBC", None)
    with room(800, 100):
        pass
