"""Draws the split of a new image from its salted content hash, so that the same content always gets the same split.

The shares are fixed when the workspace is created. Each workspace has its own salt, so that nobody can choose the test
images.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping

from labeler.store.database import Store
from shared.settings.services import LabelerSettings, SettingsError
from shared.wire.fields import Source, Split


class Drawing:
    """The draw of one workspace. Raises SettingsError if its splits were drawn with other shares."""

    def __init__(self, store: Store, settings: LabelerSettings, sources: Mapping[str, Source]) -> None:
        self._salt = store.settled("salt", secrets.token_hex(16))
        self.test, self._validation = _settled_shares(store, settings, sources)  # shares of all images

    def place(self, sha256: str) -> float:
        """The position of this content in 0 … 1."""
        digest = hashlib.sha256((self._salt + sha256).encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    def split(self, place: float) -> Split:
        """The split at a position."""
        return "test" if place < self.test else "validation" if place < self.test + self._validation else "train"

    def split_of(self, sha256: str) -> Split:
        """The split of a new image with this content."""
        return self.split(self.place(sha256))


def _settled_shares(store: Store, settings: LabelerSettings, sources: Mapping[str, Source]) -> tuple[float, float]:
    """The shares of test and validation images with which the workspace was created."""
    wanted = {
        "test_set_frac": 0.0 if settings.test_set else settings.test_set_frac,
        "validation_set_frac": settings.validation_set_frac,
    }
    settled: dict[str, float] = json.loads(store.settled("shares", json.dumps(wanted)))
    for name, value in wanted.items():
        asked_for = sources.get(name, "default") != "default" and not (name == "test_set_frac" and settings.test_set)
        if asked_for and value != settled[name]:
            raise SettingsError(
                f"The labeler setting {name!r} cannot be {value:g}: the workspace {settings.workspace} was made with "
                f"{settled[name]:g}, and its splits are drawn. Keep that value, or use a new workspace."
            )
    return settled["test_set_frac"], settled["validation_set_frac"]
