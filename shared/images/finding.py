"""Finds and reads the image files of a folder. It knows names, links and folders, and only the first bytes of files.

A scan, an import, a test set and `flywheel predict` all walk folders here, so that they agree on what is an image file
and what is skipped. Everything not listed is counted in `Passed`, with its reason. A file with an image extension is
listed without opening it, and one with an extension that no image has is not. For any other file, the first bytes
decide; pipes and devices are never opened.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any, Self

from shared.images.opening import HEAD_BYTES, ImageLimits, ImageProblem, check_bytes, is_image


def _endings(words: str) -> frozenset[str]:
    return frozenset(f".{word}" for word in words.split())


SUFFIXES = _endings(
    "jpg jpeg jpe jfif png apng webp avif heic heif hif jp2 j2k ppm pgm pbm pnm qoi bmp dib tif tiff gif"
)
"""Extensions of images that can be read, lower case."""
_UNREAD = _endings("psd svg jxl ico tga exr dng nef cr2 cr3 arw orf rw2 raf pef srw dcm")
"""Extensions of other image formats: they are listed, so that each is reported with its reason."""
NO_IMAGES = _endings(
    "txt md csv tsv json jsonl ndjson xml yaml yml toml ini log html htm css js py ipynb sh zip tar gz tgz bz2 xz 7z "
    "rar npy npz pt pth onnx safetensors pkl h5 parquet arrow db sqlite mp4 mov avi mkv webm mp3 wav pdf doc docx xls "
    "xlsx ppt pptx xmp aae thm tmp part partial crdownload"
)
"""Extensions that no image has, lower case: these files are not opened."""
LEFT_BEHIND = frozenset(
    {"system volume information", "$recycle.bin", "#recycle", "@recycle", "#snapshot", "lost+found", "@eadir"}
    | {"__macosx", "__pycache__", "thumbs", "thumbs.db", "desktop.ini"}
)
"""Names, lower case, that archives, NAS devices and systems leave behind. Names with a leading dot are skipped too."""
SHOWN = 5  # names in a sentence


@dataclass
class Passed:
    """The files and folders that a walk skipped, by reason, with the number of occurrences of each name."""

    hidden: Counter[str] = field(default_factory=Counter)  # folders and files that are not a user's photos
    links: dict[str, list[str]] = field(default_factory=dict)  # reason why a link is not followed → names of links
    others: Counter[str] = field(default_factory=Counter)  # extensions of files that are not images
    unread: Counter[str] = field(default_factory=Counter)  # folders that cannot be read
    unusable: Counter[str] = field(default_factory=Counter)  # names in an archive or store that are not valid for files
    cut: Counter[str] = field(default_factory=Counter)  # archives without an end mark

    def add(self, other: Passed) -> None:
        """Add what another walk skipped."""
        for name, its in other.counts().items():
            getattr(self, name).update(its)

    def counts(self) -> dict[str, dict[str, int]]:
        """The counts of a walk through an archive, as plain values to store."""
        return {name: dict(getattr(self, name)) for name in ("hidden", "others", "unusable", "cut")}

    @classmethod
    def of(cls, counts: dict[str, dict[str, int]]) -> Self:
        """Restore what `counts` returned."""
        kept: dict[str, Any] = {name: Counter(its) for name, its in counts.items()}
        return cls(**kept)

    def sentences(self) -> list[str]:
        """Describe what was skipped, one sentence per reason; empty if everything was listed."""
        told = []
        if self.hidden:
            told.append(f"Skipped system files: {_named(self.hidden)}.")
        for reason, names in self.links.items():
            count = "1 link was" if len(names) == 1 else f"{len(names):,} links were"
            told.append(f"{count} not followed because {reason}: {_some(names)}.")
        if self.unread:
            told.append(f"Folders that cannot be read: {_named(self.unread)}.")
        if self.unusable:
            told.append(f"Skipped because of their names: {_named(self.unusable)}.")
        if self.cut:
            told.append(f"Without the mark that ends a tar, as if cut off; images may be missing: {_named(self.cut)}.")
        if total := self.others.total():
            count = "1 other file is not an image" if total == 1 else f"{total:,} other files are not images"
            told.append(f"{count}: {_named(self.others)}.")
        return told


def find_images(root: Path, passed: Passed | None = None, also: Collection[Path] | None = ()) -> Iterator[str]:
    """Walk the images under `root`: POSIX paths relative to it, in code point order.

    Holds the names of one folder at a time. `passed` counts what is skipped. A link is followed if it leads into `root`
    or into a folder in `also` (None: anywhere), and not to a folder that is already being walked. A name that is not
    UTF-8 is listed with its odd bytes escaped; opening it says what to do. Raises ImageProblem if `root` is not a
    readable folder.
    """
    try:
        walk = _Walk(root, Passed() if passed is None else passed, also)
        yield from walk.folder(root, "", (_identity(root),))
    except OSError as error:
        raise ImageProblem(f"is not a folder that can be read ({error.strerror})") from None


def is_left_out(name: str) -> bool:
    """Whether folders and files of this name are always skipped."""
    return name.startswith(".") or name.lower() in LEFT_BEHIND


def is_image_file(path: Path) -> bool:
    """Whether a walk would list this file by its name and content."""
    suffix = path.suffix.lower()
    return suffix in SUFFIXES or suffix in _UNREAD or (suffix not in NO_IMAGES and _begins_as_image(path))


def counted(name: str, passed: Passed) -> bool:
    """Whether the name alone says that this is an image; if not, `passed` counts it."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in SUFFIXES or suffix in _UNREAD:
        return True
    passed.others[suffix or "no extension"] += 1
    return False


