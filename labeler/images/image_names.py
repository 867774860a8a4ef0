"""Finds the image for a name: the exact match, else the only similar one (`shared.images.names`).

All imports and requests that name images use this. The index of names is built for the first name without an exact
match. It is then kept, and extended by new files.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from threading import Lock

from sqlalchemy import func, select

from labeler.images.file_registry import Root
from labeler.store.database import Store
from labeler.store.tables import FILE
from shared.images.names import NameIndex
from shared.wire.images import NamedImages

_CHUNK = 500  # values in one SQL statement
SHOWN = 3  # candidates shown


@dataclass(frozen=True, slots=True)
class Meant:
    """What a name may mean: one file, whose name differs by `difference`, or several, some of them in `candidates`."""

    difference: str
    root: Root = "images"
    uri: str = ""
    image_id: int | None = None
    candidates: tuple[str, ...] = ()
    count: int = 1

    @property
    def unclear(self) -> str:
        """Why the name is ambiguous, as the end of a sentence; "" if it is not."""
        if not self.candidates:
            return ""
        more = f" and {self.count - len(self.candidates):,} more" if self.count > len(self.candidates) else ""
        return f"may mean {', '.join(self.candidates)}{more}: give the exact path of the file"


class ImageNames:
    """Finds images by name in one workspace."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._index = NameIndex()
        self._lock = Lock()

    def find(self, names: Collection[str]) -> NamedImages:
        """The image of each name; counts inexact matches, and says which names are unknown or ambiguous."""
        found = NamedImages()
        asked, exact = list(dict.fromkeys(names)), dict[str, int]()
        statement = select(FILE.c.root, FILE.c.uri, FILE.c.image_id).where(FILE.c.image_id.is_not(None))
        with self._store.read() as connection:
            for start in range(0, len(asked), _CHUNK):
                chunk = statement.where(FILE.c.uri.in_(asked[start : start + _CHUNK]))
                for root, uri, image_id in connection.execute(chunk):
                    if root.startswith("images") or uri not in exact:
                        exact[uri] = image_id
        others = self.meant([name for name in asked if name not in exact])
        for name in asked:
            other = others.get(name)
            if name in exact:
                found.images[name] = exact[name]
            elif other is None or (other.image_id is None and not other.unclear):
                found.unclear[name] = "matches no image here"
            elif other.unclear:
                found.unclear[name] = other.unclear
            elif other.image_id is not None:
                found.images[name] = other.image_id
                found.matched[other.difference] = found.matched.get(other.difference, 0) + 1
                found.matched_as.setdefault(other.difference, (name, other.uri))
        return found

    def meant(self, names: Collection[str]) -> dict[str, Meant]:
        """The match of each name without an exact match. Names without any match are left out."""
        asked = list(names)
        if not asked:
            return {}
        with self._lock:
            self._follow()
            near = self._index.near(asked)
        files = self._files({file for some in near for file in some})
        found: dict[str, Meant] = {}
        for name, some in zip(asked, near, strict=True):
            there = {file: files[file] for file in some if file in files}
            images = {file: each for file, each in there.items() if each[2] is not None} or there
            match = self._index.match(name, {file: uri for file, (_, uri, _) in images.items()})
            if match is None:
                continue
            root, uri, image_id = images[match.files[0]]
            several = {images[file][2] if images[file][2] is not None else -file for file in match.files}
            shown = tuple(images[file][1] for file in match.files[:SHOWN]) if len(several) > 1 else ()
            found[name] = Meant(match.difference, root, uri, image_id, shown, len(match.files))
        return found

    def _follow(self) -> None:
        """Add new files to the index; rebuild it if the files added last have been removed."""
        with self._store.read() as connection:
            newest = connection.execute(select(func.coalesce(func.max(FILE.c.id), 0))).scalar_one()
            if newest < self._index.last:
                self._index = NameIndex()
            if newest > self._index.last:
                statement = select(FILE.c.id, FILE.c.uri).where(FILE.c.id > self._index.last).order_by(FILE.c.id)
                rows = connection.execution_options(yield_per=5_000).execute(statement)
                self._index.extend((file, uri) for file, uri in rows)

    def _files(self, ids: Collection[int]) -> dict[int, tuple[Root, str, int | None]]:
        wanted = list(ids)
        found: dict[int, tuple[Root, str, int | None]] = {}
        statement = select(FILE.c.id, FILE.c.root, FILE.c.uri, FILE.c.image_id)
        with self._store.read() as connection:
            for start in range(0, len(wanted), _CHUNK):
                chunk = statement.where(FILE.c.id.in_(wanted[start : start + _CHUNK]))
                found |= {file: (root, uri, image) for file, root, uri, image in connection.execute(chunk)}
        return found
