"""Data shared between the labeler's threads is read under the store's lock."""

from __future__ import annotations

import ast
import threading
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from labeler.service import Service
from labeler.web.api import create_api
from shared.wire.imports import ImportPost, ImportRow
from tests.guards import LockOrder, Violations, has_own_lock, held, parts_of
from tests.labeler.followers import following
from tests.labeler.projects import answer, labeler, photos, pushed
from tests.threads_page import out_of_order

PAGES = ("data", "disagreements", "finish", "progress")
ROUTES = (
    "/project",
    "/progress",
    "/history",
    "/settings",
    "/export?format=jsonl&include=history,predictions",
    "/snapshots",
    "/snapshots/then/diff",
    "/images",
    "/images/rejected",
    "/images/missing",
    "/images/1/question?annotator=ann&session=s",
    "/images/1/similar",
    "/queue?annotator=eve&session=s&limit=5",
    "/annotations",
    "/review",
    "/oddities",
    "/grid",
    "/grid/images?ids=1,2,3",
    "/clusters",
    "/map",
    "/people",
    "/agreement",
    "/disagreements",
    "/disagreements?kind=settled",
    "/metrics",
)


def script(name: str) -> None:
    from importlib import import_module

    from labeler.ui.parts import components

    components.bar(asks=True)
    import_module(f"labeler.ui.{name}").page()


def lived_in(service: Service) -> None:
    """A project with some of everything that routes and pages show."""
    for image_id in range(1, 7):
        service.annotate([answer(image_id, "cat", annotator="ann"), answer(image_id, "dog", annotator="bob")])
    service.annotate([answer(1, "cat", action="settle", annotator="boss")])
    service.catalog.move([7], "validation")


def test_nothing_shared_is_iterated_without_the_lock(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 12)
    with following() as (follower, url), labeler(tmp_path, overlap=2, trainer_url=url) as service:
        lived_in(service)
        (tmp_path / "photos" / "0002.png").unlink()
        service.scanner.start()
        service.scanner.wait(30)
        follower.model_version, follower.said = "m1", dict.fromkeys(range(1, 13), (1, 0.9))
        follower.groups = [[1, 2, 3], [4, 5]]
        assert service.outbox.flush(20)
        violations = Violations(held(service.store.lock))
        with service.store.lock:
            for part in parts_of(service, ("labeler.", "shared.log", "shared.tasks")):
                if not has_own_lock(part):
                    violations.guard(part)
        order = LockOrder()
        order.record(parts_of(service, ("labeler.", "shared.")))
        with TestClient(create_api(service)) as client:
            client.post("/snapshots", json={"name": "then", "annotator": "ann"}).raise_for_status()
            service.push(pushed(service, [8, 9, 10]))
            service.annotate([answer(8), answer(9, "dog")])
            client.post("/annotations", json={"annotations": []})
            for route in ROUTES:
                response = client.get(route)
                assert response.status_code in (200, 409), (route, response.text)
            client.post("/splits", json={"by": "class", "test": 0.2, "validation": 0.2, "annotator": "ann"})
            client.post("/snapshots/then/restore", json={"annotator": "ann"}).raise_for_status()
            client.post("/classes", json={"name": "owl"}).raise_for_status()
        service.imports.take(ImportPost(rows=[ImportRow(line=1, uri="0010.png", label="owl")]))
        for name in PAGES:
            page = AppTest.from_function(script, default_timeout=60, kwargs={"name": name}).run()
            assert not page.exception, name
        service.scanner.start()
        service.scanner.wait(30)
        assert violations.found == []
        assert ("Store.lock", "LogSender._changed") in order.pairs
        assert out_of_order(order.pairs) == []


def test_of_two_people_who_settle_at_once_the_first_decides(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path, overlap=2) as service:
        service.annotate([answer(1, "cat", annotator="ann"), answer(1, "dog", annotator="bob")])
        written: list[bool] = []

        def settle(who: str) -> None:
            written.append(service.disagreements.settle(answer(1, "cat", action="settle", annotator=who)))

        both = [threading.Thread(target=settle, args=(who,)) for who in ("ann", "bob")]
        with service.store.lock:
            for each in both:
                each.start()
            time.sleep(0.1)  # both have come as far as they can
        for each in both:
            each.join()
        assert sorted(written) == [False, True]
        assert len(service.log.latest("settle", 10)) == 1


def test_a_scan_that_begins_while_somebody_looks_leaves_a_view_that_can_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time left divides by the files done, which the next folder sets to none."""
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path) as service:
        scanner, monotonic = service.scanner, time.monotonic
        asked, looked = threading.Event(), threading.Event()
        scanner.ask(lambda: (asked.set(), looked.wait(30)))  # type: ignore[func-returns-value]
        assert asked.wait(30)

        def begin_meanwhile() -> float:
            monkeypatch.setattr(time, "monotonic", monotonic)
            scanner.scan("uploads")
            return monotonic()

        monkeypatch.setattr(time, "monotonic", begin_meanwhile)
        try:
            view = scanner.view()
        finally:
            looked.set()
        assert view.running
        assert (view.done, view.total) == (3, 3)


def test_pages_and_routes_ask_a_room_instead_of_reading_what_a_lock_guards() -> None:
    home = Path(__file__).resolve().parents[2] / "labeler"
    modules = [*(home / "ui").rglob("*.py"), *(home / "web").rglob("*.py")]
    reading = [
        f"{path.relative_to(home)}:{node.lineno}"
        for path in modules
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"fold", "tally", "leases"}
    ]
    assert modules
    assert reading == []
