"""A folder per split and class on this machine, with each photo as a copy, a hard link or a symbolic link.

A photo is searched for in the labeler's image folders, and counts only if its content is unchanged. The folder gets its
name when it is complete. Nothing is ever written into an existing folder.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

from commands.running.whole_outputs import whole_folder
from shared.images.finding import locate
from shared.images.opening import HEAD_BYTES, ImageLimits, ImageProblem
from shared.images.sources.addresses import Place, shown
from shared.images.sources.choosing import Sources, why_not
from shared.images.sources.source import ImageSource
from shared.settings.project_file import ProjectFile, place_of
from shared.settings.services import SettingsError

Way = Literal["copy", "hardlink", "symlink"]
LEFT_OUT = "left_out.txt"
_ANY = ImageLimits(1 << 31, 1)  # maximum bytes; pixels are not limited, because only the content is compared


@dataclass
class Written:
    """The number of photos in the folder, and the names of photos that are missing or changed."""

    count: int = 0
    left_out: list[str] = field(default_factory=list)


def way_named(name: str) -> Way:
    """The way with this name. Raises SettingsError if there is none."""
    way: Way | None = next((way for way in get_args(Way) if way == name), None)
    if way is None:
        raise SettingsError(f"--files takes {', '.join(get_args(Way))}, not {name!r}.")
    return way


Roots = Mapping[str, Sequence[Place]]
"""Beginning of a name → folders, or other places, with the photos. "" stands for all, NAME/ for an added one."""


def roots(settings: Mapping[str, Any], images: Path | None) -> Roots:
    """The folders with the photos of a labeler with these `settings`. `images` comes before its own folder."""
    workspace, test_set = Path(settings["workspace"]), settings.get("test_set")
    given = [images, settings.get("images"), workspace / "demo" / "images", workspace / "uploads"]
    if test_set:
        given += [test_set, Path(test_set).parent]  # a folder, or a table inside it
    first = {"": [found for each in given if each and why_not(found := place_of(each)) is None]}
    project = ProjectFile.read(workspace)
    further = project.further(workspace) if project is not None else {}
    return first | {f"{name}/": [place] for name, place in further.items() if why_not(place) is None}


def write(
    records: Iterable[Mapping[str, Any]], roots: Roots, target: Path, way: Way, *, for_yolo: bool = False
) -> Written:
    """Write the folder `target` from records with id, uri, sha256, split and label. Raises SettingsError."""
    from labeler.errors import Problem
    from labeler.transfer.formats import yolo  # imports the database
    from labeler.transfer.formats.imagefolder import NAMES, ExportNames

    written, photos = Written(), _Photos(roots, way)
    made: set[Path] = set()
    with whole_folder(target) as partial, yolo.names() if for_yolo else ExportNames() as names:
        for record in records:
            if isinstance(record["label"], list):
                raise SettingsError(
                    "A folder per class has no room for images of several classes: export them with --format datasets."
                )
            source = photos.find(record["uri"], record["sha256"])
            if source is None:
                written.left_out.append(record["uri"])
                continue
            try:
                ending = yolo.ending(record["uri"], source.head()) if for_yolo else ""
            except Problem as problem:
                written.left_out.append(f"{record['uri']}: {problem.detail}")
                continue
            place = partial / names.member(record["id"], record["uri"], record["split"], record["label"], ending)
            if place.parent not in made:
                _make(place.parent, record["label"])
                made.add(place.parent)
            source.put(place, way)
            written.count += 1
        if written.left_out and not written.count:
            raise SettingsError(
                f"None of the {len(written.left_out):,} photos was found unchanged: name their folder with --images."
            )
        for folder in names.empty():
            (partial / folder).mkdir(parents=True)
        if piece := next(table := names.table(), b""):
            with (partial / NAMES).open("wb") as stream:
                stream.writelines(chain([piece], table))
        if written.left_out:
            (partial / LEFT_OUT).write_text("\n".join(written.left_out) + "\n", encoding="utf-8")
    return written


class _Photos:
    """Finds photos by name and content, in folders and in other places."""

    def __init__(self, roots: Roots, way: Way) -> None:
        self._places = [(start, place) for start, places in roots.items() for place in places]
        # A link may lead into any of the folders, as in a scan.
        self._folders = [place for _, place in self._places if isinstance(place, Path) and place.is_dir()]
        self._copied = way == "copy"
        self._sources = Sources()
        self._opened: dict[Place, ImageSource] = {}

    def find(self, uri: str, sha256: str) -> _File | _Content | None:
        """The photo, if it is there unchanged. Raises SettingsError if it is no file and must be linked."""
        for start, place in self._places:
            if uri.startswith(start) and (found := self._look(uri.removeprefix(start), place, sha256)) is not None:
                return found
        return None

    def _look(self, uri: str, place: Place, sha256: str) -> _File | _Content | None:
        try:
            if isinstance(place, Path) and place.is_dir():
                path = locate(uri, place, self._folders)
                with path.open("rb") as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
                return _File(path) if digest == sha256 else None
            source = self._opened.get(place) or self._opened.setdefault(place, self._sources.source(place))
            data = source.read(uri, _ANY)
        except (ImageProblem, OSError):
            return None
        if hashlib.sha256(data).hexdigest() != sha256:
            return None
        if not self._copied:
            raise SettingsError(
                f"The photos of {shown(place)} are not files, so no link is possible: use --files copy."
            )
        return _Content(data)


@dataclass(frozen=True, slots=True)
class _File:
    """A photo in a folder."""

    path: Path

    def head(self) -> bytes:
        """Its first bytes."""
        with self.path.open("rb") as stream:
            return stream.read(HEAD_BYTES)

    def put(self, place: Path, way: Way) -> None:
        """Copy or link it."""
        _put(self.path, place, way)


@dataclass(frozen=True, slots=True)
class _Content:
    """A photo of an archive or a store."""

    data: bytes

    def head(self) -> bytes:
        """Its first bytes."""
        return self.data[:HEAD_BYTES]

    def put(self, place: Path, _way: Way) -> None:
        """Write it."""
        place.write_bytes(self.data)


def _make(folder: Path, label: str) -> None:
    folder.parent.mkdir(exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        raise SettingsError(
            f"The class {label!r} and another one would share a folder, because this file system does not distinguish "
            "their names: rename one of them."
        ) from None


def _put(source: Path, place: Path, way: Way) -> None:
    if way == "copy":
        shutil.copyfile(source, place)
    elif way == "symlink":
        place.symlink_to(source)
    else:
        try:
            place.hardlink_to(source)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                raise
            raise SettingsError(
                f"{source} cannot have a hard link at {place.parent} ({error.strerror}): both must be on one "
                "file system that supports hard links. Use --files copy or symlink."
            ) from None
