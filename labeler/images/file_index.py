"""Reads the files of the roots: their location, their content, and their bytes for a page.

A root is a place with images, usually a folder (`shared.images.sources` supports other kinds). The roots are `images`,
the given `test` set, `uploads` in the workspace, and added places, `images/NAME`. The URIs of an added place are
NAME/file, so that two places may contain files of the same name. Nothing is read from outside the roots, whatever a
request or a link says.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Final

from labeler.errors import Busy, Gone, Missing, Problem
from labeler.images.catalog import Catalog, Located
from labeler.images.file_registry import Found, Root
from shared.images import finding, opening
from shared.images.finding import Passed
from shared.images.near_files import NearFiles
from shared.images.opening import ImageLimits, ImageProblem, ImageWaits, check_bytes
from shared.images.sources.addresses import AddressProblem, Place, checked, is_address, is_within
from shared.images.sources.choosing import Sources
from shared.images.sources.folder import FolderSource
from shared.images.sources.objects import ObjectSource
from shared.images.sources.source import ImageAway, ImageSource, Listed, Stamp
from shared.storage.disk_errors import kind_of
from shared.storage.safe_names import MOST_BYTES, cut
from shared.storage.whole_files import write_whole
from shared.wire.images import Rejection

MEDIA_TYPES: Final[dict[str, str]] = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "GIF": "image/gif",
    "AVIF": "image/avif",
    "HEIF": "image/heic",
    "JPEG2000": "image/jp2",
    "PPM": "image/x-portable-anymap",
    "QOI": "image/qoi",
}
FURTHER: Final = "images/"
"""Prefix of the root of an added folder."""
IN_MEMORY: Final = 8_000_000
"""Size in bytes of the largest file that is sent from memory."""
UNKNOWN_TYPE: Final = "application/octet-stream"
SUFFIX_OF: Final[dict[str, str]] = {name: "." + kind.removeprefix("image/") for name, kind in MEDIA_TYPES.items()} | {
    "PPM": ".pnm"
}


class Files:
    """The roots of one workspace, by name. Skips files that the labeler itself writes in `workspace`."""

    def __init__(
        self,
        roots: Mapping[Root, Place],
        limits: ImageLimits,
        workspace: Path | None = None,
        sources: Sources | None = None,
    ) -> None:
        self.roots: dict[Root, Place] = dict(roots)
        self.limits = limits
        self._workspace = workspace
        self._opener = sources or Sources()
        self._sources: dict[Root, ImageSource] = {}
        self._storing = Lock()

    @property
    def image_roots(self) -> dict[Root, Place]:
        """All roots except uploads and the test set."""
        return {root: place for root, place in self.roots.items() if root.startswith("images")}

    @property
    def folders(self) -> dict[Root, Path]:
        """The roots on this machine: folders, and files that contain images."""
        return {root: place for root, place in self.roots.items() if isinstance(place, Path)}

    def is_far(self, located: Located) -> bool:
        """Whether the image must be read over a network, because no file on this machine contains it."""
        roots = [root for root, _ in located.files if root in self.roots]
        try:
            return bool(roots) and all(isinstance(self.roots[root], str) or self.source(root).far for root in roots)
        except ImageProblem:
            return False

    def allows(self, address: str) -> bool:
        """Whether the settings allow a page to add this address."""
        return self._opener.allows(address)

    def source(self, root: Root) -> ImageSource:
        """The source of a root. Raises ImageProblem if the place cannot be a source."""
        source = self._sources.get(root)
        if source is None or source.place != self.roots[root]:
            source = self._sources[root] = self._opener.source(self.roots[root], lambda: self._others(root))
        return source

    def listed(self, root: Root, passed: Passed | None = None) -> Iterator[Listed]:
        """All images of a root, one by one, each with its stamp if the listing has it. `passed` counts skipped files.

        Raises ImageProblem, also in the middle, if the place cannot be read.
        """
        start, own = prefix(root), self._own(root)
        found = self.source(root).listed(Passed() if passed is None else passed)
        return ((start + uri, stamp) for uri, stamp in found if own is None or not uri.startswith(own))

    def _own(self, root: Root) -> str | None:
        """The workspace as the beginning of names in this root; None if it is elsewhere."""
        place = self.roots[root]
        if self._workspace is None or not isinstance(place, Path):
            return None
        own, folder = self._workspace.resolve(), place.resolve()
        return own.relative_to(folder).as_posix() + "/" if own.is_relative_to(folder) else None

    def look_at_some(self, root: Root, listed: Iterable[Listed]) -> Iterator[Found]:
        """Like `look_at`, for a few files of a listing."""
        source = self.source(root)
        with ExitStack() as closing:
            near = closing.enter_context(source.near(self.limits)) if isinstance(source, FolderSource) else None
            for uri, stamp in listed:
                yield self.look_at(root, uri, stamp, near)

    def look_at(self, root: Root, uri: str, stamp: Stamp | None = None, near: NearFiles | None = None) -> Found:
        """Read, hash and check one file, whose stamp may be known. `reason` is its problem, if any."""
        start = prefix(root)
        read = near.read(uri.removeprefix(start)) if near is not None and uri.startswith(start) else None
        try:
            if read is not None:
                size, mtime_ns, data = read
            else:
                size, mtime_ns = stamp or self.stamp(root, uri)
                if stamp is not None:
                    check_bytes(size, self.limits)  # before anything too large is fetched
                data = self._read(root, uri)
            inspected = opening.inspect(data, self.limits)
        except (ImageAway, ImageWaits) as problem:  # no stamp, so that the next scan reads it again
            return Found(uri, 0, 0, None, str(problem), away=isinstance(problem, ImageAway))
        except ImageProblem as problem:
            return Found(uri, size, mtime_ns, None, str(problem))
        return Found(uri, size, mtime_ns, inspected)

    def look_at_named(self, root: Root, uri: str) -> Found:
        """Like `look_at`, for a file that an import or a request names. What every scan skips is refused here, too."""
        reason = self._why_skipped(root, uri.removeprefix(prefix(root)))
        return Found(uri, 0, 0, None, f"is skipped: {reason}") if reason else self.look_at(root, uri)

    def _why_skipped(self, root: Root, name: str) -> str | None:
        """Why no scan of this root lists a file of this name, whatever it contains; None if one would."""
        skipped = next((each for each in name.split("/") if finding.is_left_out(each)), None)
        if skipped is not None:
            return f"{skipped!r} is a name of hidden or system files, so rename it"
        if (own := self._own(root)) is not None and name.startswith(own):
            return "it is in the workspace, so copy it to the images"
        try:
            source = self.source(root)
        except ImageProblem:  # `look_at` reports it
            return None
        ending = PurePosixPath(name).suffix.lower()
        if isinstance(source, FolderSource) and ending in finding.NO_IMAGES:
            return f"files that end in {ending!r} are not read as images, so rename it"
        if isinstance(source, ObjectSource) and not finding.counted(name, Passed()):
            return "in a store, only names that end like those of images are read, so rename it"
        return None

    def stamp(self, root: Root, uri: str) -> Stamp:
        """Size (bytes) and modification time (ns) of a file; zeros if there is none. If either changes, the file is
        read again. Other sources have other stamps. Raises ImageAway."""
        try:
            return self.source(root).stamp(uri.removeprefix(prefix(root)))
        except ImageAway:
            raise
        except ImageProblem:
            return 0, 0

    def content(self, located: Located) -> bytes:
        """The image's bytes. Raises Missing if none of its files can be read, Gone if their content has changed, and
        Busy if its store does not answer now."""
        reason, changed, away = "it has no known file", False, ""
        for root, uri in located.files:
            if root not in self.roots:
                continue
            try:
                data = self._read(root, uri)
            except ImageProblem as problem:
                reason = f"{uri} {problem}"
                away = away or (reason if isinstance(problem, ImageAway) else "")
                continue
            if hashlib.sha256(data).hexdigest() == located.sha256:
                return data
            changed = True
        if away:
            raise Busy(f"The image {away}.")
        if changed:
            raise Gone(f"The file {located.files[0][1]} was replaced since it was read: restart to read it again.")
        raise Missing(f"The image cannot be read: {reason}.")

    def original(self, located: Located) -> bytes | BufferedReader:
        """The image's bytes, or its open file if it is larger than IN_MEMORY. Raises like `content`."""
        for root, uri in located.files:
            if not isinstance(self.roots.get(root), Path) or self.stamp(root, uri)[0] <= IN_MEMORY:
                continue
            try:
                stream = self.source(root).open(uri.removeprefix(prefix(root)))
            except ImageProblem:
                continue
            if stream is None:
                continue
            if hashlib.file_digest(stream, "sha256").hexdigest() == located.sha256:
                stream.seek(0)
                return stream
            stream.close()
        return self.content(located)

    def uri_of(self, given: str) -> tuple[Root, str]:
        """Root and URI of a path or address.

        A path is relative to the image folder, or absolute and inside a root; an address is inside a root. Raises
        ImageProblem for anything outside all roots.
        """
        if is_address(given):
            return self._at_address(given)
        text = given.removeprefix("file://")
        if not Path(text).is_absolute():
            if "images" not in self.roots:
                raise ImageProblem("cannot be found: no image folder is set")
            return self.root_of(text), text
        path = Path(os.path.normpath(text))
        for root, folder in self.folders.items():
            for base in (folder.absolute(), folder.resolve()):
                if path.is_relative_to(base):
                    return root, prefix(root) + path.relative_to(base).as_posix()
        raise ImageProblem("is outside the project's image folders")

    def root_of(self, uri: str) -> Root:
        """The root of a relative URI: the added folder whose name it begins with, else the first folder."""
        further = FURTHER + uri.partition("/")[0]
        return further if further in self.roots else "images"

    def _read(self, root: Root, uri: str) -> bytes:
        if not uri.startswith(prefix(root)):
            raise ImageProblem("no longer exists")
        return self.source(root).read(uri.removeprefix(prefix(root)), self.limits)

    def _at_address(self, given: str) -> tuple[Root, str]:
        try:
            address = checked(given)
        except AddressProblem as problem:
            raise ImageProblem(str(problem)) from None
        for root, place in self.roots.items():
            if isinstance(place, str) and is_within(address, [place]) and address != place:
                return root, prefix(root) + address.removeprefix(place).lstrip("/")
        raise ImageProblem("is an address outside the project's images: add it with `flywheel add`")

    def _others(self, root: Root) -> list[Path]:
        """The other roots, into which links may lead."""
        return [folder for name, folder in self.folders.items() if name != root and folder.is_dir()]

    def store_upload(self, data: bytes, name: str = "") -> Found:
        """Check an uploaded image and store it in the workspace.

        It keeps its `name`, including folders, so that a label file can name it. If another image has that name, the
        hash is appended; without a usable name, the hash is the name. Raises ImageProblem, and OSError if the disk
        refuses.
        """
        if not data:
            raise ImageProblem("is empty")
        if len(data) > self.limits.max_bytes:
            raise ImageProblem(f"has more than {self.limits.max_bytes:,} bytes, the limit set by max_image_bytes")
        inspected = opening.inspect(data, self.limits)
        suffix = SUFFIX_OF.get(inspected.format, ".bin")
        hashed = f"{inspected.sha256[:2]}/{inspected.sha256}{suffix}"
        given = _upload_name(name, suffix)
        with self._storing:  # two uploads must not take the same name at once
            for uri in [given, _with_hash(given, inspected.sha256), hashed] if given else [hashed]:
                if self._keep(uri, data):
                    return Found(uri, *self.stamp("uploads", uri), inspected)
        raise ImageProblem("cannot be stored in the workspace under any name")

    def _keep(self, uri: str, data: bytes) -> bool:
        """Store the upload under this name; False if another image has the name, or no file can have it."""
        path = self.folders["uploads"] / uri
        try:
            if path.is_file():
                return path.stat().st_size == len(data) and _sha256(path) == hashlib.sha256(data).digest()
            write_whole(path, data)
        except (OSError, ValueError) as error:  # the name is too long, or a file has a folder's name
            if kind_of(error) is not None:
                raise
            return False
        return True


