"""Leases: which page holds which image, and until when.

A lease belongs to a page's session, so two tabs of one person never show the same image. It expires unless the page
renews it by asking again. Leases are in memory; `kept_leases` stores them for the next start. Leases decide what is
served, never whether an answer is accepted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lease:
    """One image held by one session until `expires` (seconds, by the clock of `Leases`). `restored`: it is older than
    the labeler's start, so its page may be gone.
    """

    session: str
    annotator: str
    expires: float
    restored: bool = False


class Leases:
    """All leases of the workspace. Has no lock of its own: callers hold the store's lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_image: dict[int, dict[str, Lease]] = {}
        self._by_session: dict[str, set[int]] = {}

    def take(self, image_id: int, session: str, annotator: str, seconds: float, *, restored: bool = False) -> None:
        """Lease the image to the session, or renew its lease, for `seconds` from now."""
        lease = Lease(session, annotator, self._clock() + seconds, restored)
        self._by_image.setdefault(image_id, {})[session] = lease
        self._by_session.setdefault(session, set()).add(image_id)

    def holds(self, image_id: int, session: str) -> bool:
        """Whether the session has a valid lease on the image."""
        return any(lease.session == session for lease in self.on(image_id))

    def on(self, image_id: int) -> list[Lease]:
        """The valid leases on the image."""
        leases = self._by_image.get(image_id)
        if not leases:
            return []
        now = self._clock()
        for session in [lease.session for lease in leases.values() if lease.expires <= now]:
            self.release(image_id, session)
        return list(leases.values())

    def leased(self) -> list[int]:
        """Images with a valid lease."""
        return [image_id for image_id in list(self._by_image) if self.on(image_id)]

    def release(self, image_id: int, session: str) -> None:
        """End one lease, if it exists."""
        leases = self._by_image.get(image_id)
        if leases is None or leases.pop(session, None) is None:
            return
        if not leases:
            del self._by_image[image_id]
        held = self._by_session[session]
        held.discard(image_id)
        if not held:
            del self._by_session[session]

    def free(self, session: str, keep: Collection[int] = ()) -> None:
        """End all leases of the session except those on `keep`."""
        for image_id in self._by_session.get(session, set()) - set(keep):
            self.release(image_id, session)
