"""The leader: the one labeler that the trainer follows.

Two labelers on one trainer would take turns, and each turn begins with an empty copy of the log. So the log that is
followed stays so while its labeler is heard from, which looks at the trainer about once a second. A labeler says who it
is in two headers of every request; what says nothing, a program of one's own, is taken as before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

from shared.settings.project_file import LABELER_HEADER, LOG_HEADER
from shared.settings.services import is_loopback
from shared.web.server import url as address_of
from trainer.sync.replica import Replica

ALIVE_SECONDS = 10.0
"""For so long after its last request a labeler counts as running."""


class Taken(Exception):  # noqa: N818 - an answer of the protocol, not a failure
    """Another labeler, which is running, is followed."""

    def __init__(self, followed: str, refused: str) -> None:
        super().__init__(
            f"This trainer follows the labeler at {followed}, which is running. The labeler at {refused} needs a "
            "trainer of its own: start one, and give its address with --trainer-url."
        )


@dataclass(frozen=True, slots=True)
class Sender:
    """A labeler, by its log and by the address under which others reach it."""

    log_id: UUID
    url: str

    @classmethod
    def of(cls, headers: Mapping[str, str], client: str | None) -> Sender | None:
        """Who sent a request from the host `client`; None when its headers do not say."""
        try:
            log_id, parts = UUID(headers.get(LOG_HEADER, "")), urlsplit(headers.get(LABELER_HEADER, ""))
            name, port = parts.hostname, parts.port
        except ValueError:
            return None
        if parts.scheme not in {"http", "https"} or not name or len(name) > 255:
            return None
        if client and is_loopback(name) and not is_loopback(client):
            name = client  # in a container of its own, say: only there is that address itself
        return cls(log_id, address_of(name, port or (443 if parts.scheme == "https" else 80)))


class Leader:
    """Decides whose rows `replica` takes. Safe to call from several threads."""

    def __init__(self, replica: Replica, clock: Callable[[], float] = time.monotonic) -> None:
        self._replica = replica
        self._clock = clock
        self._heard_at = clock()  # after a restart of the trainer its labeler gets the time to say that it is there

    def hear(self, sender: Sender) -> None:
        """A labeler is there. Notes when it is the one that is followed."""
        with self._replica.lock:
            if sender.log_id == self._replica.log_id:
                self._heard_at = self._clock()
                self._replica.remember_labeler(sender.url)

    def check(self, sender: Sender) -> None:
        """Raises Taken for a labeler of another log while the one that is followed is running, at another address."""
        followed = self._replica.labeler
        running = self._clock() - self._heard_at < ALIVE_SECONDS
        other = self._replica.log_id not in (None, sender.log_id)
        if other and running and followed not in (None, sender.url):
            raise Taken(str(followed), sender.url)
