"""Hostile clients, and an honest one next to them: `python -m benchmarks.hostile_clients`.

Both real services run with a token. Each attack runs against each service from its own process for some seconds.
Meanwhile an honest client asks the same service for its health twenty times a second, each time on a new connection.
The table has the memory that the attack cost the service, how long the honest client waited, and what the attacker
received: the status of each answer, `cut` for a connection that ended without one, `open` for one that stayed open.
"""

from __future__ import annotations

import argparse
import http.client
import multiprocessing
import resource
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from benchmarks.machine import describe
from shared.web.auth import TOKEN_VARIABLE, client_headers
from tests.services import COLOURS, Process, wait_for, write_photos

MIB = 2**20
PAUSE = 0.05  # seconds between two requests of the honest client
PATIENCE = 30.0  # seconds that it waits for an answer
TOKEN = secrets.token_urlsafe(32)
BEARER = f"Authorization: {client_headers(TOKEN)['Authorization']}\r\n".encode()
HEALTH = {"labeler": "/api/health", "trainer": "/health"}
ANNOTATIONS = {"labeler": "/api/annotations", "trainer": "/annotations"}


@dataclass(frozen=True)
class Target:
    """A service under attack, and the end of the attack."""

    name: str
    port: int
    until: float

    def head(self, line: str = "", *more: bytes) -> bytes:
        """The start of a request, without its end."""
        line = line or f"GET {HEALTH[self.name]}"
        return f"{line} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n".encode() + b"".join(more)

    def connect(self) -> socket.socket:
        """A new connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    @property
    def is_on(self) -> bool:
        """Whether the attack continues."""
        return time.time() < self.until


# ---------------------------------------------------------------- attacks


def big_header(target: Target) -> Counter[str]:
    """Headers of 90 MB in total, one after the other."""
    return _repeat(target, lambda: _send(target, target.head() + b"x-big: ", b"x" * MIB, 90), threads=4)


def many_headers(target: Target) -> Counter[str]:
    """Heads of 60 MB in small headers."""
    return _repeat(target, lambda: _send(target, target.head(), b"a: b\r\n" * 100_000, 100), threads=4)


def half_heads(target: Target) -> Counter[str]:
    """As many connections as possible with half a request head each."""
    return _hold(target, 3_000, target.head())


def silent(target: Target) -> Counter[str]:
    """As many connections as possible that send nothing."""
    return _hold(target, 3_000, b"")


def unread(target: Target) -> Counter[str]:
    """Connections with hundreds of requests each whose answers nobody reads."""
    return _hold(target, 500, (target.head() + b"\r\n") * 400)


def slow_bodies(target: Target) -> Counter[str]:
    """Bodies of a megabyte that stop arriving, by a client with the token."""
    length = b"Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n["
    return _hold(target, 500, target.head(f"POST {ANNOTATIONS[target.name]}", BEARER, length))


def sockets(target: Target) -> Counter[str]:
    """A thousand WebSockets, by a client with the token."""
    found: Counter[str] = Counter()
    held = []
    for _ in range(1_000):
        with suppress(OSError, WebSocketException, TimeoutError):
            address = f"ws://127.0.0.1:{target.port}/api/events"
            held.append(connect(address, additional_headers=client_headers(TOKEN), open_timeout=10, ping_interval=None))
        if not target.is_on:
            break
    found.update({"open": len(held)} if held else {"refused": 1})
    while target.is_on:
        time.sleep(0.1)
    return found


def stranger_json(target: Target) -> Counter[str]:
    """JSON of 100 MB, by a client without the token."""
    head = target.head(f"POST {ANNOTATIONS[target.name]}", b"Content-Length: 104857600\r\n\r\n")
    return _repeat(target, lambda: _send(target, head, b"{}," * (MIB // 3) + b" ", 100), threads=4)


def big_json(target: Target) -> Counter[str]:
    """JSON of 100 MB, by a client with the token."""
    head = target.head(f"POST {ANNOTATIONS[target.name]}", BEARER, b"Content-Length: 104857600\r\n\r\n")
    return _repeat(target, lambda: _send(target, head, b"{}," * (MIB // 3) + b" ", 100), threads=4)


def allowed_json(target: Target) -> Counter[str]:
    """JSON of 8 MB, the largest accepted, by a client with the token."""
    body = b'{"annotations":[' + b"{}," * 2_700_000 + b"{}]}"
    lines = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    head = target.head(f"POST {ANNOTATIONS[target.name]}", BEARER, b"Connection: close\r\n", lines)
    return _repeat(target, lambda: _send(target, head, body, 1), threads=2)


def wrong_tokens(target: Target) -> Counter[str]:
    """Guessing tokens in parallel."""
    wrong = b"Connection: close\r\nAuthorization: Bearer not-this-one-surely\r\n\r\n"
    return _repeat(target, lambda: _send(target, target.head("GET /api/project", wrong), b"", 0), threads=64)


ATTACKS: list[Callable[[Target], Counter[str]]] = [
    big_header,
    many_headers,
    half_heads,
    silent,
    unread,
    slow_bodies,
    sockets,
    stranger_json,
    big_json,
    allowed_json,
    wrong_tokens,
]


def _repeat(target: Target, once: Callable[[], str], *, threads: int) -> Counter[str]:
    found: Counter[str] = Counter()

    def go_on() -> None:
        while target.is_on:
            heard = once()
            found[heard] += 1

    workers = [threading.Thread(target=go_on, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(max(0.0, target.until - time.time()) + 5)
    return found


def _send(target: Target, head: bytes, piece: bytes, pieces: int) -> str:
    """The answer to one request; it stops sending when it is cut off."""
    try:
        with target.connect() as sock:
            with suppress(ConnectionError):
                sock.sendall(head)
                for _ in range(pieces):
                    if not target.is_on:
                        break
                    sock.sendall(piece)
            sock.settimeout(5)
            said = sock.recv(64)
    except OSError:
        return "cut"
    return said[9:12].decode(errors="replace") or "cut"


def _hold(target: Target, most: int, sent: bytes) -> Counter[str]:
    """Keep up to `most` connections open, reopening those that end; returns their states at the end."""
    held: list[socket.socket] = []
    found: Counter[str] = Counter()
    while target.is_on:
        try:
            sock = target.connect()
            sock.sendall(sent)
            held.append(sock)
        except OSError:
            found["cut"] += 1
        if len(held) >= most:
            time.sleep(0.2)
            held, ended = _still_open(held)
            found += ended
    held, ended = _still_open(held)
    return found + ended + Counter({"open": len(held)})


def _still_open(held: list[socket.socket]) -> tuple[list[socket.socket], Counter[str]]:
    still, ended = [], Counter[str]()
    for sock in held:
        sock.setblocking(False)
        try:
            said = sock.recv(64, socket.MSG_PEEK)
        except BlockingIOError:
            still.append(sock)
            continue
        except OSError:
            said = b""
        if said.startswith(b"HTTP/1.1 200"):
            still.append(sock)
            continue
        ended[said[9:12].decode(errors="replace") or "cut"] += 1
        sock.close()
    return still, ended


# ---------------------------------------------------------------- the honest client


@dataclass
class Seen:
    """Observations of an honest client and the system during an attack."""

    waits: list[float]
    unanswered: int
    grown: int
    heard: Counter[str]

    def cells(self) -> str:
        """Memory, times, and what the attacker received."""
        times = f"{np.median(self.waits) * 1e3:.0f} / {max(self.waits) * 1e3:.0f} ms" if self.waits else "–"
        lost = f", {self.unanswered} unanswered" if self.unanswered else ""
        heard = ", ".join(f"{count:,} {what}" for what, count in self.heard.most_common(4))
        return f"{self.grown / MIB:+.0f} MB | {times}{lost} | {heard or '–'}"


def _watch(service: Process, attack: Callable[[Target], Counter[str]] | None, seconds: float) -> Seen:
    assert service.process is not None
    process = psutil.Process(service.process.pid)
    target = Target(service.name, service.port, time.time() + seconds)
    before = most = process.memory_info().rss
    heard: Counter[str] = Counter()
    waits: list[float] = []
    unanswered = 0
    with _attacking(attack, target) as told:
        while target.is_on:
            began = time.monotonic()
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE)
            try:
                connection.request("GET", HEALTH[service.name])
                connection.getresponse().read()
                waits.append(time.monotonic() - began)
            except (OSError, http.client.HTTPException):
                unanswered += 1
            finally:
                connection.close()
            most = max(most, process.memory_info().rss)
            time.sleep(PAUSE)
        heard = told()
    return Seen(waits, unanswered, most - before, heard)


@contextmanager
def _attacking(attack: Callable[[Target], Counter[str]] | None, target: Target) -> Iterator[Callable[[], Counter[str]]]:
    if attack is None:
        yield Counter
        return
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    attacker = context.Process(target=_attack, args=(attack, target, there), daemon=True)
    attacker.start()

    def told() -> Counter[str]:
        found: Counter[str] = here.recv() if here.poll(20) else Counter()
        return found

    try:
        yield told
    finally:
        attacker.kill()
        attacker.join()


def _attack(attack: Callable[[Target], Counter[str]], target: Target, there: Connection) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    there.send(attack(target))
    time.sleep(60)  # its parent ends it, with all connections


# ---------------------------------------------------------------- both services


@contextmanager
def _services() -> Iterator[list[Process]]:
    with TemporaryDirectory(prefix="flywheel-", ignore_cleanup_errors=True) as folder:
        photos, workspace = Path(folder) / "photos", Path(folder) / "workspace"
        write_photos(photos, 90)
        told = {TOKEN_VARIABLE: TOKEN}
        shared = {"host": "0.0.0.0", "images": photos, "workspace": workspace}
        labeler = Process("labeler", {**shared, "classes": ",".join(COLOURS)}, environment=told, cold=True)
        trainer = Process("trainer", {**shared, "backbone": "pixels"}, environment=told, cold=True)
        labeler.settings["trainer_url"], trainer.settings["labeler_url"] = trainer.url, labeler.url
        try:
            for service in (labeler, trainer):
                service.start()
            yield [labeler, trainer]
        finally:
            for service in (labeler, trainer):
                if service.process is not None and service.process.poll() is None:
                    service.kill()


def main() -> None:
    """Attack, watch, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="seconds of each attack")
    parser.add_argument("--only", nargs="*", default=None, help="attacks by name")
    options = parser.parse_args()
    print(describe("uvicorn", "httptools"))
    print("| attack | service | memory | honest client, p50 / worst | attacker heard |")
    print("|---|---|---:|---:|---|")
    with _services() as services:
        time.sleep(5)  # the pool is embedded by then
        for attack in [None, *ATTACKS]:
            name = attack.__name__.replace("_", " ") if attack else "none"
            if attack and options.only and attack.__name__ not in options.only:
                continue
            for service in services:
                print(f"| {name} | {service.name} | {_watch(service, attack, options.seconds).cells()} |", flush=True)
                wait_for(lambda: not _is_busy(service), "the service", 120)  # noqa: B023 - waited for at once


def _is_busy(service: Process) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE)
    try:
        connection.request("GET", HEALTH[service.name])
        return connection.getresponse().status != http.client.OK
    except (OSError, http.client.HTTPException):
        return True
    finally:
        connection.close()


if __name__ == "__main__":
    main()
