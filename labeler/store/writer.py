"""Ensures that only one labeler writes to a PostgreSQL database.
A labeler decides from state that it keeps in memory, so two labelers on one database would assign the same numbers
twice. The labeler that holds the database's advisory lock is the writer. The server frees the lock when that process
ends in any way, and then a standby labeler takes it (`labeler.standby`).

A lock alone is not enough: a writer that was cut off from the server may not know yet that it has lost it. So each
writer puts its name into the table `meta`, and each of its transactions checks that the name is still there. The next
writer waits for such transactions before it reads the log.

If the connection breaks at a commit, only the server knows whether the rows are written. It is asked, by the number of
the transaction. With SQLite nothing of this is needed: a file has its lock (`labeler.store.workspace`).
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from labeler.errors import DatabaseAway
from shared.settings.services import SettingsError
from shared.storage.database import PATIENCE

logger = logging.getLogger(__name__)

LOCK = 0x666C79776865656C  # "flywheel" as a number: the advisory lock, within one database
ROW = "writer"
"""The key of the writer's name in `meta`."""
LOOK_SECONDS = 1.0
"""Seconds between checks that the writer still holds the lock."""
RETRY_SECONDS = 0.1
UNSURE_SECONDS = 10.0
"""Seconds for which a request waits to learn whether its commit arrived."""


class Taken(SettingsError):  # noqa: N818 - an answer, named as one
    """Another labeler writes to this database. `holder` is its address, if known."""

    def __init__(self, holder: str | None) -> None:
        self.holder = holder
        where = f" at {holder}" if holder else ""
        super().__init__(f"Another labeler{where} writes to this database. Stop it first, or use its pages.")


_BEGINS = "SELECT pg_current_xact_id()::text, pg_backend_pid(), (SELECT value FROM meta WHERE key = :key FOR SHARE)"


@dataclass(frozen=True, slots=True)
class _Transaction:
    number: str
    process: int  # id of the server process behind this connection


