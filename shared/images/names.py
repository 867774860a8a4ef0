"""Finds the image for a name that is spelled differently from the file's name.

Tables, exports and scripts often name the files of another system: accents composed differently, `\\` for `/`, `%20` or
`+` for a space, a leading space, other capital letters, other parent folders, another extension or none. An exact name
always wins. Otherwise the smallest of these differences that leads to a file counts, but only if it leads to a single
image. The result names the difference. If the folders differ, the file name alone counts only if the project has no
folder of the given name. If it has one, the file is simply missing there.

The index holds 16 bytes per file; only the few candidates that it finds are compared as text.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, unquote_plus

if TYPE_CHECKING:
    import numpy as np

DIFFERENCES: Final = (
    "Unicode form",
    "separators",
    "URL encoding",
    "white space",
    "capital letters",
    "leading folders",
    "folders",
    "endings",
    "folders and endings",
)
"""What a match ignores, smallest difference first; the position is its level."""
_FOLDER, _ALONE, _ENDING, _ENDING_ALONE = 5, 6, 7, 8
_ENDINGS: Final = re.compile(r"\.(jpe?g|jpe|jfif|png|webp|bmp|tiff?|gif|avif|heic|heif|ppm|pgm|pbm|jp2|dcm|npy|svg)$")
_SPLITS: Final = {
    word: split
    for split, words in {
        "train": ("train", "training"),
        "validation": ("val", "valid", "validation", "dev"),
        "test": ("test", "testing"),
    }.items()
    for word in words
}
_MOST_FOLDERS: Final = 100_000  # with more folders, every folder name counts as known
_DRIVE: Final = re.compile(r"^[A-Za-z]:(?=/)")


@dataclass(frozen=True, slots=True)
class Match:
    """The files that a name may mean, by number, and how their names differ. It is a match if there is one file."""

    difference: str
    files: tuple[int, ...]


class NameIndex:
    """The files of a project by the loosest form of their names; the caller numbers them."""

    def __init__(self, names: Iterable[tuple[int, str]] = ()) -> None:
        import numpy as np  # commands that only read a disk do not need it

        self._keys: np.ndarray = np.empty(0, np.int64)
        self._files: np.ndarray = np.empty(0, np.int64)
        self._folders: set[int] = set()
        self.last = 0
        self.extend(names)

    def extend(self, names: Iterable[tuple[int, str]]) -> None:
        """Add more files, with rising numbers."""
        import numpy as np

        keys, files = array("q"), array("q")
        for file, name in names:
            self.last = max(self.last, file)
            for text in (name, unquote(name)) if "%" in name else (name,):
                folder, _, last = _plain(text).rpartition("/")
                keys.append(hash(_stem(last)))
                files.append(file)
                if len(self._folders) < _MOST_FOLDERS:
                    self._folders.add(hash(folder.rpartition("/")[2]))
        if keys:
            all_keys = np.concatenate([self._keys, np.frombuffer(keys, np.int64)])
            all_files = np.concatenate([self._files, np.frombuffer(files, np.int64)])
            order = np.argsort(all_keys, kind="stable")
            self._keys, self._files = all_keys[order], all_files[order]

    def near(self, names: Sequence[str]) -> list[list[int]]:
        """The candidate files for each of these names, by number."""
        import numpy as np

        wanted = [list({hash(key) for form in _decoded(name) for key in _stems(form)}) for name in names]
        flat = np.array([key for keys in wanted for key in keys], np.int64)
        starts, ends = np.searchsorted(self._keys, flat, "left"), np.searchsorted(self._keys, flat, "right")
        found: list[list[int]] = []
        at = 0
        for keys in wanted:
            spans = zip(starts[at : at + len(keys)], ends[at : at + len(keys)], strict=True)
            found.append(list(dict.fromkeys(int(file) for start, end in spans for file in self._files[start:end])))
            at += len(keys)
        return found

    def match(self, name: str, near: Mapping[int, str]) -> Match | None:
        """The file among `near` (number → file name) that a name refers to, or None."""
        best: tuple[tuple[int, int], list[int]] | None = None
        forms = [form.split("/") for form in _decoded(name)]
        for file, called in near.items():
            level = self._level(name, forms, called)
            if level is not None and (best is None or level < best[0]):
                best = level, [file]
            elif level is not None and best is not None and level == best[0]:
                best[1].append(file)
        return None if best is None else Match(DIFFERENCES[best[0][0]], tuple(best[1]))

    def _level(self, name: str, forms: Sequence[list[str]], called: str) -> tuple[int, int] | None:
        """How the names differ; among equal levels, more common folders sort first."""
        for level, (given, there) in enumerate(zip(_reduced(name), _reduced(called), strict=True)):
            if not given.isdisjoint(there):
                return level, 0
        others = [form.split("/") for form in _decoded(called)]
        found = (self._by_folder(form, other) for form in forms for other in others)
        return min(filter(None, found), default=None)

    def _by_folder(self, given: list[str], there: list[str]) -> tuple[int, int] | None:
        same = given[-1] == there[-1]
        if not same and not ({given[-1], _stem(given[-1])} & {_stem(there[-1])}):
            return None
        pairs = zip(given[-2::-1], there[-2::-1], strict=False)
        common = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(given), len(there)) - 1)
        if common == min(len(given), len(there)) - 1:
            return (_FOLDER if same else _ENDING), -common
        if hash(given[-2]) in self._folders or len(self._folders) >= _MOST_FOLDERS:
            return None
        splits = [{_SPLITS[part] for part in parts[:-1] if part in _SPLITS} for parts in (given, there)]
        if all(splits) and splits[0] != splits[1]:
            return None
        return (_ALONE if same else _ENDING_ALONE), -common


class NamesInList:
    """The names of a list, in memory: for a folder or a file of embeddings, where there is no catalogue."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._exact = {name: at for at, name in enumerate(names)}
        self._index: NameIndex | None = None  # created when a name has no exact match

    def find(self, name: str) -> tuple[str | None, list[int]]:
        """The difference (None for an exact match, or for no match), and the positions in the list that the name may
        mean."""
        if name in self._exact:
            return None, [self._exact[name]]
        if self._index is None:
            self._index = NameIndex(enumerate(self._names))
        found = self._index.match(name, {at: self._names[at] for at in self._index.near([name])[0]})
        return (None, []) if found is None else (found.difference, list(found.files))


