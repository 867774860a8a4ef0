"""The remainder: what the labeler still has. Rows in its buffer, and images that somebody is to answer."""

from __future__ import annotations

import logging
import time

from trainer.sync.labeler_client import LabelerAway, LabelerClient, Refused
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0  # that a stop waits for the labeler's last rows


class Backlog:
    """Asks `client`, which is not waited for long, what `replica` does not know."""

    def __init__(self, client: LabelerClient, replica: Replica) -> None:
        self._client = client
        self._replica = replica

    def pull(self) -> None:
        """Fetch rows that are still in the labeler's buffer, as long as it answers soon."""
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
        """Images of any split that somebody is still to answer; None when that cannot be said yet."""
        if not snapshot.labels:
            return None
        with self._replica.lock:
            left = len(self._replica.catalog.keys() - snapshot.begun)
        if left:
            return left
        try:  # the labeler may still be reading the folder, and knows how many people are to answer each image
            project = self._client.project()
        except (LabelerAway, Refused):
            return None
        if project["scanning"]["running"] or project["last_seq"] > snapshot.acked_seq:
            return None
        return int(project.get("remaining", project["images"]["unlabeled"]))