class Writer:
    """Holds the lock of the database at `url` until `close`. Raises Taken, and DBAPIError if the server refuses.

    `on_lost` is called once, from any thread, if another labeler has taken over or if what is in memory may differ from
    what is stored. The process must then end: only a new start reads everything again.
    """

    def __init__(self, url: Any, on_lost: Callable[[], None] = lambda: None) -> None:
        self.name = str(uuid4())
        self.on_lost = on_lost
        self._lost: str | None = None  # why it must not write any more
        self._unsure: _Transaction | None = None  # a transaction that may have been committed
        self._engine = _plain_engine(url)
        self._ended = threading.Event()
        held = self._engine.connect()
        if not _lock(held):
            holder = _holder(held)
            held.close()
            raise Taken(holder)
        self._held: Connection | None = held
        self._thread = threading.Thread(target=self._watch, name="writer", daemon=True)

    def begin(self, engine: Engine, address: str | None = None) -> None:
        """Become the writer, once the table `meta` exists. Waits for transactions of the previous writer."""
        with engine.begin() as connection:
            self._write_name(connection, address)
        self._thread.start()

    def announce(self, engine: Engine, address: str) -> None:
        """Tell standby labelers this one's address."""
        with self.transaction(engine) as connection:
            self._write_name(connection, address)

    def close(self) -> None:
        """Free the lock."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(2 * LOOK_SECONDS)
        if self._held is not None:  # at once: the server may notice only later that the connection was closed
            with suppress(DBAPIError):
                self._held.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})
        self._drop()
        self._engine.dispose()

    @contextmanager
    def transaction(self, engine: Engine) -> Iterator[Connection]:
        """A transaction of the writer; commits at the end, rolls back on an exception.

        Returns normally only if it is committed. Raises DatabaseAway if that is not known.
        """
        self._settle()
        with engine.connect() as connection:
            transaction = connection.begin()
            try:
                number = self._number(connection)
                yield connection
            except BaseException:
                with suppress(DBAPIError):
                    transaction.rollback()
                raise
            try:
                transaction.commit()
            except DBAPIError as error:
                connection.invalidate()
                self._unsure = number
                if not self._committed(number, UNSURE_SECONDS):
                    raise
                logger.warning("The connection to the database broke at a commit, which had arrived: %s", error.orig)

    # ------------------------------------------------------------ inside

    def _write_name(self, connection: Connection, address: str | None) -> None:
        said = json.dumps({"name": self.name, "address": address})
        connection.execute(
            text("INSERT INTO meta VALUES (:key, :said) ON CONFLICT (key) DO UPDATE SET value = :said"),
            {"key": ROW, "said": said},
        )

    def _number(self, connection: Connection) -> _Transaction:
        """The transaction's number. Raises DatabaseAway if another labeler has become the writer."""
        found = connection.execute(text(_BEGINS), {"key": ROW}).one()
        if _said(found[2]).get("name") != self.name:
            self._lose("Another labeler has taken over this database, so this one ends.")
        if self._lost:
            raise DatabaseAway(f"{self._lost} Nothing of this was saved: load the page again in a moment.")
        return _Transaction(str(found[0]), int(found[1]))

    def _settle(self) -> None:
        """Find out whether an earlier transaction was committed. Raises DatabaseAway while that is unknown."""
        if self._unsure is None or self._lost:
            return
        if self._committed(self._unsure):
            self._lose("The database holds rows that this labeler has not seen, so it ends; a new start reads them.")

    def _committed(self, doubtful: _Transaction, seconds: float = 0.0) -> bool:
        """Whether the transaction was committed. Raises DatabaseAway if the server does not tell within `seconds`."""
        end = time.monotonic() + seconds
        while True:
            with suppress(DBAPIError), self._engine.connect() as connection:
                state = connection.execute(
                    text("SELECT pg_xact_status(CAST(:number AS xid8))"), {"number": doubtful.number}
                ).scalar()
                if state in ("committed", "aborted"):
                    self._unsure = None
                    return bool(state == "committed")
                # The server has not noticed that the connection broke: a commit that is still under way either ends or
                # never began.
                connection.execute(text("SELECT pg_terminate_backend(:process)"), {"process": doubtful.process})
            if time.monotonic() >= end:
                raise DatabaseAway
            time.sleep(RETRY_SECONDS)

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            try:
                self._look()
            except DBAPIError:
                self._drop()

    def _look(self) -> None:
        """Check the lock; take it again after the server was away."""
        if self._held is None:
            held = self._engine.connect()
            if not _lock(held):
                mine = _said(_name(held)).get("name") == self.name
                held.close()
                if not mine:
                    self._lose("Another labeler has taken over this database, so this one ends.")
                return  # otherwise the server has not noticed yet that our last connection broke
            self._held = held
        if _said(_name(self._held)).get("name") != self.name:
            self._lose("Another labeler has taken over this database, so this one ends.")

    def _drop(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            with suppress(DBAPIError):
                held.invalidate()
            with suppress(DBAPIError):
                held.close()

    def _lose(self, reason: str) -> None:
        if not self._lost:
            self._lost = reason
            logger.critical(reason)
            self.on_lost()


def is_free(url: Any) -> bool:
    """Whether no labeler writes to this database. False if the server does not answer."""
    engine = _plain_engine(url)
    try:
        with engine.connect() as connection:
            return _lock(connection)  # which ends with the connection
    except DBAPIError:
        return False
    finally:
        engine.dispose()


def _plain_engine(url: Any) -> Engine:
    """An engine without a pool, in which each statement is its own transaction."""
    return create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=PATIENCE)


def _lock(connection: Connection) -> bool:
    return bool(connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCK}).scalar())


def _name(connection: Connection) -> str | None:
    found = connection.execute(text("SELECT value FROM meta WHERE key = :key"), {"key": ROW}).scalar()
    return None if found is None else str(found)


def _holder(connection: Connection) -> str | None:
    try:
        address = _said(_name(connection)).get("address")
    except DBAPIError:  # no table yet, because the other labeler is just starting
        return None
    return address if isinstance(address, str) else None


def _said(value: str | None) -> dict[str, Any]:
    found = json.loads(value) if value else {}
    return found if isinstance(found, dict) else {}
