import random
import re
import zipfile
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.images.finding import Passed
from shared.images.opening import ImageProblem
from shared.images.sources import archives
from tests.shared.images.sources.places import (
    LIMITS,
    picture,
    source,
    uris,
    write_folder,
    write_objects,
    write_tar,
    write_zip,
)

NAME = st.text("ab-.é 1", min_size=1, max_size=4).filter(lambda name: name.strip(". ") == name)
PATHS = st.lists(NAME, min_size=1, max_size=3).map(lambda parts: "/".join([*parts[:-1], parts[-1] + ".png"]))


@settings(max_examples=20)
@given(paths=st.sets(PATHS, max_size=8), seed=st.integers(0, 99))
def test_all_sources_of_the_same_files_give_the_same_images_in_the_same_order(
    tmp_path_factory: pytest.TempPathFactory, paths: set[str], seed: int
) -> None:
    tmp_path = tmp_path_factory.mktemp("sources")
    shuffled = random.Random(seed).sample(sorted(paths), len(paths))
    files = {path: picture(number) for number, path in enumerate(shuffled)} | {"notes.txt": b"no image"}
    places = [
        write_folder(tmp_path / "folder", files),
        write_zip(tmp_path / "packed.zip", files),
        write_zip(tmp_path / "stored.zip", files, zipfile.ZIP_STORED),
        write_tar(tmp_path / "shard.tar", files),
        write_objects(uuid4().hex, files),
    ]
    expected = sorted(paths)
    for place in places:
        passed = Passed()
        found = source(place)
        assert list(found.uris(passed)) == expected, place
        assert passed.others == {".txt": 1}
        assert [found.read(uri, LIMITS) for uri in expected] == [files[uri] for uri in expected]
        assert all(found.stamp(uri) == source(place).stamp(uri) != (0, 0) for uri in expected)  # also after a restart
        assert found.stamp("other.png") == (0, 0)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_changed_archive_is_read_again(tmp_path: Path, kind: str) -> None:
    write = write_zip if kind == "zip" else write_tar
    path = write(tmp_path / f"photos.{kind}", {"a.png": picture(1), "b.png": picture(2)})
    archive = source(path)
    assert uris(archive) == ["a.png", "b.png"]
    before = {uri: archive.stamp(uri) for uri in ("a.png", "b.png")}
    write(path, {"a.png": picture(3), "b.png": picture(2), "c.png": picture(4)})
    assert archive.stamp("a.png") != before["a.png"]
    assert archive.read("a.png", LIMITS) == picture(3)
    assert uris(archive) == ["a.png", "b.png", "c.png"]
    if kind == "zip":  # which knows each member's checksum
        assert archive.stamp("b.png") == before["b.png"]


def test_a_tar_of_the_same_size_and_times_is_known_to_be_another(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "shard.tar", {"a.png": picture(1)})
    before = source(path).stamp("a.png")
    write_tar(path, {"a.png": picture(2)})
    assert source(path).stamp("a.png") != before


def test_shards_are_one_source(tmp_path: Path) -> None:
    for shard in range(3):
        write_tar(tmp_path / f"train-{shard}.tar", {f"{number}.png": picture(10 * shard + number) for number in (0, 1)})
    write_tar(tmp_path / "test-0.tar", {"0.png": picture(99)})
    shards = source(tmp_path / "train-*.tar")
    assert uris(shards) == [f"train-{shard}.tar/{number}.png" for shard in range(3) for number in (0, 1)]
    assert shards.read("train-2.tar/1.png", LIMITS) == picture(21)
    for foreign in ("test-0.tar/0.png", "../x.tar/0.png", "train-0.tar", ""):
        assert shards.stamp(foreign) == (0, 0)
        with pytest.raises(ImageProblem, match="no longer exists"):
            shards.read(foreign, LIMITS)
    write_tar(tmp_path / "train-3.tar", {"0.png": picture(30)})
    assert uris(shards)[-1] == "train-3.tar/0.png"


