from pathlib import Path

from labeler.images.far.relisting import Relisting
from labeler.images.file_index import Files
from tests.shared.images.sources.places import LIMITS, picture, write_tar, write_zip


def test_an_archive_is_listed_again_once_it_has_changed_and_stands_still(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.png": picture(1)})
    relisting = Relisting(Files({"images": path}, LIMITS), 900)
    assert [list(relisting.due()) for _ in range(3)] == [[], [], []]
    write_zip(path, {"a.png": picture(1), "b.png": picture(2)})
    assert list(relisting.due()) == []  # it may still be written
    write_zip(path, {"a.png": picture(1), "b.png": picture(2), "c.png": picture(3)})
    assert list(relisting.due()) == []
    assert list(relisting.due()) == ["images"]
    assert list(relisting.due()) == []
    path.unlink()
    assert [list(relisting.due()) for _ in range(2)] == [[], []]  # a disk may be back in a moment


def test_a_new_shard_is_noticed(tmp_path: Path) -> None:
    write_tar(tmp_path / "train-0.tar", {"a.png": picture(1)})
    relisting = Relisting(Files({"images/train": tmp_path / "train-*.tar"}, LIMITS), 0)
    assert [list(relisting.due()) for _ in range(2)] == [[], []]
    write_tar(tmp_path / "other.tar", {"a.png": picture(1)})
    assert [list(relisting.due()) for _ in range(2)] == [[], []]
    write_tar(tmp_path / "train-1.tar", {"a.png": picture(2)})
    assert [list(relisting.due()) for _ in range(2)] == [[], ["images/train"]]


def test_a_store_is_listed_by_the_clock(tmp_path: Path) -> None:
    now = [0.0]
    files = Files({"images": tmp_path, "images/far": "memory://bucket"}, LIMITS)
    relisting, never = (Relisting(files, seconds, lambda: now[0]) for seconds in (60, 0))
    due = []
    for now[0] in (0.0, 59.0, 60.0, 61.0, 119.0, 130.0):
        due.append(list(relisting.due()))
        assert list(never.due()) == []
    assert due == [[], [], ["images/far"], [], [], ["images/far"]]
