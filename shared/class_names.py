"""Decides when two spellings name one class, and which class a misspelled name may mean.

Two names are the same class if they differ only in capital letters, in outer spaces, or in how Unicode composes an
accent: "Coat", "coat " and "COAT" are one. The pages, the API, imports, merges, settings and the Python client all
follow this rule. An older project may have two such classes; each is then found by its exact name.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

MOST = 100  # characters of a name
LIKENESS = 0.6  # minimum similarity of a suggested name
PROPOSED = 3  # maximum number of suggestions
T = TypeVar("T")


def key(name: str) -> str:
    """What all spellings of one name have in common."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name.strip()).casefold())


def checked(name: T) -> T:
    """The name, if it is not too long. Raises ValueError with the reason. Other values are checked elsewhere."""
    if isinstance(name, str) and len(name) > MOST:
        raise ValueError(f"a class name has at most {MOST} characters, and this one has {len(name):,}")
    return name


def near(name: str, known: Iterable[str]) -> list[str]:
    """Existing names of which `name` may be a misspelling, best match first."""
    return _near(name, tuple(known))


@lru_cache(maxsize=1_000)  # thousands of rows may share a misspelling
def _near(name: str, known: tuple[str, ...]) -> list[str]:
    by_key = {key(each): each for each in known}
    return [by_key[each] for each in difflib.get_close_matches(key(name), by_key, PROPOSED, LIKENESS)]


def meant(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that suggests the intended name; empty if nothing is similar."""
    found = near(name, known)
    return f", or did you mean {' or '.join(map(repr, found))}?" if found else ""


def lacking(wanted: Iterable[str], classes: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names that no class has, one spelling of each; `classes` as returned by `GET /api/project`."""
    known = {key(name) for each in classes for name in (each["name"], *each["aliases"])}
    spellings = Spellings()
    return [name for name in dict.fromkeys(map(spellings.of, wanted)) if key(name) not in known]


class Spellings:
    """Maps each name to its first spelling. `taken` maps every other spelling to the first one."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self.taken: dict[str, str] = {}

    def of(self, name: str) -> str:
        """The first spelling of `name`."""
        first = self._first.setdefault(key(name), name)
        if first != name:
            self.taken[name] = first
        return first