def missing_images(catalog: Catalog, files: Files, limit: int = 1_000) -> list[Rejection]:
    """The first answered images by id whose file is no longer found, with the reason. Their answers are kept.

    Each is listed under the file in which it was last seen.
    """
    found = []
    for image_id in catalog.first_missing(limit):
        located = catalog.locate(image_id)
        _, uri = located.files[0]
        try:
            files.content(located)
        except Problem as problem:
            found.append(Rejection(uri=uri, reason=problem.detail))
        else:
            found.append(Rejection(uri=uri, reason="It is back. The next scan adds it again."))
    return found


def prefix(root: Root) -> str:
    """The prefix of a root's URIs; empty except for added folders."""
    return root.removeprefix(FURTHER) + "/" if root.startswith(FURTHER) else ""


def _upload_name(name: str, suffix: str) -> str:
    """`name` as a path below the uploads; "" if it cannot be one."""
    printable = "".join(each if each.isprintable() else "_" for each in name)
    parts = [part.strip().lstrip(".") for part in printable.replace("\\", "/").split("/")]
    path = PurePosixPath(*filter(None, parts))
    if not path.name:
        return ""
    return str(path) if path.suffix.lower() in finding.SUFFIXES else f"{path}{suffix}"


def _sha256(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _with_hash(name: str, sha256: str) -> str:
    path, mark = PurePosixPath(name), f"-{sha256[:12]}"
    ending = mark + path.suffix
    return str(path.with_name(cut(path.stem, MOST_BYTES - len(ending.encode())) + ending))
