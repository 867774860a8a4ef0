"""Paths that a person gives as arguments: what is wrong with one is said before a command does anything.

Each function is the `parser` of an argument or option, and stands for what must be there. An empty argument is refused
for all commands at once, whatever it means there.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.core import TyperGroup

from shared.settings.project_file import place_of
from shared.settings.services import SettingsError

SERVICES, OF_SERVICES = ("labeler", "trainer"), ("--workspace", "--config")
"""Commands that pass on all settings. Only these options of theirs may not be empty."""
MAY_BE_EMPTY = ("--include",)
"""Options of which an empty value adds nothing."""


class ArgumentProblem(Exception):  # noqa: N818 - not a ValueError, which typer would answer in its own words
    """What is wrong with an argument, and what to do: one sentence for a person. Callers see a SettingsError."""


class Commands(TyperGroup):
    """All commands. An empty argument is refused: an unset variable of a shell is neither the current folder nor a
    choice."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See click. Raises SettingsError."""
        _refuse_empty(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """See click. Raises SettingsError."""
        try:
            return super().invoke(ctx)
        except ArgumentProblem as problem:
            raise SettingsError(str(problem)) from None


def _refuse_empty(args: Sequence[str]) -> None:
    for at, word in enumerate(args):
        before = args[at - 1] if at else ""
        option, equals, value = word.partition("=")
        if args[0] in SERVICES and before not in OF_SERVICES and option not in OF_SERVICES:
            continue
        if equals and option.startswith("--") and not value.strip() and option not in MAY_BE_EMPTY:
            raise SettingsError(f"{option} is empty: give it a value, or leave it out.")
        if not word.strip() and before not in MAY_BE_EMPTY:
            where = before if before.startswith("-") else shlex.join(["flywheel", *args[:at]])
            raise SettingsError(f"The argument after `{where}` is empty: give it a value, or leave it out.")


def path(text: str) -> Path:
    """A file or folder that may be there or not."""
    _mode(Path(text))
    return Path(text)


def path_or_address(text: str) -> str:
    """A place with images that may be missing, such as a folder on a disk that is not plugged in."""
    if "://" not in text:
        path(text)
    return text


def images_at(text: str) -> str:
    """A place with images that can be read now."""
    from shared.images.sources.choosing import why_not  # late, because a --help opens no image

    try:
        place = place_of(text)
    except SettingsError as error:
        raise ArgumentProblem(str(error)) from None
    path_or_address(text)
    why = why_not(place)
    if why is not None and isinstance(place, Path) and _mode(place) is None:
        raise ArgumentProblem(f"There is no file or folder {text}: check its name.")
    if why is not None:
        raise ArgumentProblem(f"{text} cannot be read as a place with images: {why}.")
    return text


def file(text: str) -> Path:
    """A file that can be read."""
    given = Path(text)
    mode = _mode(given)
    if mode is None:
        raise ArgumentProblem(f"There is no file {given}: check its name.")
    if stat.S_ISDIR(mode):
        raise ArgumentProblem(f"{given} is a folder: name a file.")
    return _readable(given)


def folder(text: str) -> Path:
    """A folder that can be read."""
    given = Path(text)
    mode = _mode(given)
    if mode is None:
        raise ArgumentProblem(f"There is no folder {given}: check its name.")
    if not stat.S_ISDIR(mode):
        raise ArgumentProblem(f"{given} is a file: name a folder.")
    return _readable(given)


def file_or_folder(text: str) -> Path:
    """A file or folder that can be read."""
    given = Path(text)
    if _mode(given) is None:
        raise ArgumentProblem(f"There is no file or folder {given}: check its name.")
    return _readable(given)


def new_file(text: str) -> Path:
    """A file that can be written; an older one is replaced."""
    return _no_folder(text, "is a folder: name a file to write")


def new_file_or_folder(text: str) -> Path:
    """A file that can be written, or a folder that does not exist yet."""
    return _no_folder(text, "already exists as a folder: name a file or a new folder")


def _no_folder(text: str, refusal: str) -> Path:
    given = Path(text)
    mode = _mode(given)
    if mode is not None and stat.S_ISDIR(mode):
        raise ArgumentProblem(f"{given} {refusal}.")
    _can_hold(given, given.parent)
    return given


def new_folder(text: str) -> Path:
    """A folder that does not exist yet; the folders that it is in are created with it."""
    given = Path(text)
    if _mode(given) is not None or given.is_symlink():
        raise ArgumentProblem(f"{given} already exists: name a new folder.")
    _can_hold(given, next(each for each in given.absolute().parents if _mode(each) is not None))
    return given


def _can_hold(given: Path, parent: Path) -> None:
    mode = _mode(parent)
    if mode is None:
        raise ArgumentProblem(f"{given} cannot be written: create the folder {parent} first.")
    if not stat.S_ISDIR(mode):
        raise ArgumentProblem(f"{given} cannot be written: {parent} is a file, so name another place.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ArgumentProblem(f"{given} cannot be written: you may not write in {parent.absolute()}.")


def _mode(given: Path) -> int | None:
    """What is there; None if nothing is. Raises ArgumentProblem if that cannot be known."""
    try:
        return given.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # too long a name, a circle of links, a folder that may not be entered
        raise ArgumentProblem(f"{given} cannot be read ({error.strerror}): name another path.") from None


def _readable(given: Path) -> Path:
    if not os.access(given, os.R_OK):
        raise ArgumentProblem(f"{given} cannot be read: you have no permission to read it.")
    return given