def locate(uri: str, root: Path, also: Collection[Path] = ()) -> Path:
    """Real path of the file that `uri` names under `root`; a link may lead into a folder in `also`.

    Raises ImageProblem if it leads outside these, by its path or through a link, or is missing or not a file.
    """
    if _SCHEME.match(uri):
        raise ImageProblem("is a web address: only files in the image folder are read")
    relative = PurePosixPath(uri)
    if relative.is_absolute() or ".." in relative.parts:
        raise ImageProblem("is outside the image folder")
    try:  # os instead of pathlib, which takes twice as long: a scan comes here a million times
        base = os.path.realpath(root, strict=True)
        path = os.path.realpath(f"{base}/{relative}", strict=True)
        is_file = stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except FileNotFoundError:
        if _ESCAPED.search(uri):
            raise ImageProblem("has a file name that is not UTF-8: rename the file") from None
        raise ImageProblem("no longer exists") from None
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: circular links, up to Python 3.12
        raise ImageProblem(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not is_inside(path, base, also):
        raise ImageProblem("is a link that leads outside the image folder")
    if not is_file:
        raise ImageProblem("is not a file")
    return Path(path)


def is_inside(path: str, base: str, also: Collection[Path] = ()) -> bool:
    """Whether a real path is in the folder with the real path `base`, or in a folder in `also`."""
    if path == base or path.startswith(base.rstrip(os.sep) + os.sep):
        return True
    return any(Path(path).is_relative_to(each.resolve()) for each in also)


def read(uri: str, root: Path, limits: ImageLimits, also: Collection[Path] = ()) -> bytes:
    """Content of the file that `uri` names, found as in `locate`.

    Raises ImageProblem, also if it is empty or too large; OSError if too many files are open.
    """
    with opened(uri, root, also) as stream:
        try:
            check_bytes(os.fstat(stream.fileno()).st_size, limits)
            data = stream.read(limits.max_bytes + 1)  # it may grow while being read
        except OSError as error:
            raise ImageProblem(f"cannot be read ({error.strerror})") from None
    check_bytes(len(data), limits)
    return data


def opened(uri: str, root: Path, also: Collection[Path] = ()) -> BufferedReader:
    """Open the file that `uri` names, found as in `locate`. Raises ImageProblem; OSError if too many files are open."""
    path = locate(uri, root, also)
    try:
        stream = path.open("rb")
        if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            return stream
        stream.close()
    except FileNotFoundError:
        raise ImageProblem("no longer exists") from None
    except OSError as error:
        if error.errno in _NO_MORE:
            raise  # the fault is not the image's
        raise ImageProblem(f"cannot be read ({error.strerror})") from None
    raise ImageProblem("is not a file")


_NO_MORE = frozenset({errno.EMFILE, errno.ENFILE})
"""The process, or the machine, has reached its limit of open files."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_ESCAPED = re.compile(r"\\udc[89a-f][0-9a-f]")
_Identity = tuple[int, int]  # device and inode: identify a folder, whatever its path


class _Walk:
    """One walk through a root."""

    def __init__(self, root: Path, passed: Passed, also: Collection[Path] | None) -> None:
        self._passed = passed
        self._bases = None if also is None else [root.resolve(), *(each.resolve() for each in also)]
        self._followed: set[_Identity] = set()  # each folder once, or links between folders could multiply without end

    def folder(self, folder: Path, prefix: str, above: tuple[_Identity, ...]) -> Iterator[str]:
        """List one folder; `above` are the identities of this folder and its parents."""
        names: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_left_out(entry.name):
                    self._passed.hidden[entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "")] += 1
                elif entry.is_dir(follow_symlinks=False):
                    names.append(entry.name + "/")  # sorts the folder's content by its full URIs
                elif entry.is_symlink():
                    names += self._linked(entry, prefix + entry.name)
                elif self._is_image(entry):
                    names.append(entry.name)
        for name in sorted(names):
            if not name.endswith("/"):
                yield (prefix + name).encode("utf-8", "backslashreplace").decode()
                continue
            try:
                yield from self._below(folder / name[:-1], prefix + name, above)
            except OSError as error:
                if error.errno in _NO_MORE:
                    raise  # its files still exist
                self._passed.unread[prefix + name] += 1

    def _below(self, folder: Path, prefix: str, above: tuple[_Identity, ...]) -> Iterator[str]:
        identity = _identity(folder)
        if folder.is_symlink():
            if identity in above:
                self._not_followed(prefix[:-1], "it leads to one of its parent folders")
                return
            if identity in self._followed:
                self._not_followed(prefix[:-1], "another link leads there")
                return
            self._followed.add(identity)
        yield from self.folder(folder, prefix, (*above, identity))

    def _linked(self, entry: os.DirEntry[str], name: str) -> list[str]:
        """The name under which to list a link. A link to an unreadable file is listed, so that its reason is
        reported."""
        suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - once a file
        try:
            target = Path(entry.path).resolve(strict=True)
            is_folder = target.is_dir()
        except (OSError, RuntimeError) as error:  # RuntimeError: circular links, up to Python 3.12
            if suffix in SUFFIXES:
                return [entry.name]
            gone = isinstance(error, FileNotFoundError)
            return self._not_followed(
                name, "its target is missing" if gone else "it leads in a circle or cannot be read"
            )
        inside = self._bases is None or any(target.is_relative_to(base) for base in self._bases)
        if is_folder:
            return [entry.name + "/"] if inside else self._not_followed(name, "it leads outside the image folder")
        if suffix in SUFFIXES or suffix in _UNREAD:
            return [entry.name]
        if not inside:
            return self._not_followed(name, "it leads outside the image folder")
        return [entry.name] if self._is_image(entry) else []

    def _is_image(self, entry: os.DirEntry[str]) -> bool:
        suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - a million times
        if suffix in SUFFIXES or suffix in _UNREAD:
            return True
        if suffix not in NO_IMAGES and entry.is_file() and _begins_as_image(entry.path):
            return True
        self._passed.others[suffix or "no extension"] += 1
        return False

    def _not_followed(self, name: str, reason: str) -> list[str]:
        self._passed.links.setdefault(reason, []).append(name)
        return []


def _begins_as_image(path: str | Path) -> bool:
    """Check a file's first bytes, without waiting if a pipe has taken its place meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            return stat.S_ISREG(os.fstat(descriptor).st_mode) and is_image(os.read(descriptor, HEAD_BYTES))
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        return False


def _identity(folder: Path) -> _Identity:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _named(counts: Counter[str]) -> str:
    """`@eaDir/ (12), .git/ and 3 more`."""
    return _some([f"{name} ({count:,})" if count > 1 else name for name, count in counts.most_common()])


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(each.encode("utf-8", "backslashreplace").decode() for each in names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN:,} more"
