"""Find and read the image files of a folder. Knows names, links and folders; of pixels only how a file begins.

Everything that looks for images in a folder walks it here, so that a scan, an import, a test set and `flywheel predict`
agree on what an image file is and on what is left out. Whatever is not listed is counted in `Passed`, with its reason.
A file whose name ends as an image's does is listed without opening it, one whose name ends as surely no image's does is
not, and of any other its first bytes say; a pipe or a device is never opened.
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

from shared.images.opening import HEAD_BYTES, ImageLimits, ImageProblem, check_bytes, is_image


def _endings(words: str) -> frozenset[str]:
    return frozenset(f".{word}" for word in words.split())


SUFFIXES = _endings(
    "jpg jpeg jpe jfif png apng webp avif heic heif hif jp2 j2k ppm pgm pbm pnm qoi bmp dib tif tiff gif"
)
"""Endings of images that can be read, lower case."""
_UNREAD = _endings("psd svg jxl ico tga exr dng nef cr2 cr3 arw orf rw2 raf pef srw dcm")
"""Endings of other images: they are listed, so that each is told with its reason."""
NO_IMAGES = _endings(
    "txt md csv tsv json jsonl ndjson xml yaml yml toml ini log html htm css js py ipynb sh zip tar gz tgz bz2 xz 7z "
    "rar npy npz pt pth onnx safetensors pkl h5 parquet arrow db sqlite mp4 mov avi mkv webm mp3 wav pdf doc docx xls "
    "xlsx ppt pptx xmp aae thm tmp part partial crdownload"
)
"""Endings of files that surely are no images, lower case: they are not looked into."""
LEFT_BEHIND = frozenset(
    {"system volume information", "$recycle.bin", "#recycle", "@recycle", "#snapshot", "lost+found", "@eadir"}
    | {"__macosx", "__pycache__", "thumbs", "thumbs.db", "desktop.ini"}
)
"""Names, lower case, that archives, storage boxes and systems leave behind. What begins with a dot is left out too."""
SHOWN = 5  # names in a sentence


@dataclass
class Passed:
    """What a walk did not list, by reason: how often each name came."""

    hidden: Counter[str] = field(default_factory=Counter)  # folders and files that nobody put there as photos
    links: dict[str, list[str]] = field(default_factory=dict)  # why a link is not followed → which
    others: Counter[str] = field(default_factory=Counter)  # endings of files that are no images
    unread: Counter[str] = field(default_factory=Counter)  # folders that cannot be read

    def sentences(self) -> list[str]:
        """What was left out, in words; nothing where all was listed."""
        told = []
        if self.hidden:
            told.append(f"Left out, as no photos: {_named(self.hidden)}.")
        for reason, names in self.links.items():
            count = "1 link was" if len(names) == 1 else f"{len(names):,} links were"
            told.append(f"{count} not followed, as {reason}: {_some(names)}.")
        if self.unread:
            told.append(f"Folders that cannot be read: {_named(self.unread)}.")
        if total := self.others.total():
            count = "1 other file is no image" if total == 1 else f"{total:,} other files are no images"
            told.append(f"{count}: {_named(self.others)}.")
        return told


def find_images(root: Path, passed: Passed | None = None, also: Collection[Path] | None = ()) -> Iterator[str]:
    """Walk the images under `root`: POSIX paths relative to it, in code point order.

    Holds one folder's names at a time. What is left out goes into `passed`. A link is followed where it leads into
    `root` or one of the folders `also` (None: wherever it leads), and to a folder that is not being walked already. A
    name that is not UTF-8 is listed with its odd bytes escaped; opening it says what to do. Raises ImageProblem when
    `root` is not a folder that can be read.
    """
    try:
        walk = _Walk(root, Passed() if passed is None else passed, also)
        yield from walk.folder(root, "", (_identity(root),))
    except OSError as error:
        raise ImageProblem(f"is not a folder that can be read ({error.strerror})") from None


def is_left_out(name: str) -> bool:
    """Whether a folder or file of this name is left out wherever it lies."""
    return name.startswith(".") or name.lower() in LEFT_BEHIND


def is_image_file(path: Path) -> bool:
    """Whether a walk would list this file by its name and content."""
    suffix = path.suffix.lower()
    return suffix in SUFFIXES or suffix in _UNREAD or (suffix not in NO_IMAGES and _begins_as_image(path))


def locate(uri: str, root: Path, also: Collection[Path] = ()) -> Path:
    """Real path of the file that `uri` names under `root`; a link may lead into a folder of `also`.

    Raises ImageProblem when it leads out of these, by its text or over a link, is not there, or is not a file.
    """
    if _SCHEME.match(uri):
        raise ImageProblem("has an address of another kind: only files in the image folder are read")
    relative = PurePosixPath(uri)
    if relative.is_absolute() or ".." in relative.parts:
        raise ImageProblem("lies outside the image folder")
    try:
        base = root.resolve(strict=True)
        path = (base / relative).resolve(strict=True)
        is_file = path.is_file()
    except FileNotFoundError:
        if _ESCAPED.search(uri):
            raise ImageProblem("has a file name that is not UTF-8: rename the file") from None
        raise ImageProblem("is not there any more") from None
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links, up to Python 3.12
        raise ImageProblem(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not path.is_relative_to(base) and not any(path.is_relative_to(each.resolve()) for each in also):
        raise ImageProblem("is a link that leads out of the image folder")
    if not is_file:
        raise ImageProblem("is not a file")
    return path


def read(uri: str, root: Path, limits: ImageLimits, also: Collection[Path] = ()) -> bytes:
    """Content of the file that `uri` names as `locate` finds it.

    Raises ImageProblem, also when it is empty or too large; OSError when no more files can be opened.
    """
    with opened(uri, root, also) as stream:
        try:
            check_bytes(os.fstat(stream.fileno()).st_size, limits)
            data = stream.read(limits.max_bytes + 1)  # it may grow while it is read
        except OSError as error:
            raise ImageProblem(f"cannot be read ({error.strerror})") from None
    check_bytes(len(data), limits)
    return data


def opened(uri: str, root: Path, also: Collection[Path] = ()) -> BufferedReader:
    """The file that `uri` names as `locate` finds it, open. Raises ImageProblem."""
    path = locate(uri, root, also)
    try:
        stream = path.open("rb")
        if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            return stream
        stream.close()
    except FileNotFoundError:
        raise ImageProblem("is not there any more") from None
    except OSError as error:
        if error.errno in _NO_MORE:
            raise  # it says nothing of the image
        raise ImageProblem(f"cannot be read ({error.strerror})") from None
    raise ImageProblem("is not a file")


_NO_MORE = frozenset({errno.EMFILE, errno.ENFILE})
"""The process, or the machine, has as many files open as it may."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_ESCAPED = re.compile(r"\\udc[89a-f][0-9a-f]")
_Identity = tuple[int, int]  # device and inode: a folder, by whatever path


