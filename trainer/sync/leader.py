"""The leader: the one labeler that the trainer follows.

Two labelers on one trainer would take turns, and each turn would start with an empty copy of the log. So the trainer
keeps following its log while that labeler is alive; a labeler contacts the trainer about once a second. A labeler
identifies itself in two headers of every request. A request without them, such as from your own program, is accepted.
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
"""Seconds after its last request in which a labeler counts as running."""


class Taken(Exception):  # noqa: N818 - an answer of the protocol, not a failure
    """The trainer follows another labeler, which is running."""

    def __init__(self, followed: str, refused: str) -> None:
        super().__init__(
            f"This trainer follows the labeler at {followed}, which is running. The labeler at {refused} needs a "
            "trainer of its own: start one, and give its address with --trainer-url."
        )


@dataclass(frozen=True, slots=True)
class Sender:
    """A labeler, identified by its log and by the address under which others reach it."""

    log_id: UUID
    url: str

    @classmethod
    def of(cls, headers: Mapping[str, str], client: str | None) -> Sender | None:
        """The sender of a request from the host `client`; None if its headers do not say."""
        try:
            log_id, parts = UUID(headers.get(LOG_HEADER, "")), urlsplit(headers.get(LABELER_HEADER, ""))
            name, port = parts.hostname, parts.port
        except ValueError:
            return None
        if parts.scheme not in {"http", "https"} or not name or len(name) > 255:
            return None
        if client and is_loopback(name) and not is_loopback(client):
            name = client  # for example in its own container, where a loopback address means itself only
        return cls(log_id, address_of(name, port or (443 if parts.scheme == "https" else 80)))


class Leader:
    """Decides whose rows `replica` takes. Thread-safe."""

    def __init__(self, replica: Replica, clock: Callable[[], float] = time.monotonic) -> None:
        self._replica = replica
        self._clock = clock
        self._heard_at = clock()  # after a restart, gives the labeler time to contact the trainer

    def hear(self, sender: Sender) -> None:
        """Record a sign of life if this labeler is the one being followed."""
        with self._replica.lock:
            if sender.log_id == self._replica.log_id:
                self._heard_at = self._clock()
                self._replica.remember_labeler(sender.url)

    def check(self, sender: Sender) -> None:
        """Raise Taken for a labeler with another log and address while the followed one is running."""
        followed = self._replica.labeler
        running = self._clock() - self._heard_at < ALIVE_SECONDS
        other = self._replica.log_id not in (None, sender.log_id)
        if other and running and followed not in (None, sender.url):
            raise Taken(str(followed), sender.url)
