"""The source of an image's content: a folder or store of the project that this machine can read, or else the labeler.

Only the labeler reads an archive in a store, because its table of contents may take long to fetch. Only the labeler
reads a list of addresses, too, because its settings say which addresses are allowed.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import Any

from shared.images.opening import ImageLimits, ImageProblem
from shared.images.sources.addresses import Place
from shared.images.sources.choosing import Sources, is_read_directly
from shared.images.sources.source import ImageSource
from shared.settings.project_file import ImageFolders
from shared.settings.services import TrainerSettings
from shared.web.auth import client_headers, token_for
from shared.wire.images import ImageEntry
from trainer.sync.labeler_client import LabelerAway, LabelerClient, Refused


class Photos:
    """Reads images. Thread-safe. Pickled for another process, it opens everything anew there."""

    def __init__(self, settings: TrainerSettings, client: LabelerClient) -> None:
        self._settings = settings
        self.limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
        self._folders = ImageFolders(settings.workspace, settings.images)
        self._client = client
        self._sources = Sources(kept=Path(settings.workspace) / "trainer" / "archives.db")
        self._opened: dict[Place, ImageSource] = {}

    def fetch(self, entry: ImageEntry) -> bytes:
        """The bytes of an image. Raises ImageProblem."""
        for place, uri in self._folders.places(entry.uri):
            if not is_read_directly(place):
                continue
            try:
                data = self._source(place).read(uri, self.limits)
            except ImageProblem:
                continue  # uploaded, or in a place that only the labeler can read
            if sha256(data).hexdigest() == entry.sha256:
                return data
        try:
            return self._client.content(entry.id)
        except (LabelerAway, Refused) as error:
            raise ImageProblem(str(error)) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return elsewhere, (self._settings,)

    def _source(self, place: Place) -> ImageSource:
        known = self._opened.get(place)
        if known is None:
            known = self._opened.setdefault(place, self._sources.source(place))
        return known


def elsewhere(settings: TrainerSettings) -> Photos:
    """The photos of the trainer with these settings, opened in a child process with the same environment."""
    client = LabelerClient(
        settings.labeler_url,
        timeout_seconds=settings.labeler_timeout_seconds,
        headers=client_headers(token_for(settings.host, os.environ)),
    )
    return Photos(settings, client)
