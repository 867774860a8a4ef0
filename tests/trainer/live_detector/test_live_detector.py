"""The live detector: what it learns, forgets and keeps, and from which score on it suggests boxes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from shared.images.opening import ImageLimits
from shared.tasks.detection import Box, Boxes
from shared.wire.queries import Query, QueryPush
from tests.disks import no_room
from tests.trainer.logs import LOG, entry
from tests.trainer.scenes import objects, scene, scenes
from trainer.detection.feature_maps import FeatureMaps
from trainer.detection.pyramid import installed_pyramid
from trainer.live_detector import canvas
from trainer.live_detector.live_detector import LiveDetector
from trainer.live_detector.pictures import Pictures
from trainer.live_detector.studies import Studies
from trainer.sync.replica import Replica

LIMITS = ImageLimits(10**8, 10**8)


def never() -> bool:
    return False


def lessons(*images: int) -> dict[int, Boxes]:
    return {image: Boxes(Box(*each) for each in objects(image)) for image in images}


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """The frozen network by the size of its canvas."""
    return {size: installed_pyramid(tmp_path_factory.mktemp("network"), size=size) for size in (96, 128)}


@pytest.fixture
def opened(tmp_path: Path, networks, monkeypatch):
    """Opens the detector of one folder, as often as you like."""
    monkeypatch.setattr(canvas, "USUAL", 96)
    monkeypatch.setattr(canvas, "LARGE", 128)
    monkeypatch.setattr("trainer.live_detector.live_detector.STEPS", 20)
    monkeypatch.setattr("trainer.live_detector.live_detector.ROUND_SECONDS", 600.0)  # also on a busy machine
    monkeypatch.setattr("trainer.live_detector.live_detector.VIEW_SECONDS", 600.0)
    _, entries = scenes(tmp_path / "photos", 16)
    replica = Replica(tmp_path)
    replica.update_catalog([*entries, entry(16, sha256=sha256(b"no image").hexdigest())], after=17)

    def fetch(image):
        return b"no image" if image.id == 16 else scene(image.id)

    def open_() -> LiveDetector:
        def maps(read, size):
            return FeatureMaps(tmp_path / "maps", networks[size], LIMITS, read)

        pictures = Pictures(replica, fetch, maps, LIMITS)
        return LiveDetector(tmp_path / "detector" / "live.safetensors", pictures, 0)

    yield open_
    replica.close()


def taught(detector: LiveDetector, images: dict[int, Boxes], held_out: tuple[int, ...] = ()) -> bool:
    detector.prepare(LOG, images, held_out=held_out, classes=(1, 2))
    return detector.learn(1, never)


def test_small_objects_are_learned_on_a_larger_canvas(opened) -> None:
    small = {each: Boxes([Box(1, 3 * each, 5, 5, 5)]) for each in range(5)}
    detector = opened()
    assert taught(detector, small)
    assert detector.detector is not None
    assert detector.detector.size == 128
    first = detector.version
    again = opened()  # and after a restart
    again.prepare(LOG, small, held_out=(), classes=(1, 2))
    assert again.version == first
    assert again.pictures.found(again.detector, [0]) != [None]
    assert taught(again, lessons(5, 6, 7, 8, 9), held_out=(0,))  # a new detector, for large objects
    assert again.detector.size == 96


def test_the_median_object_chooses_the_canvas() -> None:
    small, large, thin = Box(1, 0, 0, 20, 20), Box(1, 0, 0, 100, 100), Box(1, 0, 0, 20, 480)
    opened: list[int] = []

    def sizes(image_ids):
        opened.extend(image_ids)
        return {each: (640, 480) for each in image_ids if each != 2}  # image 2 cannot be read

    assert canvas.canvas_for({1: Boxes([small, small, large]), 2: Boxes([large])}, sizes) == canvas.LARGE
    assert canvas.canvas_for({1: Boxes([small, large, large])}, sizes) == canvas.USUAL
    assert canvas.canvas_for({1: Boxes([small, thin, thin])}, sizes) == canvas.USUAL
    assert canvas.canvas_for({1: Boxes(), 2: Boxes([small])}, sizes) == canvas.USUAL
    opened.clear()
    assert canvas.canvas_for({each: Boxes([small]) for each in range(1_000)}, sizes) == canvas.LARGE
    assert len(opened) <= canvas.MEASURED


def test_it_learns_from_five_images_on_and_goes_on_after_a_restart(opened) -> None:
    detector = opened()
    assert not taught(detector, lessons(0, 1, 2, 3))
    assert not detector.due
    assert taught(detector, lessons(0, 1, 2, 3, 4))
    first = detector.version
    assert detector.detector is not None
    assert detector.detector.steps == 20
    assert not detector.due
    again = opened()
    again.prepare(LOG, lessons(0, 1, 2, 3, 4), held_out=(), classes=(1, 2))
    assert (again.version, again.due) == (first, False)
    assert taught(again, lessons(0, 1, 2, 3, 4, 5))
    assert again.version != first
    other = opened()
    other.prepare(uuid4(), lessons(0, 1), held_out=(), classes=(1, 2))
    assert other.detector is None


@pytest.fixture
def _short(monkeypatch):
    """Few steps before the first round, and in it."""
    monkeypatch.setattr("trainer.live_detector.live_detector.AHEAD_STEPS", 2)
    monkeypatch.setattr("trainer.live_detector.live_detector.START_STEPS", 5)
    monkeypatch.setattr("trainer.live_detector.live_detector.FIRST_STEPS", 3)


@pytest.mark.usefixtures("_short")
def test_the_head_learns_ahead_so_that_the_first_round_is_short(opened) -> None:
    detector = opened()
    assert not taught(detector, lessons(0))
    assert not taught(detector, lessons(0, 1, 2, 3))
    assert (detector.detector, detector.version, detector.due, detector.hurries) == (None, "", False, False)
    assert not detector._path.exists()
    assert detector._state is not None
    assert detector._state.detector.steps == 4 * 2
    detector.prepare(LOG, lessons(*range(5)), held_out=(), classes=(1, 2))
    assert detector.hurries
    assert detector.learn(1, never)
    assert detector.detector is not None
    assert (detector.detector.steps, detector.detector.regions is not None) == (8 + 3, True)
    assert detector.due  # a longer round follows at once
    assert detector.learn(1, never)
    assert detector.detector.steps == 8 + 20
    assert (detector.due, detector.hurries) == (False, False)


@pytest.mark.usefixtures("_short")
def test_an_image_that_only_the_head_learned_ahead_is_forgotten_too(opened) -> None:
    detector = opened()
    taught(detector, lessons(0, 1, 2))
    detector.prepare(LOG, lessons(1, 2), held_out=(0,), classes=(1, 2))
    assert detector._state is not None
    assert detector._state.detector is None


@pytest.mark.usefixtures("_short")
def test_a_sixth_image_neither_restarts_nor_delays_the_first_round(opened) -> None:
    detector = opened()
    detector.prepare(LOG, lessons(*range(5)), held_out=(), classes=(1, 2))
    asked = iter([False] * (5 + 1 + 4))  # before the views of each image, the round, and four of its first five steps
    assert not detector.learn(1, lambda: next(asked, True))
    assert detector.version == ""  # too poor to be shown
    assert taught(detector, lessons(*range(6)))
    assert detector.detector is not None
    assert (detector.detector.steps, sorted(detector.learned)) == (5 + 3, [0, 1, 2, 3, 4])
    assert detector.learn(2, never)
    assert sorted(detector.learned) == [0, 1, 2, 3, 4, 5]


def test_a_detector_that_was_saved_with_another_head_is_learned_again(opened, caplog) -> None:
    detector = opened()
    taught(detector, lessons(*range(5)))
    with safe_open(detector._path, framework="numpy") as file:
        said = file.metadata()
    tensors = load_file(detector._path)
    del tensors["head.levels.0.0.weight"]
    save_file(tensors, detector._path, metadata=said)
    again = opened()
    again.prepare(LOG, lessons(*range(5)), held_out=(), classes=(1, 2))
    assert "trained again" in caplog.text
    assert again.due
    assert again.learn(1, never)


def test_an_image_that_is_held_out_later_is_forgotten(opened) -> None:
    detector = opened()
    taught(detector, lessons(*range(6)))
    assert detector.detector is not None
    detector.prepare(LOG, lessons(1, 2, 3, 4, 5), held_out=(0,), classes=(1, 2))
    assert detector.detector is None
    assert opened().detector is None
    assert detector.learn(2, never)
    restarted = opened()
    restarted.prepare(LOG, lessons(1, 2, 3, 4, 5), held_out=(0,), classes=(1, 2))
    assert restarted.version == detector.version


def test_a_round_ends_when_asked_and_the_rest_remains_to_be_done(opened) -> None:
    detector = opened()
    detector.prepare(LOG, lessons(*range(6)), held_out=(), classes=(1, 2))
    asked = iter([False] * (6 + 1 + 3))  # before the views of each image, the round, and three steps
    assert detector.learn(1, lambda: next(asked, True))
    assert detector.detector is not None
    assert detector.detector.steps == 3
    assert detector.due
    assert detector.learn(1, never)
    assert detector.detector.steps == 20
    assert not detector.due


def test_a_machine_that_is_slow_learns_too(opened, monkeypatch) -> None:
    monkeypatch.setattr("trainer.live_detector.live_detector.ROUND_SECONDS", 0.0)  # over before the first step
    detector = opened()
    assert taught(detector, lessons(*range(5)))
    assert taught(detector, lessons(*range(6)))


def test_a_deleted_class_is_no_longer_found_and_a_new_one_is(opened) -> None:
    detector = opened()
    taught(detector, lessons(*range(8)))
    assert detector.detector is not None
    assert detector.detector.classes.tolist() == [1, 2]
    renamed = {
        image: Boxes(box._replace(label=3) for box in boxes.boxes if box.label == 1)
        for image, boxes in lessons(*range(8)).items()
    }
    detector.prepare(LOG, renamed, held_out=(), classes=(2, 3))
    assert detector.learn(2, never)
    assert 1 not in detector.detector.classes
    assert 3 in detector.detector.classes


def test_an_unreadable_image_holds_up_nothing(opened) -> None:
    detector = opened()
    said = {**lessons(0, 1, 2, 3, 4), 16: Boxes([Box(1, 1, 1, 9, 9)])}
    assert taught(detector, said)
    assert detector.detector is not None
    found = detector.pictures.found(detector.detector, [16, 0])
    assert found[0] is None
    assert found[1] is not None


def test_images_that_a_labeler_could_not_send_are_learned_when_it_is_back(opened, monkeypatch) -> None:
    detector, away = opened(), [3, 4, 5, 16]
    fetch = detector.pictures._fetch
    sent = lambda image: b"" if image.id in away else fetch(image)  # noqa: E731
    monkeypatch.setattr(detector.pictures, "_fetch", sent)
    assert taught(detector, lessons(*range(6)))
    assert (sorted(detector.learned), detector.due) == ([0, 1, 2], False)
    del away[:2]
    detector.pictures._unreadable = dict.fromkeys(detector.pictures._unreadable, (0.0, 500.0))  # time to try again
    assert detector.due
    assert detector.learn(2, never)
    assert sorted(detector.learned) == [0, 1, 2, 3, 4]
    assert detector._state is not None
    assert detector._state.seen == {0, 1, 2, 3, 4}
    assert not detector.due
    detector.pictures._unreadable = dict.fromkeys(detector.pictures._unreadable, (0.0, 500.0))
    assert detector.due
    assert not detector.learn(3, never)  # none can be read now
    assert not detector.due


def test_answers_are_scored_before_they_are_learned(opened) -> None:
    detector = opened()
    taught(detector, lessons(*range(5)))
    assert detector._state is not None
    assert detector._state.judged == []  # there was no detector
    taught(detector, lessons(*range(9)))
    assert len(detector._state.judged) == 4
    restarted = opened()
    restarted.prepare(LOG, lessons(*range(9)), held_out=(), classes=(1, 2))
    assert restarted._state is not None
    assert [len(each.boxes) for each in restarted._state.judged] == [len(objects(n)) for n in range(5, 9)]


def test_answers_of_a_round_that_learned_nothing_are_scored_once(opened) -> None:
    detector = opened()
    taught(detector, lessons(*range(5)))
    detector.prepare(LOG, lessons(*range(9)), held_out=(), classes=(1, 2))
    asked = iter([False] * (4 + 1))  # before the views of each image, and before the answers are scored
    assert not detector.learn(2, lambda: next(asked, True))
    assert detector.learn(2, never)
    assert detector._state is not None
    assert len(detector._state.judged) == 4


def test_the_next_images_come_first_then_learning_then_the_rest_and_the_evaluation(opened) -> None:
    detector = opened()
    studies = Studies(detector)
    detector.prepare(LOG, lessons(*range(5)), held_out=(), classes=(1, 2))
    assert studies.due(lambda: [14, 15]) == "learn"
    assert detector.learn(1, never)
    studies._listed = list(range(5, 14))
    worth_sending = []
    while studies.due(lambda: None) == "look":
        worth_sending.append(studies.look(never))
    assert worth_sending[-1]
    assert studies.known(5) is not None
    assert studies.due(lambda: None) is None
    assert studies.due(lambda: [14, 15]) == "measure"
    detector.prepare(LOG, lessons(*range(6)), held_out=(), classes=(1, 2))
    assert studies.due(lambda: None) == "measure"  # once begun, it comes before the next round
    while not studies.measure(never):
        assert studies.due(lambda: None) == "measure"
    assert studies.due(lambda: None) == "learn"


def test_the_first_boxes_are_sent_as_soon_as_some_images_have_them(opened) -> None:
    detector = opened()
    studies = Studies(detector)
    studies._listed = list(range(5, 14))
    assert studies.due(lambda: None) is None  # nobody has labeled an image
    detector.prepare(LOG, lessons(0), held_out=(), classes=(1, 2))
    while studies.due(lambda: None) == "look":
        assert not studies.look(never)
    pictures = detector.pictures
    assert all(pictures.maps.has_plain(pictures.hash_of(each)) for each in studies._listed)
    assert taught(detector, lessons(*range(5)))
    studies.learned(lambda: [14, 15], first=True)  # an evaluation can wait until the next round
    assert studies.due(lambda: [14, 15]) == "look"
    assert studies.look(lambda: True)
    assert 0 < len(pictures.unseen(detector.detector, studies._listed)) < 9
    studies._listed = []
    assert studies.due(lambda: None) is None
    studies.learned(lambda: [14, 15], first=False)
    assert studies.due(lambda: None) == "measure"


def test_the_maps_of_the_next_images_are_computed_again_for_another_canvas(opened) -> None:
    detector = opened()
    studies, pictures = Studies(detector), detector.pictures
    studies._listed = [5, 6]
    for labeled, size in ((lessons(0), 96), ({0: Boxes([Box(1, 3, 5, 5, 5)])}, 128)):
        detector.prepare(LOG, labeled, held_out=(), classes=(1, 2))
        assert pictures.maps.pyramid.size == size
        while studies.due(lambda: None) == "look":
            assert not studies.look(never)
        assert all(pictures.maps.has_plain(pictures.hash_of(each)) for each in studies._listed)


def test_a_list_is_sent_though_a_disk_is_full(opened) -> None:
    detector = opened()
    assert taught(detector, lessons(*range(5)))
    studies = Studies(detector)
    queries = [Query(image_id=each) for each in range(5, 10)]
    said = {"id": uuid4(), "log_id": LOG, "model_version": "one", "acked_seq": 1, "strategy": "random"}
    with no_room():
        studies.asked(QueryPush(**said, queries=queries))
        assert studies.due(lambda: None) == "look"
        with pytest.raises(OSError, match=r"."):  # the loop tells of it
            studies.look(never)
    assert studies.look(never)


def test_maps_are_opened_once_whoever_needs_them_first(opened, monkeypatch) -> None:
    pictures, times = opened().pictures, []

    def slowly(read, size):
        times.append(size)
        time.sleep(0.05)
        return object()

    monkeypatch.setattr(pictures, "_open_maps", slowly)
    with ThreadPoolExecutor(2) as threads:
        assert len(set(threads.map(pictures.maps_of, [96, 96]))) == 1
    assert times == [96]


def test_its_version_is_told_while_it_is_forgotten(opened, monkeypatch) -> None:
    detector = opened()
    assert taught(detector, lessons(*range(5)))
    version, states = detector.version, iter([detector._state])
    monkeypatch.setattr(LiveDetector, "_state", property(lambda _: next(states, None)), raising=False)
    assert detector.version == version
    assert detector.version == ""


def test_images_beyond_the_sample_are_not_due_forever(opened, monkeypatch) -> None:
    monkeypatch.setattr("trainer.live_detector.sampling.MOST", 6)
    detector, all_of_them = opened(), lessons(*range(12))
    taught(detector, all_of_them)
    while detector.due:
        assert detector.learn(1, never)
    detector.prepare(LOG, all_of_them, held_out=(), classes=(1, 2))
    assert not detector.due
    assert len(detector.learned) == 6
