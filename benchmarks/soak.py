"""One hour of all kinds of trouble at once: `python -m benchmarks.soak`; `--minutes 5` is the short version.

Both real services run on a small disk. Each is killed at random, the disk is full for a while and free again, and the
network between the two delays, swallows, cuts and resets. Meanwhile 20 people label, undo, skip, answer many images at
once and resend unconfirmed answers with the same ids. At the end everything works again, the log is compared with the
confirmed answers, and one table shows the result. The exit code is 1 if a label was lost or doubled, if the trainer's
copy differs, or if `flywheel doctor` finds anything wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.machine import describe
from tests.disks import SmallDisk, small_disk
from tests.network import FAULTS, Proxy
from tests.services import HOME, Process, Services, running_services, wait_for

PEOPLE = 20
PATIENCE_SECONDS = 120.0  # until everything works again after the trouble ends
_LINE = re.compile(r"(labeler|trainer) (WARNING|ERROR|CRITICAL) ([\w.]+): (.*)")


@dataclass
class Ledger:
    """Confirmed answers of all people together."""

    answers: set[str] = field(default_factory=set)
    undos: set[str] = field(default_factory=set)
    repeats: int = 0  # requests sent again with the same ids
    full: int = 0  # 507 answers
    other: Counter[int] = field(default_factory=Counter)  # statuses that nobody should see
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class Outages:
    """Records faults, and how long each recovery took."""

    kills: Counter[str] = field(default_factory=Counter)
    full: int = 0
    network: Counter[str] = field(default_factory=Counter)
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    refused_starts: int = 0

    def recovered(self, what: str, seconds: float) -> None:
        """Record the seconds until `what` worked again."""
        self.recoveries.setdefault(what, []).append(seconds)


class Person(threading.Thread):
    """Somebody who labels until told to stop and resends unconfirmed answers with the same ids."""

    def __init__(
        self, name: str, services: Services, names: dict[int, str], ledger: Ledger, ended: threading.Event
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._services, self._names, self._ledger, self._ended = services, names, ledger, ended
        self._rng = random.Random(name)
        self._ids = sorted(names)

    def run(self) -> None:
        """Label until told to stop."""
        with httpx.Client(base_url=self._services.labeler.url, headers=self._services.headers, timeout=10) as http:
            while not self._ended.is_set():
                chance = self._rng.random()
                if chance < 0.08:
                    self._undo(http)
                elif chance < 0.14:
                    many = self._rng.sample(self._ids, 8)
                    self._answer(http, [self._one(each, source="grid") for each in many])
                else:
                    self._answer(http, [self._one(self._asked(http), skip=chance > 0.95)])
                time.sleep(self._rng.uniform(0.05, 0.6))

    def _asked(self, http: httpx.Client) -> int:
        """The image that the queue asks about, or any image if the queue is empty or away."""
        try:
            query: dict[str, str | int] = {"annotator": self.name, "session": self.name, "limit": 1}
            items = http.get("/api/queue", params=query).raise_for_status().json()["items"]
        except httpx.HTTPError:
            items = []
        return int(items[0]["image_id"]) if items else self._rng.choice(self._ids)

    def _one(self, image_id: int, *, skip: bool = False, source: str | None = None) -> dict[str, Any]:
        label = None if skip else self._services.truth[self._names[image_id]]
        action = "skip" if skip else "label"
        given = {"id": str(uuid4()), "image_id": image_id, "action": action, "label": label, "annotator": self.name}
        return given | ({"source": source} if source else {})

    def _answer(self, http: httpx.Client, answers: list[dict[str, Any]]) -> None:
        while answers:
            answer = self._send(http, "/api/annotations", {"annotations": answers})
            if answer is None or answer.status_code != 422:
                break
            refused = {each["id"] for each in answer.json().get("invalid", [])}  # held out: not in the grid
            answers = [each for each in answers if each["id"] not in refused] if refused else []
        else:
            return
        if answer is not None and answer.is_success:
            with self._ledger.lock:
                self._ledger.answers |= {each["id"] for each in answers}
            if self._rng.random() < 0.1:  # as if the response had been lost
                self._send(http, "/api/annotations", {"annotations": answers})

    def _undo(self, http: httpx.Client) -> None:
        undo = {"id": str(uuid4()), "annotator": self.name, "session": self.name}
        answer = self._send(http, "/api/undo", undo)
        if answer is not None and answer.is_success:
            with self._ledger.lock:
                self._ledger.undos.add(undo["id"])

    def _send(self, http: httpx.Client, path: str, body: dict[str, Any]) -> httpx.Response | None:
        """The first final answer, however long it takes; None for what is left at the end."""
        tries = 0
        while True:
            if tries and self._ended.wait(min(0.1 * 2**tries, 2.0)) and tries > 100:
                return None
            tries += 1
            with self._ledger.lock:
                self._ledger.repeats += tries > 1
            try:
                answer = http.post(path, json=body)
            except httpx.HTTPError:
                continue
            if answer.status_code < 500:
                if answer.status_code not in (200, 404, 409, 422):
                    self._ledger.other[answer.status_code] += 1
                return answer
            with self._ledger.lock:
                if answer.status_code == 507:
                    self._ledger.full += 1
                else:
                    self._ledger.other[answer.status_code] += 1


def kill_now_and_then(services: Services, outages: Outages, ended: threading.Event) -> None:
    """Kill either service at a random moment and start it again, until it starts."""
    rng = random.Random(1)
    while not ended.wait(rng.uniform(4, 15)):
        process = rng.choice([services.labeler, services.trainer])
        process.kill()
        outages.kills[process.name] += 1
        began = time.monotonic()
        start_again(process, services, outages)
        outages.recovered(f"{process.name} killed → answers", time.monotonic() - began)


def start_again(process: Process, services: Services, outages: Outages) -> None:
    """Start a service like a supervisor: again whenever it ends, as it may on a full disk."""
    path = "/api/health" if process.name == "labeler" else "/health"
    while True:
        process.start(wait=False)
        while process.process is not None and process.process.poll() is None:
            try:
                httpx.get(process.url + path, headers=services.headers, timeout=5).raise_for_status()
            except httpx.HTTPError:
                time.sleep(0.1)
            else:
                return
        outages.refused_starts += 1
        time.sleep(0.5)


def fill_now_and_then(disk: SmallDisk, services: Services, outages: Outages, ended: threading.Event) -> None:
    """Fill the disk for a while."""
    rng = random.Random(2)
    while not ended.wait(rng.uniform(10, 30)):
        disk.fill(services.labeler, services.trainer)
        outages.full += 1
        ended.wait(rng.uniform(4, 12))
        disk.free()
        began, kills = time.monotonic(), outages.kills.total()
        if wait_or_not(lambda: services.get("/api/project")["disk"] is None, ended) and kills == outages.kills.total():
            outages.recovered("disk free → labeler says so", time.monotonic() - began)


def break_now_and_then(proxies: list[Proxy], services: Services, outages: Outages, ended: threading.Event) -> None:
    """Disturb the network between the services for a while."""
    rng = random.Random(3)
    while not ended.wait(rng.uniform(3, 10)):
        proxy, fault = rng.choice(proxies), rng.choice(FAULTS)
        proxy.become(fault)
        outages.network[fault] += 1
        ended.wait(rng.uniform(2, 8))
        proxy.become(None)
        began, kills, goal = time.monotonic(), outages.kills.total(), last_seq(services)
        there = wait_or_not(lambda goal=goal: services.status()["acked_seq"] >= goal, ended)  # type: ignore[misc]
        if there and kills == outages.kills.total():  # otherwise this would measure a start
            outages.recovered("network back → trainer has the log", time.monotonic() - began)


def last_seq(services: Services) -> int:
    """Length of the log; 0 while no service answers."""
    try:
        return int(services.get("/api/project")["last_seq"])
    except (httpx.HTTPError, KeyError):
        return 0


def wait_or_not(condition: Callable[[], bool], ended: threading.Event) -> bool:
    """Whether the condition was met before the end."""
    while not ended.wait(0.1):
        try:
            if condition():
                return True
        except (httpx.HTTPError, KeyError):
            continue
    return False


def megabytes_of(process: Process) -> float:
    """Resident memory of the process."""
    assert process.process is not None
    said = Path(f"/proc/{process.process.pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", said)
    return int(found[1]) / 1_000 if found else float("nan")


def errors_in(lines: list[str]) -> Counter[str]:
    """Warnings and errors by kind: service, level, room, and text without numbers and paths."""
    found: Counter[str] = Counter()
    for line in lines:
        if match := _LINE.search(line):
            words = re.sub(r"/\S+|[0-9a-f]{8}-\S+|[\d.,:]+", "…", match[4])
            found[f"{match[1]} {match[2].lower()} {match[3]}: {words[:70]}"] += 1
        elif line.startswith("Traceback"):
            found["Traceback"] += 1
    return found


def main() -> int:
    """Run, check, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--megabytes", type=int, default=256, help="size of the disk")
    options = parser.parse_args()
    console = Console(width=150)
    console.print(describe("sqlalchemy"))
    proxies, ledger, outages, ended = [Proxy(), Proxy()], Ledger(), Outages(), threading.Event()
    with (
        tempfile.TemporaryDirectory(prefix="flywheel-soak-") as folder,
        small_disk(Path(folder) / "disk", options.megabytes) as disk,
        running_services(
            images=options.images,
            workspace=disk.folder / "workspace",
            token=secrets.token_urlsafe(24),
            labeler={"buffer_size": 5, "trainer_url": proxies[0].url},
            trainer={"labeler_url": proxies[1].url, "challenger": "off"},
        ) as services,
    ):
        proxies[0].target, proxies[1].target = services.trainer.port, services.labeler.port
        wait_for(services.caught_up, "the trainer")
        names = services.names()
        people = [Person(f"person-{n}", services, names, ledger, ended) for n in range(PEOPLE)]
        before = {each.name: megabytes_of(each) for each in (services.labeler, services.trainer)}
        troubles = [
            threading.Thread(target=kill_now_and_then, args=(services, outages, ended)),
            threading.Thread(target=fill_now_and_then, args=(disk, services, outages, ended)),
            threading.Thread(target=break_now_and_then, args=(proxies, services, outages, ended)),
        ]
        for each in (*people, *troubles):
            each.start()
        time.sleep(60 * options.minutes)
        ended.set()
        for thread in troubles:
            thread.join()
        disk.free()
        began = time.monotonic()
        for person in people:
            person.join(PATIENCE_SECONDS)
        wait_for(services.caught_up, "the trainer", PATIENCE_SECONDS)
        outages.recovered("end of all trouble → trainer has the log", time.monotonic() - began)
        after = {each.name: megabytes_of(each) for each in (services.labeler, services.trainer)}
        rows = services.rows()
        lines = [*services.labeler.log, *services.trainer.log]
        for process in (services.labeler, services.trainer):
            process.end()
        verdict = doctor(services.workspace)
        logs = sum(path.stat().st_size for path in (services.workspace / "logs").iterdir())
    for proxy in proxies:
        proxy.close()
    return report(console, options.minutes, ledger, outages, rows, (before, after), lines, logs, verdict)


