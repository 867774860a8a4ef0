"""Small workspaces with real images and a real labeler, for the tests of this room."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from PIL import Image
from sqlalchemy import Engine, event

from labeler.service import Service
from labeler.store.database import Store, database_url, migrate
from shared.settings.services import LabelerSettings
from shared.settings.starting import remember_task
from shared.storage.database import open_engine, write
from shared.wire.log import Annotation
from shared.wire.queries import Query, QueryPush
from tests.databases import compile_once

compile_once()
NOBODY = "http://127.0.0.1:9"  # a port on which nothing answers


def photo(path: Path, shade: int, size: tuple[int, int] = (16, 12)) -> Path:
    """An image of this shade. Images of different shades are no duplicates."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade % 256, shade // 256, 100)).save(path)
    return path


def photos(folder: Path, count: int) -> Path:
    """A folder of `count` images: 0000.png, 0001.png, …"""
    for number in range(count):
        photo(folder / f"{number:04d}.png", number)
    return folder


def settings(tmp: Path, **values: Any) -> LabelerSettings:
    """Settings of a workspace in `tmp`; images are in `tmp/photos`, and none is held out."""
    given = {
        "workspace": tmp / "workspace",
        "images": str(tmp / "photos"),
        "classes": ["cat", "dog"],
        "trainer_url": NOBODY,
        "test_set_frac": 0.0,
        "port": 0,
    } | values
    return LabelerSettings.load(command_line=given)[0]


@cache
def new_database() -> bytes:
    """The file of a database that holds no row yet. Its migrations cost a third of what opening a labeler costs."""
    with tempfile.TemporaryDirectory() as folder:
        empty = settings(Path(folder))
        Store(empty).close()
        return Path(database_url(empty).removeprefix("sqlite:///")).read_bytes()


@cache
def new_database_of_server() -> str:
    """The address of such a database in the server of this process."""
    from tests.postgresql import server  # takes seconds to start

    address = server().new_database()
    engine = open_engine(address)
    with write(engine) as connection:
        migrate(connection)
    engine.dispose()
    return address


_database_of: Callable[[Path], str] | None = None
"""Where the labeler of a workspace keeps its labels; None: in the workspace."""


@contextmanager
def on_postgresql() -> Iterator[None]:
    """In the block, all labelers of this process keep their labels on a real server, one database per workspace."""
    global _database_of
    from tests.postgresql import server

    _database_of = cache(lambda _workspace: server().new_database(like=new_database_of_server()))
    try:
        yield
    finally:
        _database_of = None


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """Collects the SQL statements that this thread executes in the block."""
    thread, executed = threading.get_ident(), list[str]()

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if threading.get_ident() == thread:
            executed.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield executed
    finally:
        event.remove(engine, "before_cursor_execute", note)


@contextmanager
def labeler(tmp: Path, **values: Any) -> Iterator[Service]:
    """A running labeler that has scanned its folder."""
    if _database_of is not None:
        values = {"database_url": _database_of(values.get("workspace", tmp))} | values
    chosen = settings(tmp, **values)
    database = chosen.workspace / "flywheel.db"
    if not chosen.database_url and not database.exists():
        remember_task(chosen)
        database.parent.mkdir(parents=True, exist_ok=True)
        database.write_bytes(new_database())
    service = Service(chosen)
    service.start()
    try:
        service.scanner.wait(30)
        yield service
    finally:
        service.close()


def answer(image_id: int, label: int | str | None = "cat", **values: Any) -> Annotation:
    """A label, unless `action` says otherwise."""
    content = {"id": uuid4(), "image_id": image_id, "action": "label", "label": label, "annotator": "ann"} | values
    return Annotation.model_validate(content)


def classes(
    image_id: int, yes: Sequence[int | str] = (), no: Sequence[int | str] = (), *, merge: bool = False, **values: Any
) -> Annotation:
    """An answer in a multi-label project."""
    given = {"yes": list(yes), "no": list(no)} | ({"merge": True} if merge else {})
    return answer(image_id, None, answer=given, **values)


def boxes(image_id: int, *given: Sequence[Any], **values: Any) -> Annotation:
    """An answer in a detection project: each box is (class, x, y, w, h) or (class, x, y, w, h, origin)."""
    names = ("label", "x", "y", "w", "h", "origin")
    said: dict[str, Any] = {"boxes": [dict(zip(names, each, strict=False)) for each in given]}
    return answer(image_id, None, answer=said, **values)


def pushed(service: Service, image_ids: list[int], **values: Any) -> QueryPush:
    """A list that names these images, made with all of the log seen."""
    queries = [
        Query(image_id=image_id, score=1 / place, reason="far from all") for place, image_id in enumerate(image_ids, 1)
    ]
    content = {
        "id": uuid4(),
        "log_id": service.log.log_id,
        "model_version": "m1",
        "acked_seq": service.log.last_seq,
        "strategy": "margin",
        "queries": queries,
    } | values
    return QueryPush.model_validate(content)


def asked(service: Service, annotator: str = "ann", limit: int = 1_000) -> list[int]:
    """Images that the queue gives, in order; the leases are given back."""
    page = service.serve(annotator, "looking", limit)
    service.leases.free("looking")
    return [item.image_id for item in page.items]
