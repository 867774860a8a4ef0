"""Where an image's content comes from: the folder where this machine can read it, else the labeler."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from shared.images import ImageLimits, ImageProblem, read
from shared.messages import ImageEntry
from shared.settings import TrainerSettings
from trainer.labeler_client import LabelerAway, LabelerClient, Refused


class Photos:
    """Reads images; safe from any thread."""

    def __init__(self, settings: TrainerSettings, client: LabelerClient) -> None:
        self.limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
        self._folder = Path(settings.images).absolute() if settings.images else None
        self._client = client

    def fetch(self, entry: ImageEntry) -> bytes:
        """An image's bytes. Raises ImageProblem."""
        if self._folder is not None:
            try:
                data = read(entry.uri, self._folder, self.limits)
            except ImageProblem:
                data = b""  # uploaded, or in a folder that only the labeler sees
            if sha256(data).hexdigest() == entry.sha256:
                return data
        try:
            return self._client.content(entry.id)
        except (LabelerAway, Refused) as error:
            raise ImageProblem(str(error)) from None
