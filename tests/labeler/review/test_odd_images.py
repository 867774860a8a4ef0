"""Odd images are found among the others of their project, and nothing held out is listed."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from labeler.review.odd_images import measure
from labeler.service import Service
from shared.wire.review import Oddities
from tests.labeler.followers import following
from tests.labeler.projects import answer, labeler
from tests.services import wait_for

ORDINARY = 30


def write(folder: Path, name: str, size: tuple[int, int] = (64, 64), *, scale: float = 1.0, blur: float = 0.0) -> None:
    """Noise of its own for each name."""
    rng = np.random.default_rng(list(name.encode()))
    pixels = (rng.integers(0, 255, (size[1], size[0], 3)) * scale).astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(blur)).save(folder / name)


def looked(service: Service) -> Oddities:
    wait_for(lambda: (found := service.oddities.lists()).measured == found.total)
    return service.oddities.lists()


def test_images_unlike_the_others_are_listed(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for number in range(ORDINARY):
        write(photos, f"ordinary {number:02d}.png")
    write(photos, "dark.png", scale=0.1)
    write(photos, "blurred.png", blur=4)
    write(photos, "tiny.png", (9, 9))
    write(photos, "wide.png", (300, 40))
    write(photos, "held dark.png", scale=0.05)
    with following() as (follower, url), labeler(tmp_path, trainer_url=url, trainer_poll_seconds=0.05) as service:
        ids = {Path(entry.uri).stem: entry.id for entry in service.catalog.entries(0, 100)}
        held = ids["held dark"]
        service.catalog.move([held], "test")
        wait_for(lambda: (status := service.trainer.status()) and status.log_id)
        follower.copies = {"differing": [[1, 2], [1, held]], "across": {5: "test", held: "test"}}
        found = looked(service)
        assert found.dark == [ids["dark"]]
        assert ids["blurred"] in found.blurred
        assert not {ids[f"ordinary {number:02d}"] for number in range(ORDINARY)} & set(found.blurred)
        assert found.tiny == [ids["tiny"]]
        assert found.extreme == [ids["wide"]]
        assert (found.differing, found.across) == ([(1, 2)], [5])
        assert found.total == len(ids) - 1


def test_without_a_trainer_and_with_a_broken_image_the_rest_is_there(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "photos", f"{number}.png", scale=0.05)
    with labeler(tmp_path) as service:
        (tmp_path / "photos" / "1.png").unlink()
        assert len(looked(service).dark) == 2


def test_the_trainer_is_asked_for_copies_only_when_it_knows_more(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "photos", f"{number}.png")
    with following() as (follower, url), labeler(tmp_path, trainer_url=url, trainer_poll_seconds=0.05) as service:

        def told() -> bool:
            status = service.trainer.status()
            return status is not None and (status.log_id, status.acked_seq) == (
                service.log.log_id,
                service.log.last_seq,
            )

        assert service.outbox.flush(20)
        wait_for(told)
        for _ in range(3):
            looked(service)
        assert follower.asked.count("near-duplicates") == 1
        service.annotate([answer(1)])
        assert service.outbox.flush(20)
        wait_for(told)
        looked(service)
        assert follower.asked.count("near-duplicates") == 2


def test_brightness_and_sharpness() -> None:
    def encoded(image: Image.Image) -> bytes:
        data = BytesIO()
        image.save(data, "PNG")
        return data.getvalue()

    assert measure(encoded(Image.new("RGB", (9, 9), (200, 200, 200)))) == (200, 0)
    checks = Image.fromarray(((np.indices((32, 32)).sum(axis=0) % 2) * 60 + 100).astype(np.uint8))
    assert measure(encoded(checks))[1] > 10 * measure(encoded(checks.filter(ImageFilter.GaussianBlur(2))))[1]
