"""Finds the uploaded image for a name in a label file, by the name under which the image was uploaded."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select

from labeler.store.database import Store
from labeler.store.tables import FILE


class Uploads:
    """The uploaded images of one workspace, by name."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def meant(self, uris: Collection[str]) -> dict[str, list[str]]:
        """The uploads that match each URI: the one with exactly that name, else all with that file name in any folder.

        URIs without a match are left out.
        """
        if not uris:
            return {}
        wanted: dict[str, list[str]] = {}
        for uri in uris:
            wanted.setdefault(_name(uri), []).append(uri)
        there = self._named(wanted)
        found: dict[str, list[str]] = {}
        for name, asked in wanted.items():
            uploads = there.get(name, [])
            for uri in asked:
                fits = [uri] if uri in uploads else [each for each in uploads if each.endswith(f"/{uri}")]
                if fits:
                    found[uri] = fits
        return found

    def _named(self, names: Collection[str]) -> dict[str, list[str]]:
        """URIs of uploads by file name, for the given `names`; reads all uploads."""
        found: dict[str, list[str]] = {}
        statement = select(FILE.c.uri).where(FILE.c.root == "uploads", FILE.c.image_id.is_not(None))
        with self._store.read() as connection:
            for uri in connection.execution_options(yield_per=5_000).execute(statement).scalars():
                if (name := _name(uri)) in names:
                    found.setdefault(name, []).append(uri)
        return found


def _name(uri: str) -> str:
    return uri.rpartition("/")[2]
