import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.columns.hash_index import HASH_BYTES
from trainer.embeddings.store import HASHES, ROWS, EmbeddingStore

DIM = 5


def hashed(number: int) -> str:
    return f"{number:064x}"


def vectors(*numbers: int, dim: int = DIM) -> npt.NDArray[np.float32]:
    """Rows that contain their own number."""
    return np.array([[number] * dim for number in numbers], dtype=np.float32).reshape(len(numbers), dim)


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore(tmp_path / "store", DIM)


def test_vectors_come_back_in_the_order_asked_for(store: EmbeddingStore) -> None:
    store.append([hashed(1), hashed(2)], vectors(1, 2))
    store.append([hashed(3)], vectors(3))
    assert store.read([hashed(3), hashed(1), hashed(3)])[:, 0].tolist() == [3, 1, 3]
    assert store.read([]).shape == (0, DIM)
    assert len(store) == 3
    assert hashed(2) in store
    assert hashed(4) not in store
    store.close()


def test_vectors_are_there_after_opening_again(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(100, DIM)).astype(np.float32)
    for start in range(0, 100, 10):
        store = EmbeddingStore(tmp_path, DIM)
        store.append([hashed(i) for i in range(start, start + 10)], rows[start : start + 10])
        store.close()
    store = EmbeddingStore(tmp_path, DIM)
    np.testing.assert_allclose(store.read([hashed(i) for i in range(100)]), rows, rtol=1e-3, atol=1e-6)
    store.close()


def test_a_stored_vector_is_never_replaced(store: EmbeddingStore) -> None:
    store.append([hashed(1)], vectors(1))
    store.append([hashed(1), hashed(2), hashed(2)], vectors(9, 2, 2))
    assert store.read([hashed(1), hashed(2)])[:, 0].tolist() == [1, 2]
    assert len(store) == 2
    store.close()


@pytest.mark.parametrize("number", [np.nan, np.inf, 70_000.0])
def test_vectors_that_float16_cannot_hold_are_refused(store: EmbeddingStore, number: float) -> None:
    rows = vectors(1, 2)
    rows[1, 3] = number
    with pytest.raises(ValueError, match="float16"):
        store.append([hashed(1), hashed(2)], rows)
    assert len(store) == 0
    store.close()


def test_another_shape_is_refused(store: EmbeddingStore) -> None:
    with pytest.raises(ValueError, match="shape"):
        store.append([hashed(1)], vectors(1, dim=DIM + 1))
    store.close()


def test_a_vector_that_is_not_there_is_a_key_error(store: EmbeddingStore) -> None:
    with pytest.raises(KeyError):
        store.read([hashed(1)])
    store.close()


@given(rows_cut=st.integers(0, 40 * 2 * DIM), hashes_cut=st.integers(0, 40 * HASH_BYTES), junk=st.binary(max_size=9))
def test_after_a_crash_complete_rows_are_right_and_the_rest_is_cut(
    tmp_path_factory: pytest.TempPathFactory, rows_cut: int, hashes_cut: int, junk: bytes
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    store = EmbeddingStore(folder, DIM)
    store.append([hashed(i) for i in range(40)], vectors(*range(40)))
    store.close()
    for name, cut in ((ROWS, rows_cut), (HASHES, hashes_cut)):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) - cut] + (junk if name == ROWS and cut == 0 else b""))
    whole = min((40 * 2 * DIM - rows_cut) // (2 * DIM), (40 * HASH_BYTES - hashes_cut) // HASH_BYTES)
    store = EmbeddingStore(folder, DIM)
    assert len(store) == whole
    assert store.read([hashed(i) for i in range(whole)])[:, 0].tolist() == list(range(whole))
    store.append([hashed(i) for i in range(40)], vectors(*range(40)))
    assert store.read([hashed(i) for i in range(40)])[:, 0].tolist() == list(range(40))
    store.close()


APPEND_FOR_EVER = """
import sys
from pathlib import Path
import numpy as np
from trainer.embeddings.store import EmbeddingStore
store = EmbeddingStore(Path(sys.argv[1]), 700)
number = len(store)
while True:
    numbers = range(number, number + 7)
    rows = np.array([[n % 1000] * 700 for n in numbers], dtype=np.float32)
    store.append([f"{n:064x}" for n in numbers], rows)
    number += 7
    print(number, flush=True)
"""


def test_every_acknowledged_vector_survives_kill_9(tmp_path: Path) -> None:
    chance = random.Random(0)
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", APPEND_FOR_EVER, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(chance.random() / 10)
        process.kill()
        told = (first + process.stdout.read()).split("\n")
        process.wait()
        process.stdout.close()
        store = EmbeddingStore(tmp_path, 700)
        assert len(store) >= int(told[-2])  # the last line that it wrote whole
        found = store.read([hashed(n) for n in range(len(store))])
        assert (found == np.arange(len(store))[:, None] % 1000).all()
        store.close()


def test_threads_read_while_one_appends(store: EmbeddingStore) -> None:
    wrong: list[int] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            count = len(store)
            found = store.read([hashed(i) for i in range(count)])
            if (found[:, 0] != np.arange(count)).any():
                wrong.append(count)

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(200):
        store.append([hashed(number)], vectors(number))
    ended.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert len(store) == 200
    store.close()
