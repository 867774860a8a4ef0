from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from labeler.errors import Gone, Invalid
from labeler.images.thumbnails import Thumbnails
from shared.images.opening import ImageLimits
from shared.storage.disk_errors import Disk
from tests.labeler.projects import photo

LIMITS = ImageLimits(max_bytes=1_000_000, max_pixels=1_000_000)


def test_shown_also_where_none_can_be_kept(tmp_path: Path) -> None:
    data = photo(tmp_path / "a.png", 3, (800, 400)).read_bytes()
    (tmp_path / "kept").symlink_to("/proc/self/fdinfo")  # where nobody makes a folder
    disk = Disk(tmp_path)
    thumbnails = Thumbnails(tmp_path / "kept", 500, LIMITS, disk)
    for _ in range(2):
        shown, _ = thumbnails.get("ab12", 320, lambda: data)
        assert Image.open(BytesIO(shown)).size == (320, 160)
    disk.close()


def test_made_once_and_kept(tmp_path: Path) -> None:
    data = photo(tmp_path / "a.png", 3, (800, 400)).read_bytes()
    loads: list[int] = []
    thumbnails = Thumbnails(tmp_path / "kept", 500, LIMITS)

    def load() -> bytes:
        loads.append(1)
        return data

    first = thumbnails.get("ab12", 500, load)
    assert thumbnails.get("ab12", 500, load) == first
    assert Image.open(BytesIO(first[0])).size == (500, 250)
    assert len(loads) == 1
    with pytest.raises(Invalid, match="160, 320, 500, 640"):
        thumbnails.get("ab12", 501, load)
    with pytest.raises(Gone, match="not an image"):
        thumbnails.get("cd34", 160, lambda: b"not an image")
