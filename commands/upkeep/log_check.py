"""Checks of the databases of a workspace: undamaged, the log without a gap, and the trainer's copy equal to it.

Both logs are read in parallel in order of `seq`, so memory does not grow with the log. A gap in the labeler's log can
be filled from the trainer's copy, because both contain the same rows. The copy itself can always be recreated.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from alembic.config import Config
from alembic.script import ScriptDirectory
from pydantic import ValidationError
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from commands.upkeep.findings import Finding, Workspace, read
from labeler.store.database import MIGRATIONS
from labeler.store.tables import EVALUATED, LOG
from shared.figures import many
from shared.log import Fold
from shared.settings.services import SettingsError
from shared.storage.database import open_engine, write
from shared.tasks.classification import CLASSIFICATION
from shared.tasks.registry import task_named
from shared.tasks.task import Task
from shared.wire.log import Row

SHOWN = 5
RESTORE = "Restore the newest backup with `flywheel restore BACKUP`"
AGAIN = "the trainer asks for the whole log again"


@dataclass
class Log:
    """The result of reading both logs."""

    fold: Fold
    last: int = 0
    gaps: list[tuple[int, int]] = field(default_factory=list)  # first and last missing `seq` of each
    unread: list[str] = field(default_factory=list)
    copied: int = 0  # `seq` of the last row of the trainer's copy
    differing: list[int] = field(default_factory=list)
    found: list[Row] = field(default_factory=list)  # rows that are missing here and are in the trainer's copy
    copy_gaps: bool = False


def look(place: Workspace) -> Iterator[Finding]:
    """Check both databases. A server checks its own files; the log in it is read like the one in a file."""
    base = place.database
    if base is not None and not base.is_file():
        yield Finding("database", f"{base} is missing: the labels are not here.", f"{RESTORE}.")
        return
    broken = list(_whole(place, base, "database") if base is not None else _answers(place))
    yield from broken
    copy = place.replica if place.replica.is_file() else None
    copy_broken = list(_whole(place, copy, "trainer's copy")) if copy is not None else []
    yield from copy_broken
    if any(each.act is None for each in broken if each.wrong):
        return
    with place.reading() as engine:
        try:
            yield from _schema(engine)
            log_id = _log_id(engine)
            other = _copy_id(copy) if copy is not None and not copy_broken else None
            if other is not None and other != log_id:
                yield _aside(
                    place, f"The trainer's copy belongs to another log ({other}) than the labeler's ({log_id})."
                )
            task = task_named(place.project.task if place.project is not None else CLASSIFICATION.name)
            log = _follow(engine, copy if other is not None and other == log_id else None, task)
            place.fold = log.fold if not log.gaps and not log.unread else None
            yield from _log(place, base, log, None if other is None or other != log_id else copy)
            yield from _references(engine, log)
        except (SQLAlchemyError, ValueError) as error:
            yield Finding("log", f"The log in {place.labels} cannot be read: {_first(error)}.", f"{RESTORE}.")


def _answers(place: Workspace) -> Iterator[Finding]:
    """Ask the database server for anything."""
    try:
        with place.reading() as engine, engine.connect():
            return
    except SettingsError as error:
        yield Finding("database", str(error))
    except (SQLAlchemyError, ImportError) as error:
        yield Finding(
            "database",
            f"The database {place.labels} cannot be reached: {_first(error)}.",
            "Start the server, or check the address in the setting 'database_url'.",
        )


def _whole(place: Workspace, path: Path, called: str) -> Iterator[Finding]:
    """Check a file with SQLite."""
    is_copy = path == place.replica
    try:
        with closing(read(path)) as database:
            said = [str(row[0]) for row in database.execute("PRAGMA integrity_check(20)")]
            foreign = database.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.Error as error:
        said, foreign = [str(error)], []
    wrong = [line for line in said if line != "ok"]
    if wrong and is_copy:
        yield _aside(place, f"The {called} {path} is damaged ({wrong[0]}).")
    elif wrong and all("index" in line for line in wrong):
        aside = place.kept(path)
        order = f"Copy {path.name} to {aside.name}, and rebuild its indexes."
        yield Finding(
            called, f"An index of {path} is damaged ({wrong[0]}).", mend=order, act=lambda: _index(path, aside)
        )
    elif wrong:
        yield Finding(
            called,
            f"{path} is damaged ({wrong[0]}).",
            f"Copy the file, then {RESTORE[0].lower()}{RESTORE[1:]}; without a backup, `sqlite3 {path} .recover` saves "
            f"what can be read.{_copy_says(place)}",
        )
    if foreign:
        yield Finding(
            called, f"{path} has {many(len(foreign), 'reference')} to a row that does not exist.", f"{RESTORE}."
        )


def _schema(engine: Engine) -> Iterator[Finding]:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    with engine.connect() as connection:
        try:
            current = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        except SQLAlchemyError:
            current = None
    if current in script.get_heads():
        return
    if current in {each.revision for each in script.walk_revisions()}:
        yield Finding(
            "schema", f"The database has an earlier version ({current}): the next start updates it.", wrong=False
        )
    else:
        yield Finding(
            "schema",
            f"The database has version {current}, which this Flywheel does not know.",
            "Update Flywheel.",
        )


def _follow(engine: Engine, copy: Path | None, task: Task) -> Log:
    """Read both logs, row by row."""
    log, expected = Log(Fold(task=task)), 1
    copied = _copied(copy) if copy is not None else iter(())
    theirs = next(copied, None)
    known = True  # every row so far is in the fold
    with engine.connect() as connection:
        for stored in connection.execution_options(yield_per=2_000).execute(select(LOG).order_by(LOG.c.seq)).mappings():
            try:
                row = Row.model_validate(dict(stored))
            except ValidationError as error:
                log.unread.append(f"row {stored['seq']}: {_first(error)}")
                known, expected = False, stored["seq"] + 1
                continue
            if row.seq != expected:
                log.gaps.append((expected, row.seq - 1))
                known = False
            while theirs is not None and theirs.seq < row.seq:
                if log.gaps and theirs.seq >= log.gaps[-1][0]:
                    log.found.append(theirs)
                theirs = next(copied, None)
            if theirs is not None and theirs.seq == row.seq:
                log.copied = row.seq
                if theirs != row:
                    log.differing.append(row.seq)
                theirs = next(copied, None)
            elif theirs is not None:
                log.copy_gaps = True
            if known:
                try:
                    log.fold.apply(row)
                except (ValueError, KeyError) as error:
                    log.unread.append(f"row {row.seq}: {_first(error)}")
                    known = False
            expected, log.last = row.seq + 1, row.seq
    while theirs is not None:
        log.copied, theirs = theirs.seq, next(copied, None)
    return log


def _log(place: Workspace, base: Path | None, log: Log, copy: Path | None) -> Iterator[Finding]:
    if log.unread:
        shown = "; ".join(log.unread[:SHOWN])
        yield Finding("log", f"{many(len(log.unread), 'row')} of the log cannot be read ({shown}).", f"{RESTORE}.")
    if log.gaps:
        shown = ", ".join(f"{first}" if first == last else f"{first}–{last}" for first, last in log.gaps[:SHOWN])
        missing = sum(last - first + 1 for first, last in log.gaps)
        what = f"The log lacks {many(missing, 'row')} of {log.last:,} ({shown})."
        whole = len(log.found) == missing and not log.differing and not log.unread and not log.copy_gaps
        if whole and base is not None:
            aside = place.kept(base)
            order = f"Copy {base.name} to {aside.name}, and take the missing rows from the trainer's copy."
            yield Finding("log", what, mend=order, act=lambda: _fill(base, aside, log.found))
        elif whole:  # a server cannot be set aside first, as a file can
            yield Finding("log", what, f"{RESTORE}. The trainer's copy in {place.replica} has the missing rows.")
        else:
            yield Finding("log", what, f"{RESTORE}: the trainer's copy does not have these rows.")
        return
    if copy is None:
        return
    if log.differing:
        shown = ", ".join(map(str, log.differing[:SHOWN]))
        yield _aside(
            place, f"The trainer's copy differs from the labeler's log in {many(len(log.differing), 'row')} ({shown})."
        )
    elif log.copy_gaps:
        yield _aside(place, "The trainer's copy of the log has a gap.")
    elif log.copied > log.last:
        yield Finding(
            "trainer's copy",
            f"The trainer's copy has {many(log.copied - log.last, 'row')} more than the labeler's log: an older "
            "database was put here by hand.",
            "Put the newer database back, or use `flywheel restore`: at the next start the trainer follows the log "
            f"that is here, and sets its copy aside in {place.trainer}.",
        )


def _references(engine: Engine, log: Log) -> Iterator[Finding]:
    """Rows that refer to something that does not exist."""
    queries = {
        "log": "SELECT COUNT(*) FROM annotation WHERE image_id IS NOT NULL AND image_id NOT IN (SELECT id FROM image)",
        "queue": "SELECT COUNT(*) FROM query WHERE image_id NOT IN (SELECT id FROM image)",
    }
    with engine.connect() as connection:
        for name, query in queries.items():
            count = int(connection.exec_driver_sql(query).scalar() or 0)
            if count:
                yield Finding(
                    "references",
                    f"The {name} has {many(count, 'row')} about images that do not exist.",
                    f"{RESTORE}.",
                )
        for (body,) in connection.execute(select(EVALUATED.c.body)):
            if not isinstance(body, dict):
                yield Finding("evaluations", "An evaluation cannot be read.", f"{RESTORE}.")
                break
    given = {each for value in log.fold.labels.values() for each in log.fold.task.classes_in(value)}
    unknown = given - log.fold.classes.keys()
    if unknown and not log.gaps:
        yield Finding("references", f"Labels belong to classes that do not exist ({sorted(unknown)}).", f"{RESTORE}.")


# ---------------------------------------------------------------- mending


def _aside(place: Workspace, what: str) -> Finding:
    aside = place.kept(place.replica)
    order = f"Rename {place.replica.name} to {aside.name}; {AGAIN}."

    def act() -> None:
        place.replica.rename(aside)
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                place.replica.with_name(place.replica.name + suffix).rename(aside.with_name(aside.name + suffix))

    return Finding("trainer's copy", what, mend=order, act=act)


def _keep(path: Path, aside: Path) -> None:
    with closing(read(path)) as before, closing(sqlite3.connect(aside)) as after:
        before.backup(after)


def _index(path: Path, aside: Path) -> None:
    _keep(path, aside)
    with closing(sqlite3.connect(path)) as database:
        database.execute("REINDEX")
        database.commit()


def _fill(base: Path, aside: Path, rows: list[Row]) -> None:
    _keep(base, aside)
    engine = open_engine(f"sqlite:///{base.absolute()}")
    try:
        with write(engine) as connection:
            connection.execute(LOG.insert(), [row.model_dump() for row in rows])
    finally:
        engine.dispose()


# ---------------------------------------------------------------- reading


def _log_id(engine: Engine) -> str:
    with engine.connect() as connection:
        return str(connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'log_id'").scalar())


def _copy_id(copy: Path) -> str | None:
    """The id of the log that the trainer follows; None before the first row."""
    with closing(read(copy)) as database, suppress(sqlite3.Error, ValueError):
        found = database.execute("SELECT value FROM fact WHERE key = 'log_id'").fetchone()
        return None if found is None else str(UUID(json.loads(found[0])))
    return None


def _copied(copy: Path) -> Iterator[Row]:
    with closing(read(copy)) as database:
        for (payload,) in database.execute("SELECT payload FROM replica_row ORDER BY seq"):
            yield Row.model_validate_json(payload)


def _copy_says(place: Workspace) -> str:
    try:
        with closing(read(place.replica)) as database:
            count = database.execute("SELECT COUNT(*) FROM replica_row").fetchone()[0]
    except sqlite3.Error:
        return ""
    return f" The trainer's copy in {place.replica} still holds {many(count, 'row')} of the log."


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(getattr(error, "orig", None) or error).splitlines()[0].rstrip(".")
