"""Reads class folders: determines which folder level is the class, and which one is the split, if any.

The layouts are `train/cat/1.jpg`, `cat/1.jpg` and `cat/train/1.jpg`, each possibly inside one more folder, because many
archives unpack into one. Folder names and contents decide; a user can give another layout as `split/class`, `class`,
`*/class` and so on. Sentences report how the folder was read, and every photo and folder without a label.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from labeler.transfer.formats.imagefolder import NO_CLASS, classes_in, label_of
from labeler.transfer.rows.imported import SPLITS, Read, unfit
from shared.figures import many
from shared.images.finding import Passed, find_images, is_image_file, is_left_out
from shared.settings.services import SettingsError
from shared.wire.fields import Split
from shared.wire.imports import ImportIssue, ImportRow

_SPLIT = re.compile(rf"({'|'.join(SPLITS)})([-_ ]?(set|split|data|images|imgs|20\d\d))?", re.IGNORECASE)
_DEEPEST = 3  # maximum depth of folders that are searched
_SHOWN = 5
_TOP = "the folder itself"
_EXAMPLE = {"class": "shirt", "split": "train", "*": "photos"}


@dataclass
class FolderLabels:
    """The labels given by the folders in `folder`. `layout`, such as split/class, names the levels; "" detects them.

    Raises SettingsError for an invalid layout, and for folders that are datasets of their own.
    """

    folder: Path
    layout: str = ""
    _reason: str = ""
    _without: Counter[str] = field(default_factory=Counter)  # folder → photos without a label
    _passed: Passed = field(default_factory=Passed)

    def __post_init__(self) -> None:
        self._classes = classes_in(self.folder)  # folder name → class, in an export
        self._parts = _parts_of(self.layout) if self.layout else self._found()

    def rows(self) -> Iterator[Read]:
        """A row for each image in a class folder; `line` counts images. Broken links come last, as issues."""
        self._without, self._passed = Counter(), Passed()
        number = 0
        for number, uri in enumerate(find_images(self.folder, self._passed, None), start=1):
            folders = uri.split("/")[:-1]
            label, split = self._said(folders)
            if label is None:
                self._without["/".join(folders[: len(self._parts)]) or _TOP] += 1
                continue
            try:
                yield ImportRow(line=number, uri=uri, label=self._classes.get(label) or label_of(label), split=split)
            except ValidationError as error:
                yield ImportIssue(line=number, uri=uri, reason=unfit(error)[1])
        broken = [(name, f"is a link that is not followed because {why}") for why, name in self._broken()]
        broken += [(name, "is a folder that cannot be read") for name in self._passed.unread]
        for line, (name, reason) in enumerate(broken, start=number + 1):
            yield ImportIssue(line=line, uri=name, reason=reason)

    def needed(self) -> str:
        """After `rows`: why no photo has a label, and what to do about it, in one sentence."""
        found = f"{many(self._without.total(), 'photo')} but no labels" if self._without else "no photos"
        levels = "/".join(_EXAMPLE[part] for part in self._parts)
        return (
            f"{self.folder} contains {found}: put the photos into one folder per class, such as "
            f"{self.folder / levels / '1.jpg'}, or name a table with the columns image,label, such as labels.csv."
        )

    def told(self) -> list[str]:
        """How the folder is read and, after reading, what was skipped."""
        told = [self._reason] if self._reason else []
        if self._without:
            named = [f"{name} ({count:,})" for name, count in self._without.most_common(_SHOWN)]
            named += [f"{len(self._without) - _SHOWN:,} more folders"] if len(self._without) > _SHOWN else []
            told.append(f"{many(self._without.total(), 'photo')} in no class folder got no label: {', '.join(named)}.")
        return [*told, *self._passed.sentences()]

    def _broken(self) -> Iterator[tuple[str, str]]:
        for why, names in self._passed.links.items():
            if "another link" not in why:  # the other link's target is read
                yield from ((why, name) for name in names)

    def _said(self, folders: list[str]) -> tuple[str | None, Split | None]:
        """Class and split of an image in these folders; no class if they do not fit the layout."""
        if len(folders) < len(self._parts):
            return None, None
        label: str | None = None
        split: Split | None = None
        for name, part in zip(folders, self._parts, strict=False):
            if part == "class":
                label = None if name.lower() in NO_CLASS else name
            elif part == "split" and (split := split_of(name)) is None:
                return None, None
        return label, split

    def _found(self) -> list[str]:
        """The meaning of each folder level: `split`, `class`, or `*` for one folder around everything."""
        top, around = self.folder, list[str]()
        while len(around) < _DEEPEST and not _holds_images(top):
            inside = _folders(top)
            if len(inside) != 1 or split_of(inside[0].name) or _holds_images(inside[0]):
                break
            top = inside[0]
            around.append(top.name)
        above = ["*"] * len(around)
        inside = _folders(top)
        splits = [each for each in inside if split_of(each.name)]
        others = [each.name for each in inside if each not in splits and _holds_images(each)]
        classes = [each for split in splits if not _holds_images(split) for each in _folders(split)]
        start = "*/" * len(above)
        if classes and (len(splits) > 1 or not others or len(classes) > 1):
            names = _listed([each.name for each in splits])
            self._reason = f"The folders {names} are read as splits, and the folders in them as classes."
            if others:
                self._reason += f" Photos are also in {_listed(others)}: to read all of these as classes, "
                self._reason += f"give the layout {start}class."
            return [*above, "split", "class"]
        whole = next((each for each in inside if _is_dataset(each)), None)
        if whole is not None:
            raise SettingsError(
                f"{whole} has folders of splits and in them folders of classes, so it is a dataset of its own and not "
                "a folder of a class: import it by itself, or give the layout class to read every folder as a class."
            )
        if inside and all(_is_class_of_splits(each) for each in inside):
            example = f"{inside[0].name}/{_folders(inside[0])[0].name}"
            self._reason = f"The folders in each class are read as splits, such as {example}."
            self._reason += f" To ignore the splits, give the layout {start}class."
            return [*above, "class", "split"]
        if splits:
            self._reason = f"Every folder is a class, even {_listed([each.name for each in splits])}. To read such "
            self._reason += f"names as splits, give the layout {start}split/class."
        elif above:
            self._reason = f"Everything is in the folder {'/'.join(around)}, whose folders are classes. To read "
            self._reason += "the first folder as the class, give the layout class."
        return [*above, "class"]


def split_of(name: str) -> Split | None:
    """The split that a folder name stands for (train, val, valid, test and so on), ignoring case."""
    found = _SPLIT.fullmatch(name.strip())
    return None if found is None else SPLITS[found[1].lower()]


def _parts_of(layout: str) -> list[str]:
    parts = [part.strip().lower() for part in layout.strip("/").split("/")]
    if parts.count("class") != 1 or parts.count("split") > 1 or set(parts) - {"class", "split", "*"}:
        raise SettingsError(f"A layout is one of class, split/class, class/split or */class, not {layout!r}.")
    return parts


def _is_class_of_splits(folder: Path) -> bool:
    inside = _folders(folder)
    return bool(inside) and all(split_of(each.name) for each in inside) and not _holds_images(folder)


def _is_dataset(folder: Path) -> bool:
    """Whether all its folders are splits that hold folders of photos: somebody unpacked an export beside photos."""
    return _is_class_of_splits(folder) and not any(map(_holds_images, _folders(folder)))


def _folders(folder: Path) -> list[Path]:
    """The subfolders that contain an image at any depth."""
    try:
        inside = sorted(each for each in folder.iterdir() if not is_left_out(each.name) and each.is_dir())
    except OSError:
        return []
    return [each for each in inside if _holds_images(each, below=_DEEPEST + 2)]


def _holds_images(folder: Path, below: int = 0) -> bool:
    """Whether the folder, or a subfolder down to depth `below`, contains an image."""
    inside: list[Path] = []
    try:
        for each in folder.iterdir():
            if is_left_out(each.name):
                continue
            if each.is_dir():
                inside.append(each)
            elif each.is_file() and is_image_file(each):
                return True
    except OSError:
        return False
    return below > 0 and any(_holds_images(each, below - 1) for each in inside)


def _listed(names: list[str]) -> str:
    shown = names[:_SHOWN]
    return ", ".join(shown) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")
