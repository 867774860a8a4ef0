"""Databases of one process compile each SQL statement once, and not once a database: a test opens one or more, and
compiling takes a third of what opening a labeler costs."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import URL, Engine
from sqlalchemy import create_engine as made

from shared.storage import database


@cache
def compile_once() -> None:
    """Share SQLAlchemy's cache of compiled statements among all databases of a kind that this process opens."""
    first = {"sqlite": made("sqlite://")}
    first["sqlite"].connect().close()  # the dialect then knows what this SQLite can do

    def create_engine(url: URL, **choices: Any) -> Engine:
        engine = made(url, **choices)
        known = first.get(engine.dialect.name)
        if known is not None and known.dialect.server_version_info:
            engine.dialect, engine._compiled_cache = known.dialect, known._compiled_cache
        else:
            first[engine.dialect.name] = engine  # the next one shares its cache if it has met a server by then
        return engine

    database.create_engine = create_engine  # type: ignore[attr-defined, assignment]
