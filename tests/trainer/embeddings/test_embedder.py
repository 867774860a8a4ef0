"""Images become vectors: in batches, in any order, despite unreadable files."""

import itertools
import threading
import time
from collections import deque
from collections.abc import Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.datastructures import UploadFile

from shared.images.opening import ImageProblem
from shared.settings.services import TrainerSettings
from shared.wire.images import ImageEntry
from tests.trainer.embeddings.embedders import Opened, Photos, run
from trainer.embeddings.backbones.torch_networks import TorchBackbone
from trainer.embeddings.embedder import LEAST, RATE_WINDOW, STEP_SECONDS, Embedder
from trainer.routes.api import Parts

# ---------------------------------------------------------------- steps


def test_every_image_gets_the_vector_of_its_own_pixels(photos: Photos, opened: Opened) -> None:
    entries = photos.add(11)
    embedder = opened()
    assert run(embedder, entries) == entries
    vectors = embedder.read([entry.sha256 for entry in reversed(entries)])
    np.testing.assert_allclose(vectors[:, 0] * 255, range(11, 0, -1), atol=0.02)
    assert (embedder.dim, embedder.problems) == (3, {})
    assert sorted(photos.fetched) == list(range(1, 12))  # each once


def test_a_step_is_one_batch_and_the_next_one_is_already_under_way(photos: Photos, opened: Opened) -> None:
    entries = photos.add(20)
    ahead = threading.Event()

    def fetch(entry: ImageEntry) -> bytes:
        if entry.id == 8:
            ahead.set()
        return photos.fetch(entry)

    embedder = opened(fetch)
    assert embedder.step(entries, more_coming=False) == entries[:4]
    assert ahead.wait(10)
    assert not {entry.id for entry in entries[8:]} & set(photos.fetched)
    assert embedder.step(entries[4:], more_coming=False) == entries[4:8]


