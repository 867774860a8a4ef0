"""The labeler's store: one engine, one writer lock, and the workspace's fixed values.

Everything that changes state holds `Store.lock` (re-entrant), so that `seq` has no gaps and memory always agrees with
the disk. Alembic updates the schema when the store is opened.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, select
from sqlalchemy.exc import DataError, DBAPIError, OperationalError, SQLAlchemyError

from labeler.errors import DatabaseAway, Invalid, NotSaved
from labeler.store.tables import META
from labeler.store.writer import Taken, Writer
from shared.settings.services import LabelerSettings, SettingsError
from shared.storage.database import masked, open_engine, read, write
from shared.storage.disk_errors import Disk

logger = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"


class Store:
    """The labeler's database. Raises SettingsError if it cannot be opened, and Taken if another labeler writes to it.
    Later it raises NotSaved if the disk fails, and DatabaseAway if the server does not answer.

    `writer` is None for SQLite, whose file has one writer at a time anyway.
    """

    def __init__(self, settings: LabelerSettings, disk: Disk | None = None) -> None:
        self.lock = threading.RLock()
        self.disk = disk or Disk(settings.workspace)
        self.writer: Writer | None = None
        url = database_url(settings)
        try:
            self.engine = open_engine(url)
            if self.engine.dialect.name == "postgresql":
                self.writer = Writer(self.engine.url)
            with write(self.engine) as connection:
                migrate(connection)
            if self.writer is not None:
                self.writer.begin(self.engine)
        except Taken:
            self.engine.dispose()
            raise
        except SettingsError:
            self.engine.dispose()
            if self.writer is not None:
                self.writer.close()
            raise
        except (SQLAlchemyError, ImportError, OSError) as error:
            if self.writer is not None:
                self.writer.close()
            shown = masked(url) if "://" in url else url
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise SettingsError(f"The database {shown} cannot be opened: {reason}.") from None

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the writer lock. Raises NotSaved, DatabaseAway."""
        with self.lock, self.told(), self._transaction() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one snapshot. Raises NotSaved if the disk fails, DatabaseAway."""
        with self.told(), read(self.engine) as connection:
            yield connection

    def _transaction(self) -> AbstractContextManager[Connection]:
        return write(self.engine) if self.writer is None else self.writer.transaction(self.engine)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn database errors caused by the disk into NotSaved, and those caused by a lost connection into
        DatabaseAway.
        """
        try:
            yield
        except DBAPIError as error:
            trouble = self.disk.notice(error)
            if trouble is not None:
                raise NotSaved(trouble) from error
            if isinstance(error, DataError):
                raise Invalid(f"The database cannot store this: {str(error.orig).splitlines()[0]}.") from error
            if self.writer is not None and (error.connection_invalidated or isinstance(error, OperationalError)):
                raise DatabaseAway from error
            raise

    def announce(self, address: str, on_lost: Callable[[], None]) -> None:
        """Tell standby labelers this one's address. `on_lost` is called if it must end, see `Writer`."""
        if self.writer is not None:
            self.writer.on_lost = on_lost
            self.writer.announce(self.engine, address)

    def settled(self, key: str, value: str) -> str:
        """The workspace's permanent value for `key`; the first call sets it to `value`."""
        with self.write() as connection:
            found = connection.execute(select(META.c.value).where(META.c.key == key)).scalar()
            if found is None:
                connection.execute(META.insert().values(key=key, value=value))
            return value if found is None else str(found)

    def kept(self, key: str) -> str | None:
        """The value stored for `key`, if any."""
        with self.read() as connection:
            return connection.execute(select(META.c.value).where(META.c.key == key)).scalar()

    def keep(self, key: str, value: str | None) -> None:
        """Store a value for `key`; None deletes it."""
        with self.write() as connection:
            connection.execute(META.delete().where(META.c.key == key))
            if value is not None:
                connection.execute(META.insert().values(key=key, value=value))

    def close(self) -> None:
        """Close all connections; then another labeler can write."""
        self.engine.dispose()
        if self.writer is not None:
            self.writer.close()


def database_url(settings: LabelerSettings) -> str:
    """The database address in the settings, else SQLite in the workspace."""
    return settings.database_url or f"sqlite:///{(settings.workspace / 'flywheel.db').absolute()}"


def migrate(connection: Connection) -> None:
    """Update the tables to this version, or create them in an empty database. Raises SettingsError if a newer version
    made them.
    """
    heads = set(MigrationContext.configure(connection).get_current_heads())
    if heads == _newest():
        return
    if not heads <= _known():
        where = connection.engine.url.render_as_string()  # without the password
        raise SettingsError(
            f"The database {where} was written by a newer version of Flywheel ({', '.join(sorted(heads))}): update "
            "Flywheel. Nothing was changed."
        )
    if heads:
        logger.info("Updating the database to the tables of this version of Flywheel.")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@cache
def _known() -> set[str]:
    return {each.revision for each in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}


@cache
def _newest() -> set[str]:
    return set(ScriptDirectory(str(MIGRATIONS)).get_heads())
