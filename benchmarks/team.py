"""Fifty people and ten browser pages label at once on SQLite and on PostgreSQL: `python -m benchmarks.team`.

Each person asks for images, thinks for about a second and a half, and posts an answer, over HTTP as a page does. A
script presses keys at the same pace on real pages (`--pages 0`: none), which reach the labeler through a load balancer.
On PostgreSQL a second labeler stands by; halfway, the first is killed (`kill -9`) and everybody goes on with the
second. On SQLite the labeler is killed as well, and started again. The table shows the duration of a post, and the
seconds without an answer at the kill. The exit code is 1 if an image was leased to two people at once, or if an answer
that was confirmed, or that a page counted as given, is missing or stored twice.
"""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.machine import describe, p50_p95
from benchmarks.team_pages import LoadBalancer, Pages
from shared.web.auth import TOKEN_VARIABLE, client_headers
from tests.postgresql import server
from tests.services import Process, wait_for, write_photos

BUFFER = 3
"""Images that a page holds."""
THINK_SECONDS = 1.5
PATIENCE_SECONDS = 60.0
TOKEN = secrets.token_urlsafe(32)
"""With a token, a page may reach the labeler at another address than its own."""


@dataclass
class Office:
    """State shared by all people: the labeler's address, and what happened so far."""

    urls: list[str]
    posts: list[float] = field(default_factory=list)  # ms
    questions: list[float] = field(default_factory=list)  # ms
    confirmed: set[str] = field(default_factory=set)
    held: dict[int, str] = field(default_factory=dict)
    pages: list[str] = field(default_factory=list)  # answers that browser pages counted as given
    painted: list[float] = field(default_factory=list)  # ms from a key to the next image
    twice: int = 0  # images that two people held at once
    silent: float = 0.0  # longest time in which nobody got an answer, seconds
    last: float = field(default_factory=time.monotonic)
    statuses: Counter[int] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answered(self) -> None:
        """Record that somebody got an answer."""
        now = time.monotonic()
        self.silent, self.last = max(self.silent, now - self.last), now

    def take(self, person: str, image_ids: list[int]) -> None:
        """Record the images that this person's page shows now."""
        with self.lock:
            for image_id in [each for each, who in self.held.items() if who == person and each not in image_ids]:
                del self.held[image_id]
            for image_id in image_ids:
                self.twice += self.held.get(image_id, person) != person
                self.held[image_id] = person


