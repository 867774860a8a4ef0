import os
import random
import re
import struct
import tarfile
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.images.finding import Passed
from shared.images.opening import ImageProblem
from shared.images.sources import archives
from shared.images.sources.archives import ArchiveSource
from shared.images.sources.blobs import LocalBlob
from shared.images.sources.choosing import Sources
from shared.images.sources.source import ImageAway
from shared.storage.contents import Contents
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
        assert uris(found, passed) == expected, place
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
        assert uris(source(path), passed) == ["fine.png"]
        assert passed.unusable.total() == 6
        assert "Skipped because of their names" in " ".join(passed.sentences())
    more = {"./dot.png": picture(1), "__MACOSX/._dot.png": b"x", ".hidden/a.png": picture(2), "in.zip": b"PK"}
    passed = Passed()
    assert uris(source(write_tar(tmp_path / "b.tar", more)), passed) == ["dot.png"]
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


def test_each_problem_of_a_member_has_its_reason(tmp_path: Path) -> None:
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


def test_a_zip_whose_table_of_contents_lies(tmp_path: Path) -> None:
    data = write_zip(tmp_path / "a.zip", {"a.png": picture(1), "b.png": picture(2)}, zipfile.ZIP_STORED).read_bytes()
    (tmp_path / "cut.zip").write_bytes(data[60:])  # the first member begins before the file
    listed = source(tmp_path / "cut.zip")
    assert uris(listed) == ["a.png", "b.png"]
    with pytest.raises(ImageProblem, match="is damaged in the archive") as caught:
        listed.read("a.png", LIMITS)
    assert not isinstance(caught.value, ImageAway)  # trying again would not help
    for field, value in {"size": 2**64 - 1, "offset": 2**64 - 1}.items():
        lying = source(zip_of_large_numbers(tmp_path / f"{field}.zip", picture(1), **{field: value}))
        assert uris(lying) == ["a.png"]
        assert max(lying.stamp("a.png")) < 2**63  # which is stored
        with pytest.raises(ImageProblem, match=r"limit set by|is damaged"):
            lying.read("a.png", LIMITS)


def zip_of_large_numbers(path: Path, data: bytes, size: int = 0, offset: int = 0) -> Path:
    """A zip with one member, of which the table of contents says this size and offset."""
    name, crc, large = b"a.png", zlib.crc32(data), 2**32 - 1
    numbers = [each for each in (size, offset) if each]
    extra = struct.pack(f"<HH{len(numbers)}Q", 1, 8 * len(numbers), *numbers)
    member = struct.pack("<4s5H3I2H", b"PK\3\4", 45, 0, 0, 0, 0, crc, len(data), len(data), len(name), 0) + name + data
    sizes = (len(data), large if size else len(data), len(name), len(extra), 0, 0, 0, 0, large if offset else 0)
    contents = struct.pack("<4s6H3I5H2I", b"PK\1\2", 45, 45, 0, 0, 0, 0, crc, *sizes) + name + extra
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(contents), len(member), 0)
    path.write_bytes(member + contents + end)
    return path


def tar_header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """The header of a member whose size may be negative."""
    header = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (b"\xff" * 4 if size < 0 else bytes([128, 0, 0, 0])) + struct.pack(">q", size)
    header[156:157] = kind
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, b"Z"])
def test_a_tar_that_leads_back_to_its_beginning_ends(tmp_path: Path, kind: bytes) -> None:
    first = tar_header("a.png", 512) + bytes(512)
    (tmp_path / "a.tar").write_bytes(first + tar_header("b.png", -512, kind) + bytes(1024))
    with pytest.raises(ImageProblem, match="is not a tar archive that can be read"):
        uris(source(tmp_path / "a.tar"))


def test_a_tar_that_is_damaged_in_the_middle_lists_no_part(tmp_path: Path) -> None:
    data = bytearray(write_tar(tmp_path / "a.tar", {f"{each}.png": picture(each) for each in range(4)}).read_bytes())
    data[2048:2560] = b"?" * 512
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(ImageProblem, match="is not a tar archive that can be read"):
        uris(source(tmp_path / "a.tar"))


