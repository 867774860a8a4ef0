"""The source of an image's content: a folder of the project that this machine can read, or else the labeler."""

from __future__ import annotations

from hashlib import sha256

from shared.images.finding import read
from shared.images.opening import ImageLimits, ImageProblem
from shared.settings.project_file import ImageFolders
from shared.settings.services import TrainerSettings
from shared.wire.images import ImageEntry
from trainer.sync.labeler_client import LabelerAway, LabelerClient, Refused


class Photos:
    """Reads images. Thread-safe."""

    def __init__(self, settings: TrainerSettings, client: LabelerClient) -> None:
        self.limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
        self._folders = ImageFolders(settings.workspace, settings.images)
        self._client = client

    def fetch(self, entry: ImageEntry) -> bytes:
        """The bytes of an image. Raises ImageProblem."""
        for folder, uri in self._folders.places(entry.uri):
            try:
                data = read(uri, folder, self.limits)
            except ImageProblem:
                continue  # uploaded, or in a folder that only the labeler can read
            if sha256(data).hexdigest() == entry.sha256:
                return data
        try:
            return self._client.content(entry.id)
        except (LabelerAway, Refused) as error:
            raise ImageProblem(str(error)) from None