class Person(threading.Thread):
    """Somebody who labels until `ended`, and sends an answer again until it is confirmed."""

    def __init__(self, name: str, office: Office, ended: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self._office, self._ended, self._rng = office, ended, random.Random(name)
        self._client = httpx.Client(timeout=10, headers=client_headers(TOKEN))

    def run(self) -> None:
        """Label."""
        time.sleep(self._rng.uniform(0, THINK_SECONDS))
        keep: list[int] = []
        while not self._ended.is_set():
            asked = {"annotator": self.name, "session": self.name, "limit": BUFFER, "keep": keep}
            page, took = self._until_answered("GET", "/api/queue", params=asked)
            self._office.questions.append(took)
            ids = [each["image_id"] for each in page["items"]]
            self._office.take(self.name, ids)
            if not ids:
                return
            time.sleep(self._rng.expovariate(1 / THINK_SECONDS))
            answer = {
                "id": str(uuid4()),
                "image_id": ids[0],
                "action": "label",
                "label": "one",
                "annotator": self.name,
                "session": self.name,
            }
            _, took = self._until_answered("POST", "/api/annotations", json={"annotations": [answer]})
            with self._office.lock:
                self._office.posts.append(took)
                self._office.confirmed.add(answer["id"])
            keep = ids[1:]

    def _until_answered(self, method: str, path: str, **sent: Any) -> tuple[Any, float]:
        """Retry until there is an answer; returns it with the milliseconds of the successful request."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            for url in self._office.urls:
                began = time.perf_counter()
                try:
                    got = self._client.request(method, url + path, **sent)
                except httpx.HTTPError:
                    continue
                self._office.statuses[got.status_code] += 1
                if got.is_success:
                    self._office.answered()
                    return got.json(), (time.perf_counter() - began) * 1e3
                if got.status_code < 500:
                    raise AssertionError(got.text)
            if time.monotonic() > end:
                raise AssertionError(f"{path} got no answer")
            time.sleep(0.2)


def measured(folder: Path, database: str, people: int, pages: int, seconds: float, images: int) -> Office:
    """One run, with a kill in its middle. An empty `database` is SQLite."""
    write_photos(folder / "photos", images)
    labelers = [_labeler(folder, name, database) for name in (("first", "second") if database else ("first",))]
    labelers[0].start()
    try:
        wait_for(lambda: _scanned(labelers[0].url, images), "the scan", 600)
        for standby in labelers[1:]:
            standby.start(wait=False)
            wait_for(lambda: _get(f"{labelers[1].url}/api/health").status_code == 503, "a labeler on standby")
        ended = threading.Event()
        balancer = LoadBalancer([each.port for each in labelers])
        balancer.start()
        browser = Pages(balancer.url, TOKEN, pages, THINK_SECONDS, ended)
        browser.start()
        browser.opened.wait()
        office = Office([each.url for each in labelers])
        everybody = [Person(f"person{number}", office, ended) for number in range(people)]
        for person in everybody:
            person.start()
        time.sleep(seconds / 2)
        labelers[0].kill()
        if not database:
            labelers[0].start(wait=False)
        time.sleep(seconds / 2)
        ended.set()
        for person in everybody:
            person.join(PATIENCE_SECONDS)
        browser.join(2 * PATIENCE_SECONDS)
        assert browser.error is None, browser.error
        office.pages, office.painted = browser.answers, browser.painted
        stored = Counter(_stored(labelers[-1].url))
        missing = (office.confirmed | set(office.pages)) - stored.keys()
        assert not missing, f"{len(missing)} answers are missing"
        assert set(stored.values()) <= {1}, "an answer is stored twice"
        return office
    finally:
        for each in labelers:
            if each.process is not None:
                each.kill()


def _labeler(folder: Path, name: str, database: str) -> Process:
    settings: dict[str, Any] = {
        "workspace": folder / name,
        "images": folder / "photos",
        "classes": '["zero", "one"]',
        "test_set_frac": 0.0,
        "trainer_url": "http://127.0.0.1:9",
    }
    stored_in = {"database_url": database} if database else {}
    return Process("labeler", settings | stored_in, environment={TOKEN_VARIABLE: TOKEN})


def _scanned(url: str, images: int) -> bool:
    return bool(_get(f"{url}/api/project").json()["images"]["total"] == images)


def _get(url: str, **params: Any) -> httpx.Response:
    return httpx.get(url, params=params, headers=client_headers(TOKEN), timeout=30)


def _stored(url: str) -> list[str]:
    ids, after = list[str](), 0
    while rows := _get(f"{url}/api/annotations", after=after).json()["annotations"]:
        ids += [row["id"] for row in rows if row["action"] == "label"]
        after = rows[-1]["seq"]
    return ids


def main() -> int:
    """Run both and show them side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--pages", type=int, default=10, help="browser pages beside them")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--images", type=int, default=5_000)
    chosen = parser.parse_args()
    console = Console()
    console.print(describe("sqlalchemy", "psycopg"), highlight=False)
    table = Table("labels in", "answers", "post", "question", "silent", "leased twice", "on pages", "key to image")
    table.caption = (
        "p50 / p95 of a post, a question, and from a key to the next image; silent: longest without an answer"
    )
    bad = 0
    for name, database in (("SQLite", ""), ("PostgreSQL", server().new_database())):
        with tempfile.TemporaryDirectory(prefix="flywheel-team-", ignore_cleanup_errors=True) as folder:
            office = measured(Path(folder), database, chosen.people, chosen.pages, chosen.seconds, chosen.images)
        bad += office.twice
        table.add_row(
            name,
            f"{len(office.confirmed):,}",
            p50_p95(office.posts),
            p50_p95(office.questions),
            f"{office.silent:.1f} s",
            str(office.twice),
            f"{len(office.pages):,}",
            p50_p95(office.painted),
        )
    console.print(table)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