def test_a_member_of_a_far_archive_that_was_replaced_is_not_broken(tmp_path: Path) -> None:
    bucket = uuid4().hex
    before = write_zip(tmp_path / "a.zip", {"a.png": picture(1), "b.png": picture(2)}).read_bytes()
    found = source(f"{write_objects(bucket, {'a.zip': before})}/a.zip")
    assert uris(found) == ["a.png", "b.png"]
    after = write_zip(tmp_path / "b.zip", {"c.png": picture(3), "a.png": picture(4)}).read_bytes()
    write_objects(bucket, {"a.zip": after})
    with pytest.raises(ImageAway, match="was replaced just now"):
        found.read("a.png", LIMITS)
    assert found.read("a.png", LIMITS) == picture(4)


class Counted(LocalBlob):
    """Counts how often it is read."""

    reads = 0

    def part(self, start: int, end: int) -> bytes:
        self.reads += 1
        return super().part(start, end)


@pytest.mark.parametrize("kind", [".zip", ".tar"])
def test_a_restart_reads_no_table_of_contents(tmp_path: Path, kind: str) -> None:
    write = write_zip if kind == ".zip" else write_tar
    path = write(tmp_path / f"a{kind}", {"a.png": picture(1), "b.txt": b"", "c.png": picture(2)})
    passed, again = Passed(), Passed()
    first = ArchiveSource(Counted(path), kind, Contents(tmp_path / "kept.db"))
    stamps = dict(first.listed(passed))
    blob = Counted(path)
    second = ArchiveSource(blob, kind, Contents(tmp_path / "kept.db"))
    assert dict(second.listed(again)) == stamps
    assert again == passed
    assert blob.reads == 0
    assert second.read("c.png", LIMITS) == picture(2)
    write(path, {"d.png": picture(3)})
    assert uris(second) == ["d.png"]
    (tmp_path / "kept.db").write_bytes(b"damaged" * 1_000)
    assert uris(ArchiveSource(Counted(path), kind, Contents(tmp_path / "kept.db"))) == ["d.png"]


def test_a_tar_that_is_cut_off_between_two_members_says_so(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {f"{each}.png": picture(each) for each in range(4)})
    with tarfile.open(path) as archive:
        third = archive.getmembers()[2].offset
    passed = Passed()
    assert len(uris(source(path), passed)) == 4
    assert not passed.cut
    path.write_bytes(path.read_bytes()[:third])
    assert uris(source(path), passed) == ["0.png", "1.png"]
    assert "Without the mark that ends a tar, as if cut off; images may be missing: a.tar." in passed.sentences()


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    assert uris(source(write_zip(tmp_path / "photos [1].zip", {"a.png": picture(1)}))) == ["a.png"]


def test_a_pattern_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tar(tmp_path / "s-1.tar", {"a.png": picture(1)})
    monkeypatch.chdir(tmp_path)
    assert uris(source(Path("s-*.tar"))) == ["s-1.tar/a.png"]


def test_an_archive_in_a_folder_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    for place in (
        write_zip(folder / "a.zip", {"a.png": picture(1)}),
        write_tar(folder / "a.tar", {"a.png": picture(1)}),
    ):
        assert uris(source(place)) == ["a.png"]


def test_after_a_start_an_archive_of_the_same_size_and_time_is_read_anew(tmp_path: Path) -> None:
    archive, other = tmp_path / "photos.tar", tmp_path / "other.tar"
    for path, name in ((archive, "a.png"), (other, "b.png")):
        with tarfile.open(path, "w") as packed:
            packed.addfile(tarfile.TarInfo(name))
        os.utime(path, (1_000, 1_000))
    assert [uri for uri, _ in Sources(kept=tmp_path / "kept.db").source(archive).listed(Passed())] == ["a.png"]
    other.replace(archive)  # as rsync --times does
    assert [uri for uri, _ in Sources(kept=tmp_path / "kept.db").source(archive).listed(Passed())] == ["b.png"]
