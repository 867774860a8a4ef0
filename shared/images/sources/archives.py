"""The members of a .zip or an uncompressed .tar as a source of images. Nothing is unpacked to disk.

The table of contents is read once, kept on disk, and read again when the archive changes. Members are read by offset.
Archives are not trusted. The number of members is limited. The unpacked size of a member is limited like that of any
image. Invalid names are skipped, and an archive within an archive is not an image. If a name occurs twice, the last
member counts. A tar without its end mark may be truncated: its members are listed, and a sentence warns about it.
"""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from shared.images.finding import Passed
from shared.images.opening import ImageLimits, ImageProblem, check_bytes
from shared.images.sources.addresses import Place
from shared.images.sources.blobs import Blob, SourceInFile, Stream
from shared.images.sources.source import NONE, ImageAway, Listed, Stamp, folded, is_image_name
from shared.storage.contents import Contents, ContentsLost
from shared.storage.spool import Spool

ENDINGS: Final = (".zip", ".tar")
COMPRESSED: Final = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".gz", ".7z", ".rar")
MOST_MEMBERS = 1_000_000
LOOK_SECONDS = 30.0
"""Seconds for which the stamp of an archive in a store is cached. A local file is checked each time."""
_LOCAL_HEADER = 30  # bytes of the zip header before a member, without name and extra field
_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, LookupError, OverflowError),
    *(NotImplementedError, RuntimeError, MemoryError),
)
Packing = Literal["plain", "deflated", "encrypted", "unknown"]


class Member(NamedTuple):
    """The location of a member: for a zip, the offset of its header; for a tar, the offset of its content."""

    offset: int
    packed: int  # bytes in the archive
    size: int  # bytes of the content, as the archive says
    mark: int  # zip: checksum of the content; tar: modification time
    packing: Packing


@dataclass(frozen=True, slots=True)
class _Contents:
    """The table of contents of the archive with this stamp: its number in `shared.storage.contents`."""

    stamp: Stamp
    size: int
    number: int
    passed: Passed


class ArchiveSource(SourceInFile[_Contents]):
    """The images of one archive."""

    cached_seconds = LOOK_SECONDS

    def __init__(self, blob: Blob, kind: str, kept: Contents) -> None:
        super().__init__(blob, far=blob.far, readers=16 if blob.far else 2)
        self._zip = kind == ".zip"
        self._kept = kept

    def listed(self, passed: Passed) -> Iterator[Listed]:
        """See ImageSource. In code point order."""
        contents = self._current(look=True)
        passed.add(contents.passed)
        try:
            for name, facts in self._kept.members(contents.number):
                yield name, self._stamp(contents, Member(*facts))
        except ContentsLost as problem:
            raise _lost(problem) from None

    def stamp(self, uri: str) -> Stamp:
        """See ImageSource. A zip has a checksum for each member. If a tar changes, all its images are read again."""
        contents = self._known()
        member = None if contents is None else self._find(contents, uri)
        return NONE if contents is None or member is None else self._stamp(contents, member)

    def _stamp(self, contents: _Contents, member: Member) -> Stamp:
        size = min(member.size, 1 << 62)  # a database stores it
        if self._zip:
            return size, member.mark + 1
        return size, folded(contents.stamp, member.offset, member.mark) or 1

    def read(self, uri: str, limits: ImageLimits) -> bytes:
        """See ImageSource."""
        contents = self._current()
        try:
            return self._member(contents, uri, limits)
        except ImageAway:
            raise
        except ImageProblem:
            if self._current(look=True) is not contents:
                raise ImageAway("cannot be read now, because it was replaced just now") from None
            raise

    def _current(self, *, look: bool = False) -> _Contents:
        contents = super()._current(look=look)
        if not self._kept.has(contents.number):  # the tables were damaged, or another source read this archive anew
            with self._lock:
                self._contents = None
            contents = super()._current(look=True)
        return contents

    def _find(self, contents: _Contents, uri: str) -> Member | None:
        try:
            facts = self._kept.get(contents.number, uri)
        except ContentsLost as problem:
            raise _lost(problem) from None
        return None if facts is None else Member(*facts)

    def _member(self, contents: _Contents, uri: str, limits: ImageLimits) -> bytes:
        member = self._find(contents, uri)
        if member is None:
            raise ImageProblem("no longer exists")
        check_bytes(member.size, limits)
        if not 0 <= member.offset < contents.size:
            raise ImageProblem("is damaged in the archive")
        if not self._zip:
            data = self._blob.part(member.offset, member.offset + member.size)
            if len(data) < member.size:
                raise ImageProblem("is cut off, because the archive ends too early")
            return data
        return self._unpacked(member, limits)

    def _unpacked(self, member: Member, limits: ImageLimits) -> bytes:
        if member.packing == "encrypted":
            raise ImageProblem("is encrypted: unpack the archive, and name the folder")
        if member.packing == "unknown":
            raise ImageProblem("is compressed in an unusual way: pack the archive again as a usual zip")
        if member.packed > limits.max_bytes + 1024:  # incompressible content is stored unchanged
            raise ImageProblem(f"has more than {limits.max_bytes:,} bytes, the limit set by max_image_bytes")
        most = _LOCAL_HEADER + 2 * 65_535 + member.packed
        part = self._blob.part(member.offset, member.offset + min(most, _LOCAL_HEADER + 512 + member.packed))
        if part[:4] != b"PK\x03\x04":
            raise ImageProblem("is not where the archive says: it is damaged, or was replaced just now")
        begin = _LOCAL_HEADER + int.from_bytes(part[26:28], "little") + int.from_bytes(part[28:30], "little")
        if begin + member.packed > len(part):
            part = self._blob.part(member.offset, member.offset + begin + member.packed)
        packed = part[begin : begin + member.packed]
        try:
            data = packed if member.packing == "plain" else _inflated(packed, limits.max_bytes + 1)
        except zlib.error:
            raise ImageProblem("is damaged in the archive") from None
        check_bytes(len(data), limits)
        if len(data) != member.size or zlib.crc32(data) != member.mark:
            raise ImageProblem("is damaged in the archive")
        return data

    def _read_contents(self, size: int, stamp: Stamp) -> _Contents:
        passed = Passed()
        place = str(self.place.absolute() if isinstance(self.place, Path) else self.place)
        place = place.encode("utf-8", "backslashreplace").decode()  # a folder's name may not be UTF-8

        def images() -> Iterator[tuple[str, Member]]:
            members = _of_zip if self._zip else _of_tar
            try:
                for number, (name, member) in enumerate(members(Stream(self._blob, size), passed)):
                    if number >= MOST_MEMBERS:
                        raise ImageProblem(f"has more than {MOST_MEMBERS:,} members: split it")  # noqa: TRY301
                    name = name.removeprefix("./")
                    if is_image_name(name, passed):
                        yield name, member
            except ImageProblem:
                raise
            except _DAMAGED:
                raise ImageProblem(f"is not a {'zip' if self._zip else 'tar'} archive that can be read") from None
            if passed.cut:
                passed.cut = Counter({place.rpartition("/")[2]: 1})

        version = (stamp, *_identity(self.place))
        try:
            known = self._kept.find(place, version) or self._kept.write(place, version, images(), passed.counts)
        except ContentsLost as problem:
            raise _lost(problem) from None
        return _Contents(stamp, size, known[0], Passed.of(known[1]))