def test_names_that_no_file_could_have_are_skipped_and_counted(tmp_path: Path) -> None:
    files = {
        name: picture(number)
        for number, name in enumerate(
            ["../up.png", "/root.png", "a/../../b.png", "a//b.png", "a\nb.png", "x" * 2_000 + ".png", "fine.png"]
        )
    }
    for path in (write_zip(tmp_path / "a.zip", files), write_tar(tmp_path / "a.tar", files)):
        passed = Passed()
        assert list(source(path).uris(passed)) == ["fine.png"]
        assert passed.unusable.total() == 6
        assert "Skipped because of their names" in " ".join(passed.sentences())
    more = {"./dot.png": picture(1), "__MACOSX/._dot.png": b"x", ".hidden/a.png": picture(2), "in.zip": b"PK"}
    passed = Passed()
    assert list(source(write_tar(tmp_path / "b.tar", more)).uris(passed)) == ["dot.png"]
    assert (passed.hidden.total(), passed.others) == (2, {".zip": 1})


def test_a_small_member_that_unpacks_to_a_large_one_takes_no_more_than_an_image_may(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "bomb.zip", {"bomb.png": bytes(50_000_000), "lie.png": bytes(50_000_000)})
    data = bytearray(path.read_bytes())  # the second says that it is small
    for entry in re.finditer(rb"PK\x01\x02", bytes(data)):
        if data[entry.start() + 46 :].startswith(b"lie.png"):
            data[entry.start() + 24 : entry.start() + 28] = (1_000).to_bytes(4, "little")
    path.write_bytes(data)
    for name in ("bomb.png", "lie.png"):
        with pytest.raises(ImageProblem, match="more than 100,000 bytes, the limit set by max_image_bytes"):
            source(path).read(name, LIMITS)


def test_what_is_wrong_with_a_member_is_said(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.png": picture(1), "b.png": picture(2)}, zipfile.ZIP_STORED)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(picture(2), picture(2)[:-9] + b"x" * 9))
    assert source(path).read("a.png", LIMITS) == picture(1)
    with pytest.raises(ImageProblem, match="is damaged in the archive"):
        source(path).read("b.png", LIMITS)
    flags = whole.index(b"PK\x01\x02") + 8
    path.write_bytes(whole[:flags] + b"\x01" + whole[flags + 1 :])
    with pytest.raises(ImageProblem, match="is encrypted: unpack the archive"):
        source(path).read("a.png", LIMITS)
    write_zip(path, {"a.png": picture(1)}, zipfile.ZIP_BZIP2)
    with pytest.raises(ImageProblem, match="unusual way"):
        source(path).read("a.png", LIMITS)


@settings(max_examples=40)
@given(position=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_archive_raises_nothing_but_its_problem(
    tmp_path_factory: pytest.TempPathFactory, position: float, value: int, *, cut: bool
) -> None:
    tmp_path = tmp_path_factory.mktemp("damaged")
    files = {"a.png": picture(1), "b/c.png": picture(2)}
    for path in (write_zip(tmp_path / "a.zip", files), write_tar(tmp_path / "a.tar", files)):
        data = bytearray(path.read_bytes())
        at = int(position * len(data))
        data[at:] = b"" if cut else bytes([value]) + data[at + 1 :]
        path.write_bytes(data)
        archive = source(path)
        with suppress(ImageProblem):
            for uri in uris(archive):
                archive.stamp(uri)
                archive.read(uri, LIMITS)


def test_an_archive_with_too_many_members_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    files = {f"{number}.txt": b"" for number in range(4)}
    for path in (write_zip(tmp_path / "a.zip", files), write_tar(tmp_path / "a.tar", files)):
        with pytest.raises(ImageProblem, match="has more than 3 members: split it"):
            uris(source(path))


def test_a_forged_table_of_contents_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge.zip"
    size = 1 << 30
    end = b"PK\x05\x06" + bytes(4) + b"\x01\0\x01\0" + (size - 22).to_bytes(4, "little") + bytes(4) + bytes(2)
    with path.open("wb") as stream:  # sparse: it takes no room on the disk either
        stream.seek(size - 22)
        stream.write(end)
    with pytest.raises(ImageProblem, match="lists more images than can be read"):
        uris(source(path))


@pytest.mark.parametrize("name", ["photos.tar.gz", "photos.tgz", "photos.7z"])
def test_a_compressed_archive_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageProblem, match=r"unpack it, and name the folder or an uncompressed \.tar"):
        source(tmp_path / name)
