"""Tables of contents of large files, in a database on the disk.

The names of a million members take 400 MB in memory, and reading them from a store takes a while. So each version of a
file is read once, and its table is kept. All tables can be read again, so a damaged database is simply deleted. Without
a file of its own, the database is temporary.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

VERSION = 1
"""Version of the tables; those of any other version are deleted."""
MOST_MEMBERS = 20_000_000
"""Maximum number of members kept when the database is opened, about 2 GB; the tables used longest ago are deleted."""
UNFINISHED_SECONDS = 86_400.0
"""After this time, an unfinished table counts as abandoned."""
_AT_ONCE = 10_000
_PAGE = 1_000
_TABLES = """
CREATE TABLE file (id INTEGER PRIMARY KEY, place TEXT, stamp TEXT, about TEXT, members INTEGER, used REAL);
CREATE INDEX file_place ON file (place);
CREATE TABLE member (file INTEGER, name TEXT, facts TEXT, PRIMARY KEY (file, name)) WITHOUT ROWID;
"""
T = TypeVar("T")


class ContentsLost(Exception):  # noqa: N818 - it says what happened
    """The table cannot be read or written now. The text says why."""


class Contents:
    """The tables of one process, by place and stamp of a file. Thread-safe; processes may share a database."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._live: set[int] = set()
        self._connection = self._opened()
        self._open = [self._connection]  # closed with this object
        weakref.finalize(self, _close, self._open)

    def find(self, place: str, stamp: object) -> tuple[int, Any] | None:
        """The number of a finished table, and its `about`; None if there is no such table."""

        def look(database: sqlite3.Connection) -> tuple[int, Any] | None:
            row = _finished(database, place, stamp)
            if row is None:
                return None
            database.execute("UPDATE file SET used = ? WHERE id = ?", (time.time(), row[0]))
            self._live.add(row[0])
            return row[0], json.loads(row[1])

        return self._ask(look)

    def write(
        self, place: str, stamp: object, members: Iterable[tuple[str, Any]], about: Callable[[], Any]
    ) -> tuple[int, Any]:
        """Write the members (name, facts) of a file; returns the table's number and what `about` returned.

        If several members have one name, the last one counts. `about` is called after the last member. Tables of
        earlier versions of the file are deleted. If another process has written the same version meanwhile, its table
        is returned.
        """
        number, count = secrets.randbits(62), 0
        begin = (number, place, json.dumps(stamp), time.time())
        self._ask(lambda database: database.execute("INSERT INTO file VALUES (?, ?, ?, NULL, 0, ?)", begin))
        rest = iter(members)
        try:
            while some := [(number, name, json.dumps(facts)) for name, facts in islice(rest, _AT_ONCE)]:
                count += len(some)
                self._ask(partial(_insert, some))
        except BaseException:
            self._ask(lambda database: _delete(database, number))
            raise
        told = about()

        def end(database: sqlite3.Connection) -> tuple[int, Any]:
            theirs = _finished(database, place, stamp)
            if theirs is not None:
                _delete(database, number)
                self._live.add(theirs[0])
                return theirs[0], json.loads(theirs[1])
            query = "SELECT id FROM file WHERE place = ? AND about IS NOT NULL"
            for (earlier,) in database.execute(query, (place,)).fetchall():
                _delete(database, earlier)
                self._live.discard(earlier)
            database.execute("UPDATE file SET about = ?, members = ? WHERE id = ?", (json.dumps(told), count, number))
            self._live.add(number)
            return number, told

        return self._ask(end)

    def has(self, number: int) -> bool:
        """Whether a table that was found or written still exists, as far as this process knows."""
        return number in self._live

    def get(self, number: int, name: str) -> Any:
        """The facts of a member; None if there is none. Raises ContentsLost if another table took its place."""
        query = "SELECT facts FROM member WHERE file = ? AND name = ?"
        row = self._ask(lambda database: database.execute(query, (number, name)).fetchone())
        if row is None:
            self._check(number)
            return None
        return json.loads(row[0])

    def members(self, number: int) -> Iterator[tuple[str, Any]]:
        """All members with their facts, in code point order of the names.

        Raises ContentsLost if another table replaces it meanwhile, so that a part is never mistaken for the whole.
        """
        query = "SELECT name, facts FROM member WHERE file = ? AND name > ? ORDER BY name LIMIT ?"
        last = ""
        while True:
            page = self._ask(partial(_rows, query, (number, last, _PAGE)))
            self._check(number)
            for name, facts in page:
                yield name, json.loads(facts)
            if len(page) < _PAGE:
                return
            last = page[-1][0]

    def _check(self, number: int) -> None:
        """Raise ContentsLost if the table is gone. Another process may have deleted it."""
        query = "SELECT 1 FROM file WHERE id = ?"
        if not self.has(number) or not self._ask(partial(_rows, query, (number,))):
            self._live.discard(number)
            raise ContentsLost("it was replaced just now")

    def _ask(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            try:
                with self._connection:
                    return work(self._connection)
            except sqlite3.OperationalError as error:  # a full disk, for example
                raise ContentsLost(str(error)) from None
            except sqlite3.DatabaseError as error:
                self._begin_anew()
                raise ContentsLost(str(error)) from None

    def _begin_anew(self) -> None:
        """Delete a damaged database."""
        self._connection.close()
        self._live.clear()
        if self._path is not None:
            _remove(self._path)
        self._connection = self._open[0] = self._opened()

    def _opened(self) -> sqlite3.Connection:
        if self._path is not None:
            for _ in range(2):
                try:
                    return _open(str(self._path))
                except sqlite3.OperationalError:  # the folder is not writable
                    break
                except sqlite3.DatabaseError:
                    _remove(self._path)
        return _open("")  # temporary, on the disk once it is large


def _open(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=30, check_same_thread=False)
    try:
        with database:
            if path:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = NORMAL")
            if database.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                database.executescript(f"DROP TABLE IF EXISTS file; DROP TABLE IF EXISTS member; {_TABLES}")
                database.execute(f"PRAGMA user_version = {VERSION}")
            _prune(database)
    except BaseException:
        database.close()
        raise
    return database


def _prune(database: sqlite3.Connection) -> None:
    """Delete tables that were never finished, and the ones used longest ago beyond `MOST_MEMBERS`."""
    late = time.time() - UNFINISHED_SECONDS
    left = database.execute("SELECT id FROM file WHERE about IS NULL AND used < ?", (late,)).fetchall()
    total = 0
    query = "SELECT id, members FROM file WHERE about IS NOT NULL ORDER BY used DESC"
    for number, members in database.execute(query).fetchall():
        total += members
        if total > MOST_MEMBERS:
            left.append((number,))
    for (number,) in left:
        _delete(database, number)


def _finished(database: sqlite3.Connection, place: str, stamp: object) -> tuple[int, str] | None:
    query = "SELECT id, about FROM file WHERE place = ? AND stamp = ? AND about IS NOT NULL"
    row: tuple[int, str] | None = database.execute(query, (place, json.dumps(stamp))).fetchone()
    return row


def _insert(members: list[tuple[int, str, str]], database: sqlite3.Connection) -> None:
    database.executemany("INSERT OR REPLACE INTO member VALUES (?, ?, ?)", members)


def _rows(query: str, values: tuple[Any, ...], database: sqlite3.Connection) -> list[Any]:
    return database.execute(query, values).fetchall()


def _delete(database: sqlite3.Connection, number: int) -> None:
    database.execute("DELETE FROM member WHERE file = ?", (number,))
    database.execute("DELETE FROM file WHERE id = ?", (number,))


def _close(connections: list[sqlite3.Connection]) -> None:
    for each in connections:
        each.close()


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
