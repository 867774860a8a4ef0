"""Leases in the database, so that the labeler that takes over gives no image to a second person.

Only a database with a writer of its own keeps them: with SQLite, the same pages ask the same labeler again a second
after it started, and get what they hold.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select, text

from labeler.asking.leases import Leases
from labeler.store.database import Store
from labeler.store.tables import LEASE


class KeptLeases:
    """Keeps what pages hold. Fills `leases` with what they held before a restart."""

    def __init__(self, store: Store, leases: Leases) -> None:
        self._store = store
        if store.writer is None:
            return
        now = datetime.now(UTC)
        with store.read() as connection:
            for row in connection.execute(select(LEASE).where(LEASE.c.expires > now)).mappings():
                left = (row["expires"] - now).total_seconds()
                leases.take(row["image_id"], row["session"], row["annotator"], left)

    def hold(self, image_ids: Collection[int], session: str, annotator: str, seconds: float, *, only: bool) -> None:
        """The session holds these images for `seconds` from now; with `only`, no others any more.

        Hold the store's lock. A loss in a power failure would do no harm, so nobody waits for the disk.
        """
        if self._store.writer is None:
            return
        now = datetime.now(UTC)
        held = [
            {
                "session": session,
                "image_id": image_id,
                "annotator": annotator,
                "expires": now + timedelta(seconds=seconds),
            }
            for image_id in image_ids
        ]
        over = (LEASE.c.session == session) & (LEASE.c.image_id.in_(image_ids) if not only else True)
        with self._store.write() as connection:
            connection.execute(text("SET LOCAL synchronous_commit TO off"))
            connection.execute(delete(LEASE).where(over | (LEASE.c.expires <= now)))
            if held:
                connection.execute(LEASE.insert(), held)
