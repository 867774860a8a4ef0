"""The backlog at the labeler: rows in its buffer, and images that still need an answer."""

from __future__ import annotations

import logging
import time

from trainer.columns.id_index import as_ids
from trainer.sync.labeler_client import LabelerAway, LabelerClient, Refused
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0  # seconds that a stop waits for the labeler's last rows


class Backlog:
    """Asks `client`, with a short timeout, for data that `replica` lacks."""

    def __init__(self, client: LabelerClient, replica: Replica) -> None:
        self._client = client
        self._replica = replica

    def pull(self) -> None:
        """Fetch the rows that are still in the labeler's buffer, if it answers soon."""
        deadline = time.monotonic() + FLUSH_SECONDS
        while time.monotonic() < deadline and self._replica.log_id is not None:
            try:
                page = self._client.annotations(self._replica.acked_seq)
            except (LabelerAway, Refused) as error:
                logger.warning("Stopping without the labeler's last rows: %s", error)
                return
            if page.log_id != self._replica.log_id or not page.annotations:
                return
            self._replica.follow_page(page)

    def to_answer(self, snapshot: Snapshot) -> int | None:
        """Number of images of any split that still need an answer; None if unknown yet."""
        if not snapshot.labels:
            return None
        with self._replica.lock:
            catalog = self._replica.catalog
            left = len(catalog) - len(catalog.places.known(as_ids(snapshot.begun)))
        if left:
            return left
        try:  # the labeler may still be scanning the folder, and it knows how many answers an image needs
            project = self._client.project()
        except (LabelerAway, Refused):
            return None
        if project["scanning"]["running"] or project["last_seq"] > snapshot.acked_seq:
            return None
        return int(project.get("remaining", project["images"]["unlabeled"]))