def spellings(name: str) -> Iterator[tuple[str, str]]:
    """Other spellings of a path, each with its difference, most likely first, to find a file on disk."""
    seen = {name}
    for composed in ("NFC", "NFD"):
        for difference, text in (
            (DIFFERENCES[0], name),
            (DIFFERENCES[1], name.replace("\\", "/")),
            (DIFFERENCES[2], unquote(name).replace("\\", "/")),
            (DIFFERENCES[2], unquote_plus(name).replace("\\", "/")),
            (DIFFERENCES[3], "/".join(part.strip() for part in unquote(name).replace("\\", "/").split("/"))),
        ):
            other = unicodedata.normalize(composed, text)
            if other not in seen and other:
                seen.add(other)
                yield difference, other


def same_path(name: str) -> str:
    """A key shared by all spellings of a path that differ only in Unicode form and separators."""
    return _slashed(unicodedata.normalize("NFC", name))


def _reduced(name: str) -> Iterator[frozenset[str]]:
    """Remove one difference after the other from the name; URL decoding may give several forms."""
    text = unicodedata.normalize("NFC", name)
    yield frozenset((text,))
    text = _slashed(text)
    yield frozenset((text,))
    forms = frozenset((text,)) if text.isascii() and "%" not in text and "+" not in text else _urls(text)
    yield forms
    stripped = frozenset(_stripped(form) for form in forms)
    yield stripped
    yield frozenset(_folded(form) for form in stripped)


def _urls(text: str) -> frozenset[str]:
    decoded = (text, unquote(text), unquote_plus(text))
    return frozenset(_slashed(unicodedata.normalize("NFC", each)) for each in decoded)


def _decoded(name: str) -> set[str]:
    """The loosest forms of a path, including its folders."""
    if "%" not in name and "+" not in name:
        return {_plain(name)}
    return {_plain(name), _plain(unquote(name)), _plain(unquote_plus(name))}


def _plain(name: str) -> str:
    return _folded(_stripped(_slashed(unicodedata.normalize("NFC", name))))


def _slashed(text: str) -> str:
    if "\\" in text:
        text = text.replace("\\", "/")
    if "/" not in text:
        return text
    text = _DRIVE.sub("", text)
    return "/".join(part for part in text.split("/") if part not in ("", "."))


def _stripped(text: str) -> str:
    return text.strip() if "/" not in text else "/".join(part.strip() for part in text.split("/"))


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text.casefold())


def _stem(last: str) -> str:
    return _ENDINGS.sub("", last)


def _stems(path: str) -> tuple[str, str]:
    """The last part of the path, with and without a possible extension."""
    last = path.rpartition("/")[2]
    return last, _stem(last)