def doctor(workspace: Path) -> dict[str, Any]:
    """The findings of `flywheel doctor`."""
    command = [sys.executable, "flywheel.py", "doctor", "--json", "--workspace", str(workspace)]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=False)
    return dict(json.loads(done.stdout)) if done.stdout else {"healthy": False, "findings": [{"what": done.stderr}]}


def report(
    console: Console,
    minutes: float,
    ledger: Ledger,
    outages: Outages,
    rows: list[dict[str, Any]],
    memory: tuple[dict[str, float], dict[str, float]],
    lines: list[str],
    logs: int,
    verdict: dict[str, Any],
) -> int:
    """Print the table; returns the exit code."""
    written = Counter(row["id"] for row in rows)
    confirmed = ledger.answers | ledger.undos
    lost = confirmed - written.keys()
    doubled = [row_id for row_id, count in written.items() if count > 1]
    dense = [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    table = Table(show_header=False, title=f"{minutes:g} minutes, {PEOPLE} people")
    table.add_row("answers confirmed", f"{len(ledger.answers):,}, and {len(ledger.undos):,} undos")
    table.add_row("lost / doubled", f"{len(lost)} / {len(doubled)}; the log is {'dense' if dense else 'NOT dense'}")
    table.add_row("requests sent again", f"{ledger.repeats:,}; {ledger.full:,} answered 507")
    table.add_row("other refusals", ", ".join(f"{status}: {n}" for status, n in ledger.other.items()) or "none")
    kills = ", ".join(f"{name} {count}" for name, count in sorted(outages.kills.items()))
    table.add_row("kills −9", f"{kills}; {outages.refused_starts} starts ended at once")
    table.add_row("full disk", f"{outages.full} times")
    table.add_row("network", ", ".join(f"{name} {count}" for name, count in sorted(outages.network.items())))
    for what, seconds in sorted(outages.recoveries.items()):
        table.add_row(f"worst recovery: {what}", f"{max(seconds):.1f} s of {len(seconds)}")
    for name, megabytes in memory[0].items():
        table.add_row(f"memory of the {name}", f"{megabytes:.0f} → {memory[1][name]:.0f} MB")
    table.add_row("logs", f"{logs:,} bytes")
    for kind, count in errors_in(lines).most_common(25):
        table.add_row("in the log", f"{count} × {kind}")
    table.add_row("flywheel doctor", "healthy" if verdict["healthy"] else "NOT healthy")
    for finding in verdict["findings"]:
        table.add_row("", str(finding["what"]))
    console.print(table)
    return 0 if not lost and not doubled and dense and verdict["healthy"] else 1


if __name__ == "__main__":
    sys.exit(main())
