"""The members of a .zip or an uncompressed .tar as a source of images. Nothing is unpacked to disk.

The table of contents is read once, and again when the archive changes. Members are then read by offset. Archives are
not trusted: the number of members is limited, each may be at most as large as an image may be, however well it is
compressed, invalid names are skipped, and an archive within an archive is no image. If a name occurs twice, the last
member counts.
"""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from shared.images.finding import Passed
from shared.images.opening import ImageLimits, ImageProblem, check_bytes
from shared.images.sources.blobs import Blob, SourceInFile, Stream
from shared.images.sources.source import NONE, ImageAway, Listed, Stamp, folded, is_image_name

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
    """The table of contents of the archive with this stamp."""

    stamp: Stamp
    size: int
    members: dict[str, Member]
    passed: Passed


class ArchiveSource(SourceInFile[_Contents]):
    """The images of one archive."""

    cached_seconds = LOOK_SECONDS

    def __init__(self, blob: Blob, kind: str) -> None:
        super().__init__(blob, far=blob.far, readers=16 if blob.far else 2)
        self._zip = kind == ".zip"

    def listed(self, passed: Passed) -> Iterator[Listed]:
        """See ImageSource. In code point order."""
        contents = self._current(look=True)
        passed.add(contents.passed)
        return ((name, self._stamp(contents, contents.members[name])) for name in sorted(contents.members))

    def stamp(self, uri: str) -> Stamp:
        """See ImageSource. A zip has a checksum for each member. If a tar changes, all its images are read again."""
        contents = self._known()
        member = None if contents is None else contents.members.get(uri)
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
                raise ImageAway("was replaced just now: it is tried again") from None
            raise

    def _member(self, contents: _Contents, uri: str, limits: ImageLimits) -> bytes:
        member = contents.members.get(uri)
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
        found: dict[str, Member] = {}
        passed = Passed()
        members = _of_zip if self._zip else _of_tar
        try:
            for number, (name, member) in enumerate(members(Stream(self._blob, size))):
                if number >= MOST_MEMBERS:
                    raise ImageProblem(f"has more than {MOST_MEMBERS:,} members: split it")  # noqa: TRY301
                name = name.removeprefix("./")
                if is_image_name(name, passed):
                    found[name] = member
        except ImageProblem:
            raise
        except _DAMAGED:
            raise ImageProblem(f"is not a {'zip' if self._zip else 'tar'} archive that can be read") from None
        return _Contents(stamp, size, found, passed)


def _of_zip(stream: Any) -> Iterator[tuple[str, Member]]:
    with zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            packing: Packing = "plain" if info.compress_type == zipfile.ZIP_STORED else "unknown"
            if info.compress_type == zipfile.ZIP_DEFLATED:
                packing = "deflated"
            if info.flag_bits & 1:
                packing = "encrypted"
            yield (
                info.filename.replace("\\", "/"),
                Member(info.header_offset, info.compress_size, info.file_size, info.CRC, packing),
            )


def _of_tar(stream: Any) -> Iterator[tuple[str, Member]]:
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        last = -1
        for info in archive:
            archive.members = []  # type: ignore[attr-defined]  # it would keep all of them
            if info.size < 0 or info.offset <= last:  # a loop of offsets would never end
                raise tarfile.ReadError
            last = info.offset
            if info.isreg() and not info.issparse():
                yield info.name, Member(info.offset_data, info.size, info.size, folded(info.mtime), "plain")
        stream.seek(archive.offset)
        if any(stream.read(tarfile.BLOCKSIZE)):  # tarfile mistakes unreadable headers for the end
            raise tarfile.ReadError


def _inflated(packed: bytes, most: int) -> bytes:
    unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
    return unpacking.decompress(packed, most)
