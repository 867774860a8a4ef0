"""Stores leases in the database, so that a restarted labeler gives no image to a second person while a page holds it.

Writes do not wait for the disk: if the process is killed, nothing is lost, and after a power failure no page is left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, event, select, text

from labeler.asking.leases import Leases
from labeler.errors import NotSaved
from labeler.store.database import Store
from labeler.store.tables import LEASE
from shared.storage.database import open_engine, write


class KeptLeases:
    """Stores leases, and fills `leases` with those from before a restart."""

    def __init__(self, store: Store, leases: Leases) -> None:
        self._store = store
        self._engine = None if store.writer is not None else open_engine(store.engine.url)
        if self._engine is not None:
            event.listen(self._engine, "connect", _without_waiting)
        now = datetime.now(UTC)
        with store.read() as connection:
            for row in connection.execute(select(LEASE).where(LEASE.c.expires > now)).mappings():
                left = (row["expires"] - now).total_seconds()
                leases.take(row["image_id"], row["session"], row["annotator"], left, restored=True)

    def hold(self, image_ids: Collection[int], session: str, annotator: str, seconds: float, *, only: bool) -> None:
        """Lease these images to the session for `seconds` from now; with `only`, end its other leases.

        Hold the store's lock. A full disk is ignored here: pages report it anyway, and nobody is kept from looking at
        images. Raises DatabaseAway.
        """
        now = datetime.now(UTC)
        until = now + timedelta(seconds=seconds)
        held = [
            {"session": session, "image_id": image_id, "annotator": annotator, "expires": until}
            for image_id in image_ids
        ]
        over = LEASE.c.session == session
        if not only:
            over &= LEASE.c.image_id.in_(image_ids)
        with suppress(NotSaved), self._write() as connection:
            connection.execute(delete(LEASE).where(over | (LEASE.c.expires <= now)))
            if held:
                connection.execute(LEASE.insert(), held)

    def close(self) -> None:
        """Close the connections."""
        if self._engine is not None:
            self._engine.dispose()

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        if self._engine is not None:
            with self._store.told(), write(self._engine) as connection:
                yield connection
            return
        with self._store.write() as connection:
            connection.execute(text("SET LOCAL synchronous_commit TO off"))
            yield connection


def _without_waiting(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=NORMAL")