class _Walk:
    """One walk through a root."""

    def __init__(self, root: Path, passed: Passed, also: Collection[Path] | None) -> None:
        self._passed = passed
        self._bases = None if also is None else [root.resolve(), *(each.resolve() for each in also)]
        self._followed: set[_Identity] = set()  # each folder once: links between folders could multiply without end

    def folder(self, folder: Path, prefix: str, above: tuple[_Identity, ...]) -> Iterator[str]:
        """What lies in one folder; `above` are itself and those that it lies in."""
        names: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_left_out(entry.name):
                    self._passed.hidden[entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "")] += 1
                elif entry.is_dir(follow_symlinks=False):
                    names.append(entry.name + "/")  # sorts the folder's content where its URIs belong
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
                    raise  # what it holds is not gone
                self._passed.unread[prefix + name] += 1

    def _below(self, folder: Path, prefix: str, above: tuple[_Identity, ...]) -> Iterator[str]:
        identity = _identity(folder)
        if folder.is_symlink():
            if identity in above:
                self._not_followed(prefix[:-1], "it leads to a folder that it lies in")
                return
            if identity in self._followed:
                self._not_followed(prefix[:-1], "another link leads there")
                return
            self._followed.add(identity)
        yield from self.folder(folder, prefix, (*above, identity))

    def _linked(self, entry: os.DirEntry[str], name: str) -> list[str]:
        """The name under which a link is listed. One to a file that cannot be read is, to be told with its reason."""
        suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - once a file
        try:
            target = Path(entry.path).resolve(strict=True)
            is_folder = target.is_dir()
        except (OSError, RuntimeError) as error:  # RuntimeError: in a circle, up to Python 3.12
            if suffix in SUFFIXES:
                return [entry.name]
            gone = isinstance(error, FileNotFoundError)
            return self._not_followed(name, "nothing is there" if gone else "it leads in a circle or cannot be read")
        inside = self._bases is None or any(target.is_relative_to(base) for base in self._bases)
        if is_folder:
            return [entry.name + "/"] if inside else self._not_followed(name, "it leads out of the image folder")
        if suffix in SUFFIXES or suffix in _UNREAD:
            return [entry.name]
        if not inside:
            return self._not_followed(name, "it leads out of the image folder")
        return [entry.name] if self._is_image(entry) else []

    def _is_image(self, entry: os.DirEntry[str]) -> bool:
        suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - a million times
        if suffix in SUFFIXES or suffix in _UNREAD:
            return True
        if suffix not in NO_IMAGES and entry.is_file() and _begins_as_image(entry.path):
            return True
        self._passed.others[suffix or "no ending"] += 1
        return False

    def _not_followed(self, name: str, reason: str) -> list[str]:
        self._passed.links.setdefault(reason, []).append(name)
        return []


def _begins_as_image(path: str | Path) -> bool:
    """What a file's first bytes say. A pipe that took its place meanwhile is not waited for."""
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
