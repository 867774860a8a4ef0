"""Adds images one by one, by path or as an upload, instead of by a scan."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from labeler.images.catalog import Catalog
from labeler.images.file_index import Files
from labeler.images.file_registry import Root
from shared.images.names import spellings
from shared.images.opening import ImageProblem
from shared.images.sources.source import ImageAway
from shared.wire.images import ImageReceipt, Rejection


class ImageAdder:
    """Adds images to `catalog`; calls `changed` after each of its methods."""

    def __init__(self, files: Files, catalog: Catalog, changed: Callable[[], None]) -> None:
        self._files = files
        self._catalog = catalog
        self._changed = changed

    @property
    def most_bytes(self) -> int:
        """Maximum bytes of one image."""
        return self._files.limits.max_bytes

    def add_uris(self, uris: Iterable[str]) -> ImageReceipt:
        """Add files under the roots to the catalogue; a file that changed is read again."""
        receipt = ImageReceipt(added=0, duplicates=0, rejected=[])
        for given in uris:
            try:
                root, uri = self._files.uri_of(given)
            except ImageProblem as problem:
                receipt.rejected.append(Rejection(uri=given, reason=str(problem)))
                continue
            found = self._files.look_at_named(root, self._called(root, uri))
            if found.inspected is None and found.size == 0 and found.mtime_ns == 0:  # no file: nothing to record
                receipt.rejected.append(Rejection(uri=given, reason=found.reason or ""))
            else:
                self._record(root, found, given, receipt)
        return self._taken(receipt)

    def _called(self, root: Root, uri: str) -> str:
        """The file for a URI, which may be spelled differently."""
        try:
            if self._files.stamp(root, uri) != (0, 0):
                return uri
            return next((name for _, name in spellings(uri) if self._files.stamp(root, name) != (0, 0)), uri)
        except ImageAway:
            return uri  # `look_at_named` reports why

    def add_uploads(self, uploads: Iterable[tuple[str, bytes]]) -> ImageReceipt:
        """Store uploaded images (name, bytes) in the workspace and add them to the catalogue.

        Known content is stored again only if its name is new, because a label file may use that name.
        """
        receipt = ImageReceipt(added=0, duplicates=0, rejected=[])
        for name, data in uploads:
            try:
                self._record("uploads", self._files.store_upload(data, name), name, receipt)
            except ImageProblem as problem:
                receipt.rejected.append(Rejection(uri=name, reason=str(problem)))
        return self._taken(receipt)

    def _record(self, root: Root, found: Any, given: str, receipt: ImageReceipt) -> None:
        outcome = self._catalog.record(root, [found], "test" if root == "test" else None)[0]
        if outcome == "added":
            receipt.added += 1
        elif outcome == "duplicate":
            receipt.duplicates += 1
            receipt.duplicate_uris.append(given)
        else:
            receipt.rejected.append(Rejection(uri=given, reason=found.reason or "exceeds the maximum number of images"))

    def _taken(self, receipt: ImageReceipt) -> ImageReceipt:
        self._catalog.bring_back()
        self._changed()
        return receipt