def _identity(place: Place) -> tuple[int, ...]:
    """Identifies the file at a local path, because a copy that keeps its times may have the same size and time."""
    try:
        status = place.stat() if isinstance(place, Path) else None
    except OSError:
        return ()
    return () if status is None else (status.st_ino, status.st_ctime_ns)


def _lost(problem: ContentsLost) -> ImageAway:
    return ImageAway(f"cannot be read now, because its list of images cannot be kept on the disk ({problem})")


class _Directory(zipfile.ZipFile):
    """Gives the members of a zip to `take` as they are read, and keeps none: a million would take 400 MB."""

    def __init__(self, stream: Any, take: Callable[[zipfile.ZipInfo], None]) -> None:
        self._members = _Taken(take)
        super().__init__(stream)

    @property
    def filelist(self) -> _Taken:
        """The list to which `zipfile` appends each member."""
        return self._members

    @filelist.setter
    def filelist(self, _: object) -> None:
        """Ignore the empty list that `zipfile` sets."""

    @property
    def NameToInfo(self) -> dict[str, zipfile.ZipInfo]:  # noqa: N802 - zipfile's name
        """The dict in which `zipfile` also stores each member."""
        return {}

    @NameToInfo.setter
    def NameToInfo(self, _: object) -> None:  # noqa: N802
        """Ignore the empty dict that `zipfile` sets."""


class _Taken(list[zipfile.ZipInfo]):
    def __init__(self, take: Callable[[zipfile.ZipInfo], None]) -> None:
        super().__init__()
        self.append = take  # type: ignore[method-assign]


def _of_zip(stream: Any, passed: Passed) -> Iterator[tuple[str, Member]]:
    with Spool() as found:

        def take(info: zipfile.ZipInfo) -> None:
            if info.is_dir():
                return
            packing: Packing = "plain" if info.compress_type == zipfile.ZIP_STORED else "unknown"
            if info.compress_type == zipfile.ZIP_DEFLATED:
                packing = "deflated"
            if info.flag_bits & 1:
                packing = "encrypted"
            place = (info.header_offset, info.compress_size, info.file_size, info.CRC)
            found.append((info.filename.replace("\\", "/"), *place, packing))
            if len(found) > MOST_MEMBERS:
                raise ImageProblem(f"has more than {MOST_MEMBERS:,} members: split it")

        with _Directory(stream, take):
            pass
        for name, *facts in found:
            yield name, Member(*facts)


def _of_tar(stream: Any, passed: Passed) -> Iterator[tuple[str, Member]]:
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        last = -1
        for info in archive:
            archive.members = []  # type: ignore[attr-defined]  # `tarfile` would keep all of them
            if info.size < 0 or info.offset <= last:  # a loop of offsets would never end
                raise tarfile.ReadError
            last = info.offset
            if info.isreg() and not info.issparse():
                yield info.name, Member(info.offset_data, info.size, info.size, folded(info.mtime), "plain")
        stream.seek(archive.offset)
        end = stream.read(tarfile.BLOCKSIZE)
        if any(end):  # tarfile mistakes unreadable headers for the end
            raise tarfile.ReadError
        if not end:  # it has no end mark
            passed.cut["archive"] += 1


def _inflated(packed: bytes, most: int) -> bytes:
    unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
    return unpacking.decompress(packed, most)