def test_a_slow_image_does_not_delay_others(photos: Photos, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.embeddings.decoding.read_ahead.FETCH_SECONDS", 0.2)
    entries, arrives = photos.add(4), threading.Event()

    def fetch(entry: ImageEntry) -> bytes:
        if entry.id == 2:
            arrives.wait(30)
        return photos.fetch(entry)

    embedder = opened(fetch)
    others = [entry for entry in entries if entry.id != 2]
    done: list[ImageEntry] = []
    while len(done) < 3:
        done = embedder.step(entries, more_coming=False)
    assert done == others
    assert embedder.problems == {}
    arrives.set()
    assert {entry.id for entry in run(embedder, entries)} == {1, 2, 3, 4}
    assert photos.fetched.count(2) == 1


@pytest.mark.parametrize("seconds", [0.0, 0.02])
def test_a_batch_is_as_large_as_fits_into_the_time_that_a_fit_may_wait(
    photos: Photos, opened: Opened, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    embedder, sizes = opened(batch_size=32), list[int]()
    backbone = embedder.backbone
    assert isinstance(backbone, TorchBackbone)
    embed = backbone.embed

    def slowly(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        sizes.append(len(batch))
        time.sleep(seconds * len(batch))
        return embed(batch)

    monkeypatch.setattr(backbone, "embed", slowly)
    entries = photos.add(80)
    assert run(embedder, entries) == entries
    assert sizes[0] == LEAST
    assert sum(sizes) == 80
    assert all(after <= 2 * before for before, after in itertools.pairwise(sizes))
    assert LEAST < max(sizes) <= (min(32, STEP_SECONDS / seconds) if seconds else 32)


def test_vectors_are_found_after_a_restart_and_nothing_is_fetched_again(photos: Photos, opened: Opened) -> None:
    entries = photos.add(6)
    first = opened()
    run(first, entries)
    first.close()
    photos.fetched.clear()
    again = opened()
    assert again.has(entries[0].sha256)
    assert again.step(entries, more_coming=False) == entries
    assert photos.fetched == []


def test_the_order_may_change_between_steps(photos: Photos, opened: Opened) -> None:
    entries = photos.add(30)
    embedder = opened()
    done = embedder.step(entries, more_coming=False)
    done += run(embedder, [entry for entry in reversed(entries) if entry not in done])
    assert sorted(entry.id for entry in done) == list(range(1, 31))
    vectors = embedder.read([entry.sha256 for entry in entries])
    np.testing.assert_allclose(vectors[:, 0] * 255, range(1, 31), atol=0.02)


def test_two_images_of_the_same_content_both_get_its_vector(photos: Photos, opened: Opened) -> None:
    data = photos.png(7)
    twins = [photos.entry(1, data), photos.entry(2, data)]
    assert run(opened(), twins) == twins


# ---------------------------------------------------------------- problems


def test_an_unreadable_image_is_a_problem_with_a_reason_and_blocks_nothing(photos: Photos, opened: Opened) -> None:
    entries = photos.add(9)
    (photos.root / "2.png").unlink()
    (photos.root / "4.png").write_bytes(photos.png(99))
    text = photos.entry(5, b"a text named .png")
    entries[4] = text
    embedder = opened()
    assert [entry.id for entry in run(embedder, entries)] == [1, 3, 6, 7, 8, 9]
    assert embedder.problems[2] == "no longer exists"
    assert embedder.problems[4] == "has changed since it was catalogued"
    assert embedder.problems[5].startswith("is not an image")
    (photos.root / "2.png").write_bytes(photos.png(2))
    assert embedder.step([entries[1]], more_coming=False) == []
    embedder.retry()
    assert embedder.step([entries[1]], more_coming=False) == [entries[1]]


@pytest.mark.parametrize("error", [OSError("cable"), RuntimeError("bug"), KeyError("x")])
def test_a_fetcher_that_fails_in_its_own_way_stops_nothing(photos: Photos, opened: Opened, error: Exception) -> None:
    entries = photos.add(3)

    def fetch(entry: ImageEntry) -> bytes:
        if entry.id == 2:
            raise error
        return photos.fetch(entry)

    embedder = opened(fetch)
    assert [entry.id for entry in run(embedder, entries)] == [1, 3]
    assert "could not be fetched" in embedder.problems[2]


def test_a_vector_that_is_not_finite_affects_only_its_own_image(photos: Photos, opened: Opened) -> None:
    white = BytesIO()
    Image.new("RGB", (8, 8), "white").save(white, "PNG")
    entries = [*photos.add(2), photos.entry(3, white.getvalue())]
    embedder = opened(model_fn="tests.trainer.embeddings.embedders:Broken")
    assert [entry.id for entry in run(embedder, entries)] == [1, 2]
    assert "infinite" in embedder.problems[3]


# ---------------------------------------------------------------- pixels


def test_pixels_waits_for_train_images_and_is_fitted_on_no_others(photos: Photos, opened: Opened) -> None:
    test, train = photos.add(5, split="test"), photos.add(12, first=100)
    embedder = opened(model_fn="", backbone="pixels")
    assert embedder.step(test, more_coming=True) == []
    assert embedder.step(test + train[:5], more_coming=True) == []
    assert (embedder.backbone, embedder.dim, embedder.has(train[0].sha256)) == (None, 0, False)
    assert embedder.progress(17).done == 0
    assert {entry.id for entry in run(embedder, test + train)} == {entry.id for entry in test + train}
    assert embedder.backbone is not None
    assert "raw pixels" in (embedder.banner or "")
    key = embedder.key
    embedder.close()
    again = opened(model_fn="", backbone="pixels")
    assert again.key == key
    assert again.has(test[0].sha256)


def test_the_images_that_pixels_is_fitted_on_do_not_depend_on_held_out_images(tmp_path: Path, photos: Photos) -> None:
    train, held_out = photos.add(8), photos.add(8, split="test", first=50) + photos.add(8, split="validation", first=70)
    settings = TrainerSettings.load(command_line={"backbone": "pixels", "input_size": 8})[0]
    keys = set()
    for name, entries in {"without": train, "with": held_out + train}.items():
        embedder = Embedder(settings, tmp_path / name, photos.fetch)
        run(embedder, entries)
        keys.add(embedder.key)
        embedder.close()
    assert len(keys) == 1


def test_pixels_reads_each_image_once(photos: Photos, opened: Opened) -> None:
    entries = photos.add(30)
    run(opened(model_fn="", backbone="pixels"), entries)
    assert sorted(photos.fetched) == list(range(1, 31))


def test_pixels_without_two_readable_train_images_goes_on_waiting(photos: Photos, opened: Opened) -> None:
    entries = photos.add(2)
    (photos.root / "1.png").unlink()
    embedder = opened(model_fn="", backbone="pixels")
    assert embedder.step(entries, more_coming=True) == []
    assert embedder.lacks is None  # more images may come
    assert embedder.step(entries, more_coming=False) == []
    assert embedder.backbone is None
    assert "There is only one train image" in (embedder.progress(2).lacks or "")
    with pytest.raises(RuntimeError, match="no backbone yet"):
        embedder.embed_images([photos.png(1)])


def test_pixels_of_copies_alone_waits_for_another_image(photos: Photos, opened: Opened) -> None:
    copies = [photos.entry(number, photos.png(1) + bytes(number)) for number in range(1, 31)]
    embedder = opened(model_fn="", backbone="pixels")
    assert [embedder.step(copies, more_coming=False) for _ in range(5)] == [[]] * 5
    assert embedder.progress(30).lacks == "All 30 train images are the same picture: add others."
    held_out = photos.add(1, split="test", first=60)
    assert embedder.step(copies + held_out, more_coming=False) == []
    other = photos.add(1, first=50)
    assert len(run(embedder, copies + other)) == 31
    assert embedder.progress(31).lacks is None


# ---------------------------------------------------------------- uploads and progress


def test_uploads_are_embedded_in_their_order_and_not_kept(photos: Photos, opened: Opened) -> None:
    embedder = opened()
    vectors = embedder.embed_images([photos.png(number) for number in range(1, 11)])
    np.testing.assert_allclose(vectors[:, 0] * 255, range(1, 11), atol=1e-3)
    assert embedder.embed_images([]).shape == (0, 3)
    assert not embedder.has(sha256(photos.png(1)).hexdigest())
    with pytest.raises(ImageProblem, match=r"number 6.*is not an image"):
        embedder.embed_images([*[photos.png(1)] * 5, b"text"])


def test_an_uploaded_image_is_read_when_its_turn_comes(photos: Photos, opened: Opened) -> None:
    read: list[int] = []

    class Part(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            read.append(len(read))
            return super().read(size)

    parts = Parts(UploadFile(Part(photos.png(number))) for number in (7, 8, 9))
    assert (len(parts), read) == (3, [])
    vectors = opened(batch_size=2).embed_images(parts)
    np.testing.assert_allclose(vectors[:, 0] * 255, (7, 8, 9), atol=1e-3)
    assert read == [0, 1, 2]
    assert [*parts[1:]] == [photos.png(8), photos.png(9)]


def test_progress_tells_the_share_done_and_the_time_left(photos: Photos, opened: Opened) -> None:
    entries = photos.add(12)
    (photos.root / "3.png").unlink()
    embedder = opened()
    assert embedder.progress(12).seconds_left is None
    for start in (0, 4, 8):
        embedder.step(entries[start:], more_coming=False)
    told = embedder.progress(12)
    assert (told.done, told.total, told.problems, told.backbone) == (11, 12, 1, embedder.key)
    assert told.seconds_left == 0
    assert (embedder.progress(100).seconds_left or 0) > 0
    embedder._recent = deque((at - RATE_WINDOW, count) for at, count in embedder._recent)
    assert embedder.progress(100).seconds_left is None  # nothing comes now: an old rate says nothing


# ---------------------------------------------------------------- vectors from a file


def from_file(photos: Photos, numbers: Sequence[int]) -> dict[str, object]:
    """Settings with a file in which the vector of `7.png` is (7, 0)."""
    path = photos.root.with_name("vectors.npz")
    np.savez(path, v=[[number, 0] for number in numbers], filename=[f"{number}.png" for number in numbers])
    return {"model_fn": "", "embeddings": str(path), "images": str(photos.root)}


def test_vectors_of_one_s_own_are_taken_without_opening_an_image(photos: Photos, opened: Opened) -> None:
    entries = photos.add(30)
    embedder = opened(**from_file(photos, range(30, 0, -1)))
    assert embedder.backbone is not None
    assert [entry.id for entry in run(embedder, entries)] == list(range(1, 31))
    assert embedder.read([entry.sha256 for entry in entries])[:, 0].tolist() == list(range(1, 31))
    assert (photos.fetched, embedder.dim, embedder.banner, embedder.progress(30).done) == ([], 2, None, 30)


def test_an_image_without_a_vector_in_the_file_is_a_problem_and_blocks_nothing(photos: Photos, opened: Opened) -> None:
    entries = photos.add(9)
    embedder = opened(**from_file(photos, [1, 2, 3, 5, 6, 7, 8, 9]))
    assert len(run(embedder, entries)) == 8
    assert embedder.problems == {4: "has no vector in vectors.npz"}
    embedder.close()
    repaired = opened(**from_file(photos, range(1, 10)))
    assert run(repaired, entries) == entries


def test_without_a_network_uploads_are_refused_with_the_reason(photos: Photos, opened: Opened) -> None:
    photos.add(1)
    with pytest.raises(ValueError, match=r"vectors\.npz.*only catalogued images"):
        opened(**from_file(photos, [1])).embed_images([photos.png(1)])
