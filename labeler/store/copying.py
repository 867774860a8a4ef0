"""Copies a labeler's database into another one, of the same or another kind: for a backup, from a server to a file."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, delete, select, text
from sqlalchemy.exc import SQLAlchemyError

from labeler.store.database import migrate
from labeler.store.tables import LEASE, META, LabelerTable
from labeler.store.writer import ROW, Writer
from shared.settings.services import SettingsError
from shared.storage.database import masked, open_engine, parsed, read, write

CHUNK = 5_000  # maximum rows in memory


def copy(source: str, target: str) -> None:
    """Replace the content of `target` by the current content of `source`; both are database addresses.

    The copy gets its own `log_id`, so that a trainer that has seen newer rows starts over. Raises SettingsError if a
    database cannot be opened, and Taken if a labeler writes to `target`; `target` is unchanged then.
    """
    give, take = open_engine(source), open_engine(target)
    writer: Writer | None = None
    try:
        if take.dialect.name == "postgresql":
            writer = Writer(take.url)
        with read(give) as stored, write(take) as connection:
            migrate(connection)
            _replace(stored, connection)
    except SettingsError:
        raise
    except (SQLAlchemyError, ImportError, OSError) as error:
        raise SettingsError(f"{masked(source)} cannot be copied to {masked(target)}: {_first_line(error)}.") from None
    finally:
        if writer is not None:
            writer.close()
        give.dispose()
        take.dispose()


def update(address: str) -> None:
    """Update a database of an earlier Flywheel version to the current tables. Raises SettingsError."""
    engine = open_engine(address)
    try:
        with write(engine) as connection:
            migrate(connection)
    except (SQLAlchemyError, OSError) as error:
        raise SettingsError(f"{masked(address)} cannot be read: {_first_line(error)}.") from None
    finally:
        engine.dispose()


def answers(address: str) -> tuple[int, str | None]:
    """The number of answers in a database, and the day of the latest one. Raises SQLAlchemyError, ImportError."""
    engine = open_engine(address)
    try:
        with read(engine) as connection:
            count, last = connection.execute(
                text(
                    "SELECT count(*), max(created_at) FROM annotation "
                    "WHERE action IN ('label', 'skip', 'flag', 'settle')"
                )
            ).one()
        return int(count), str(last)[:10] if last else None
    finally:
        engine.dispose()


def is_server(address: str) -> bool:
    """Whether the address names a database server rather than a file."""
    return bool(address) and parsed(address).get_backend_name() != "sqlite"


def _replace(stored: Connection, connection: Connection) -> None:
    tables = [each for each in LabelerTable.metadata.sorted_tables if each is not LEASE]
    connection.execute(LEASE.delete())
    for each in reversed(tables):
        connection.execute(each.delete())
    for each in tables:
        rows = stored.execution_options(yield_per=CHUNK).execute(select(each)).mappings()
        for part in rows.partitions(CHUNK):
            connection.execute(each.insert(), [dict[str, Any](row) for row in part])
        if connection.dialect.name == "postgresql":
            _go_on_counting(connection, each.name)
    connection.execute(delete(META).where(META.c.key == ROW))
    connection.execute(META.update().where(META.c.key == "log_id").values(value=str(uuid4())))


def _go_on_counting(connection: Connection, table: str) -> None:
    """Make the server continue numbering after the rows that were copied with their numbers."""
    columns = connection.execute(
        text(
            "SELECT column_name, pg_get_serial_sequence(quote_ident(:table), column_name) "
            "FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = :table"
        ),
        {"table": table},
    ).all()
    for column, sequence in columns:
        if sequence is not None:
            highest = text(f'SELECT setval(:sequence, coalesce(max("{column}"), 0) + 1, false) FROM "{table}"')  # noqa: S608 - names of our own tables
            connection.execute(highest, {"sequence": sequence})


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
