import csv
from pathlib import Path

from PIL import Image

from labeler.images.demo import CLASSES, write_digits
from shared.images.finding import find_images


def test_the_digits_are_written_once(tmp_path: Path) -> None:
    images = write_digits(tmp_path)
    names = list(find_images(images))
    with (tmp_path / "labels.csv").open(newline="") as stream:
        truth = {row["filename"]: row["label"] for row in csv.DictReader(stream)}
    assert len(names) == 1_797
    assert sorted(truth) == names
    assert set(truth.values()) == set(CLASSES)
    with Image.open(images / names[0]) as image:
        assert image.size == (64, 64)
    (images / names[0]).unlink()
    write_digits(tmp_path)
    assert len(list(find_images(images))) == 1_796
