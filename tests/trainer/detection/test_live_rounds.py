"""Many labeled images at once, such as an import, are learned over several rounds: the first one does not wait for
the feature maps of all."""

from uuid import UUID

from shared.tasks.detection import Box, Boxes
from tests.trainer.detection.squares import LIMITS, RED, Album
from tests.trainer.logs import entry
from trainer.live_detector import live_detector
from trainer.live_detector.live_detector import LEAST_IMAGES, LiveDetector
from trainer.live_detector.pictures import Pictures
from trainer.sync.replica import Replica

LOG = UUID(int=1)


def test_a_large_import_is_learned_a_round_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(live_detector, "STEPS", 2)
    album, replica = Album(), Replica(tmp_path)
    lessons = {}
    for image_id in range(1, 13):
        example = album.squares(image_id)
        replica.update_catalog([entry(image_id, sha256=example.sha256)], after=image_id)
        lessons[image_id] = Boxes(Box(RED, *box) for box in example.boxes.tolist())

    def maps(read, size):
        return album.maps(tmp_path / "maps")

    pictures = Pictures(replica, lambda entry: album.files[entry.sha256], maps, LIMITS)
    live = LiveDetector(tmp_path / "live.safetensors", pictures, seed=0)
    live.prepare(LOG, lessons, held_out=(), classes=[RED])

    monkeypatch.setattr(live_detector, "VIEW_SECONDS", -1.0)  # no time for more views than a detector needs
    assert not live.learn(1, lambda: True)
    assert live.learn(1, lambda: False)
    assert len(list(tmp_path.rglob("*-views.safetensors"))) == LEAST_IMAGES
    assert live.detector is not None
    assert live.due  # the other images wait

    monkeypatch.setattr(live_detector, "VIEW_SECONDS", 60.0)
    assert live.learn(1, lambda: False)
    assert len(set(album.fetched)) == len(lessons)
    rounds = 0
    while live.due:
        assert live.learn(1, lambda: False)
        rounds += 1
        assert rounds < 10
