"""Unpacks a zip that was uploaded on a page: a dataset of YOLO, Pascal VOC, COCO, CVAT or class folders, with or
without photos.

Photos are stored with other uploads. In the unpacked folder each is replaced by an empty file, because the readers only
use the names. Size and number of files are limited, and no name leads out of the folder.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from labeler.images.adding import ImageAdder
from shared.images.finding import SUFFIXES
from shared.settings.services import SettingsError
from shared.storage.safe_names import plain

MOST_FILES = 200_000
MOST_BYTES = 1 << 30
"""Maximum bytes of all label files together, unpacked. Photos are read one at a time."""


@dataclass
class Unpacked:
    """`folder` has the labels. `place` is where the photos are stored, relative to the uploads."""

    folder: Path
    place: PurePosixPath
    added: int = 0
    duplicates: int = 0
    refused: list[str] = field(default_factory=list)

    def told(self) -> list[str]:
        """Sentences about the photos in the zip."""
        said = [(self.added, "photos in the zip were added"), (self.duplicates, "photos in the zip were already here")]
        sentences = [f"{count:,} {what}" for count, what in said if count]
        if self.refused:
            sentences.append(f"{len(self.refused):,} photos in the zip cannot be used: {self.refused[0]}")
        return sentences


def unpack(archive: Path, target: Path, place: PurePosixPath, adder: ImageAdder, check: Callable[[], None]) -> Unpacked:
    """Unpack into `target` and add photos below `place`. `check` is called regularly and may raise an error to stop.

    Raises SettingsError if the archive is no zip, encrypted, damaged or too large.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            return _unpack(opened, target, place, adder, check)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise SettingsError(f"{archive.name} cannot be unpacked: {error}.") from None


def _unpack(
    opened: zipfile.ZipFile, target: Path, place: PurePosixPath, adder: ImageAdder, check: Callable[[], None]
) -> Unpacked:
    members = [(each, name) for each in opened.infolist() if not each.is_dir() and (name := _name(each.filename))]
    labels = [each for each, name in members if not _is_photo(name)]
    if len(members) > MOST_FILES or sum(each.file_size for each in labels) > MOST_BYTES:
        raise SettingsError(
            f"It has more than {MOST_FILES:,} files, or more than {MOST_BYTES >> 20:,} MiB of labels: unpack it "
            "and use `flywheel import FOLDER`."
        )
    found = Unpacked(target, place)
    for each, name in members:
        check()
        path = target.joinpath(*name.parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _is_photo(name):
            with opened.open(each) as stream:
                path.write_bytes(stream.read(each.file_size))
            continue
        path.touch()
        if each.file_size > adder.most_bytes:
            found.refused.append(f"{name} is larger than max_image_bytes allows")
            continue
        with opened.open(each) as stream:
            receipt = adder.add_uploads([((place / name).as_posix(), stream.read(each.file_size))])
        found.added += receipt.added
        found.duplicates += receipt.duplicates
        found.refused += [f"{name} {each.reason}" for each in receipt.rejected]
    return _root(found)


def _root(found: Unpacked) -> Unpacked:
    """Descend through outer folders that contain only one folder."""
    inside = sorted(found.folder.iterdir()) if found.folder.is_dir() else []
    while len(inside) == 1 and inside[0].is_dir() and any(each.is_dir() for each in inside[0].iterdir()):
        found.folder, found.place = inside[0], found.place / inside[0].name
        inside = sorted(found.folder.iterdir())
    return found


def _name(name: str) -> PurePosixPath | None:
    """The name of a member below its folder. None for hidden files and the metadata of operating systems."""
    parts = [plain(part) for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    if not parts or "__MACOSX" in parts or any(part.startswith(".") for part in parts):
        return None
    return PurePosixPath(*parts)


def _is_photo(name: PurePosixPath) -> bool:
    return name.suffix.lower() in SUFFIXES
