"""A large pool in both real services, from the scan to a restart: `python -m benchmarks.one_process`.

    python -m benchmarks.one_process --images 100000
    python -m benchmarks.one_process --images 300000 --against HEAD~1   # before and after, in one run
    python -m benchmarks.one_process --busy 8   # while eight other processes compute
    python -m benchmarks.one_process --pages    # and open the grid and the map in a browser

It writes tiny PNG files, each with another content, and a file of their vectors, so that no network is measured. A
client answers batches of 10 over HTTP. After each, it waits until the queue's order comes from a model that has seen
the batch. Then it asks for the queue while another client lists the grid, and for the grid and the map as a page does.
At the end both services are ended and started again. Memory is what the process owns itself (`RssAnon`), and with the
pages of mapped files, which the system takes back when it needs them. The processor time says what a busy machine
hides. Each request waits several times for a core, so `--busy` says what a question costs on a machine that others use.
With `--pages`, a Chromium that has visited the labeler before opens both pages: a grid counts as painted once its first
image is decoded, a map once its points are drawn.
"""

from __future__ import annotations

import argparse
import os
import re
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import psutil
from playwright.sync_api import sync_playwright

from benchmarks.machine import describe, p50_p95
from tests.browser.card import arrive, launch
from tests.services import free_port, wait_for

CLASSES, A_FOLDER = 10, 10_000
HOME = Path(__file__).resolve().parent.parent
COLUMNS = (
    "scan",
    "first list",
    "all embedded",
    "processor time so far",
    "batch → new order",
    "processor time for it",
    "queue",
    "queue beside the grid",
    "grid",
    "map",
    "grid painted",
    "map painted",
    "trainer's memory",
    "labeler's memory",
    "restart",
)


class Service:
    """A service, run from the checkout `tree`."""

    def __init__(self, name: str, tree: Path, settings: dict[str, Any], log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.peak_own = self.peak = 0
        self.name, self._tree, self._log = name, tree, log
        self.settings = settings

    def start(self) -> None:
        """Start the process."""
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in self.settings.items()]
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.name, f"--port={self.port}", *flags],
                cwd=self._tree,
                env={**os.environ, "PYTHONPATH": str(self._tree)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def look(self) -> None:
        """Note its memory."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return
        own, whole = (int(found[1]) if (found := re.search(rf"{key}:\s+(\d+)", status)) else 0 for key in KEYS)
        self.peak_own, self.peak = max(self.peak_own, own), max(self.peak, whole)

    def seconds(self) -> float:
        """The processor time that it has used."""
        return float(sum(psutil.Process(self._process.pid).cpu_times()[:2]))

    def memory(self) -> str:
        """Its peak memory so far."""
        return f"{self.peak_own / 1e6:.2f} ({self.peak / 1e6:.2f}) GB"

    def end(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)


KEYS = ("RssAnon", "VmRSS")


def main() -> None:
    """Measure each checkout and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--values", type=int, default=256, help="length of a vector")
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--busy", type=int, default=0, help="processes that compute beside the questions")
    parser.add_argument("--pages", action="store_true", help="also open grid and map in a browser")
    parser.add_argument("--against", help="a commit to measure first")
    parser.add_argument("--folder", type=Path, help="where images and vectors are kept for the next run")
    given = parser.parse_args()
    print(f"{given.images:,} images of {given.values} values. {describe('numpy', 'fastapi')}", flush=True)
    with tempfile.TemporaryDirectory(prefix="flywheel-large-", ignore_cleanup_errors=True) as temporary:
        data = given.folder or Path(temporary)
        write(data, given.images, given.values)
        rows = []
        if given.against:
            tree = _checkout(given.against, Path(temporary))
            rows.append((given.against, measure(tree, data, Path(temporary) / "before", given)))
        rows.append(("this", measure(HOME, data, Path(temporary) / "after", given)))
        print(f"\n| | {' | '.join(name for name, _ in rows)} |\n|---|{'---:|' * len(rows)}")
        for name in COLUMNS:
            print(f"| {name} | {' | '.join(found.get(name, '–') for _, found in rows)} |")


def measure(tree: Path, data: Path, workspace: Path, given: argparse.Namespace) -> dict[str, str]:
    """One column of the table."""
    batches = given.batches
    workspace.mkdir()
    log = workspace.parent / f"{workspace.name}.log"
    shared = {"images": data / "photos", "workspace": workspace}
    labeler = Service("labeler", tree, {**shared, "classes": ",".join(map(str, range(CLASSES)))}, log)
    trainer = Service("trainer", tree, {**shared, "embeddings": data / "vectors.npy", "challenger": "off"}, log)
    labeler.settings["trainer_url"], trainer.settings["labeler_url"] = trainer.url, labeler.url
    both, found = (labeler, trainer), dict[str, str]()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            for each in both:
                each.look()

    threading.Thread(target=watch, daemon=True).start()
    try:
        _whole(found, *both)
        with httpx.Client(base_url=labeler.url, timeout=120) as page:
            found["processor time so far"] = ", ".join(f"{each.name} {each.seconds():.0f} s" for each in both)
            _note("processor time so far", found)
            before = [each.seconds() for each in both]
            found["batch → new order"] = p50_p95([_batch(page) for _ in range(batches)])
            _note("batch → new order", found)
            took = [(each.seconds() - began) / batches for each, began in zip(both, before, strict=True)]
            found["processor time for it"] = ", ".join(
                f"{each.name} {1e3 * seconds:.0f} ms" for each, seconds in zip(both, took, strict=True)
            )
            _note("processor time for it", found)
            with _computing(given.busy):
                found["queue"] = p50_p95([_timed(page, QUEUE) for _ in range(200)], digits=1)
                _note("queue", found)
                with _listing(labeler.url):
                    beside = [_timed(page, QUEUE, pause=0.05) for _ in range(200)]
            found["queue beside the grid"] = p50_p95(beside, digits=1)
            _note("queue beside the grid", found)
            found["grid"] = p50_p95([_grid(page) for _ in range(5)])
            _note("grid", found)
            found["map"] = p50_p95([_map(page) for _ in range(3)])
            _note("map", found)
        if given.pages:
            _paint(labeler, found)
        found["trainer's memory"], found["labeler's memory"] = trainer.memory(), labeler.memory()
        print({each: found[each] for each in COLUMNS[-3:-1]}, flush=True)
        for each in both:
            each.end()
        began = time.monotonic()
        for each in both:
            each.start()
        with httpx.Client(base_url=labeler.url, timeout=120) as page:
            wait_for(lambda: _items(page), "a question", 600)
        question = time.monotonic() - began
        wait_for(lambda: _status(trainer)["state"] == "training", "the trainer", 600)
        found["restart"] = f"question {question:.0f} s, model {time.monotonic() - began:.0f} s"
        _note("restart", found)
    except BaseException:
        print(log.read_text()[-3_000:])
        raise
    finally:
        ended.set()
        for each in both:
            each.end()
    return found


QUEUE = "/api/queue?annotator=ann&session=page&limit=17"


def _note(name: str, found: dict[str, str]) -> None:
    print(f"{name}: {found[name]}", flush=True)


def _whole(found: dict[str, str], labeler: Service, trainer: Service) -> None:
    """Start both services, and wait for the scan, the first list, and the list of the whole pool."""
    began = time.monotonic()
    for each in (trainer, labeler):
        each.start()

    def scanned() -> bool:
        now = _project(labeler)
        return bool(not now["scanning"]["running"] and now["images"]["total"])

    def listed() -> bool:
        return bool(_project(labeler)["query_version"])

    def embedded() -> bool:
        return bool("scan" in found and _status(trainer)["embedding"]["done"] >= _project(labeler)["images"]["total"])

    waiting = {"scan": scanned, "first list": listed, "all embedded": embedded}
    while waiting:
        if time.monotonic() - began > 7_200:
            raise TimeoutError(f"still waiting for {', '.join(waiting)}")
        for name, reached in list(waiting.items()):
            try:
                there = reached()
            except (httpx.HTTPError, KeyError):
                there = False
            if there:
                found[name] = f"{time.monotonic() - began:.0f} s"
                _note(name, found)
                del waiting[name]
        time.sleep(0.5)


def _batch(page: httpx.Client) -> float:
    """Milliseconds from the last answer of a batch to an order whose model has seen it."""
    for _ in range(10):
        item = page.get("/api/queue?annotator=ann&session=page&limit=1").raise_for_status().json()["items"][0]
        number = int(page.get(f"/api/images/{item['image_id']}/content").raise_for_status().content[-28:-16])
        answer = {"id": str(uuid4()), "image_id": item["image_id"], "action": "label", "label": str(number % CLASSES)}
        answer |= {"annotator": "ann", "session": "page", "query_version": item["query_version"]}
        receipt = page.post("/api/annotations", json={"annotations": [answer]}).raise_for_status().json()
    began = time.perf_counter()
    wait_for(lambda: page.get("/api/project").json()["query_acked_seq"] >= receipt["last_seq"], "a new order", 120)
    return (time.perf_counter() - began) * 1e3


def _timed(page: httpx.Client, address: str, pause: float = 0.0) -> float:
    time.sleep(pause)
    began = time.perf_counter()
    page.get(address).raise_for_status()
    return (time.perf_counter() - began) * 1e3


def _map(page: httpx.Client) -> float:
    """Wait for the map; the answer is 409 while it is computed."""
    began = time.perf_counter()
    while page.get("/api/map").status_code == 409:
        time.sleep(0.1)
    return (time.perf_counter() - began) * 1e3


def _paint(labeler: Service, found: dict[str, str], visits: int = 3) -> None:
    """Open grid and map in a browser, which has the files of the pages from an earlier visit."""
    drawn = {"grid": '[data-testid="tile"] img', "map": '[data-testid="colour-of"]'}
    with sync_playwright() as playwright:
        browser = launch(playwright)
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(120_000)
        for name, what in drawn.items():
            took = []
            for visit in range(visits + 1):
                page = context.new_page()
                arrive(page, labeler.url, "ann")
                began = time.perf_counter()
                page.goto(f"{labeler.url}/{name}")
                page.locator(what).first.wait_for()
                if name == "grid":
                    page.locator(what).first.evaluate("image => image.decode()")
                page.get_by_test_id("notice").wait_for(state="hidden")
                page.evaluate("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
                if visit:
                    took.append((time.perf_counter() - began) * 1e3)
                page.close()
            found[f"{name} painted"] = p50_p95(took)
            _note(f"{name} painted", found)
        browser.close()


@contextmanager
def _listing(url: str) -> Iterator[None]:
    """Another client lists the grid."""
    ended = threading.Event()

    def listing() -> None:
        with httpx.Client(base_url=url, timeout=120) as page:
            while not ended.is_set():
                _grid(page)

    lister = threading.Thread(target=listing)
    lister.start()
    try:
        yield
    finally:
        ended.set()
        lister.join()


@contextmanager
def _computing(count: int) -> Iterator[None]:
    """So many processes compute."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for each in others:
            each.kill()
            each.wait()


def _grid(page: httpx.Client) -> float:
    """Wait for the list, requested like the page does; earlier versions have no parts of a list."""
    began = time.perf_counter()
    if page.get("/api/grid?status=any&limit=5000").status_code == 422:
        page.get("/api/grid?status=any").raise_for_status()
    return (time.perf_counter() - began) * 1e3


def _items(page: httpx.Client) -> Any:
    return page.get(QUEUE).raise_for_status().json()["items"]


def _project(labeler: Service) -> Any:
    return httpx.get(f"{labeler.url}/api/project", timeout=30).raise_for_status().json()


def _status(trainer: Service) -> Any:
    return httpx.get(f"{trainer.url}/status", timeout=30).raise_for_status().json()


def _checkout(commit: str, folder: Path) -> Path:
    """Another commit, as a folder."""
    tree = folder / "checkout"
    tree.mkdir()
    archive = subprocess.run(["git", "archive", commit], cwd=HOME, check=True, capture_output=True)
    subprocess.run(["tar", "-x"], cwd=tree, input=archive.stdout, check=True)
    return tree


def write(folder: Path, count: int, values: int) -> None:
    """Write `count` images and their vectors, unless they are there; the bytes of an image end with its number."""
    matrix = folder / "vectors.npy"
    if matrix.exists():
        return
    photos, rng = folder / "photos", np.random.default_rng(0)
    head, tail = _png()
    for start in range(0, count, A_FOLDER):
        (photos / f"{start // A_FOLDER:04d}").mkdir(parents=True)
        for number in range(start, min(start + A_FOLDER, count)):
            text = b"n\0" + f"{number:012d}".encode()
            data = head + _chunk(b"tEXt", text) + tail
            (photos / f"{start // A_FOLDER:04d}" / f"{number:07d}.png").write_bytes(data)
    centres = rng.standard_normal((CLASSES, values)).astype(np.float32)
    kept = np.lib.format.open_memmap(folder / "part.npy", "w+", np.float16, (count, values))
    for start in range(0, count, A_FOLDER):
        truth = np.arange(start, min(start + A_FOLDER, count)) % CLASSES
        noise = rng.standard_normal((len(truth), values), dtype=np.float32)
        kept[start : start + len(truth)] = centres[truth] + 2.0 * noise
    kept.flush()
    (folder / "part.npy").rename(matrix)


def _png() -> tuple[bytes, bytes]:
    """The bytes before and after the text in a small image."""
    pixels = zlib.compress((b"\0" + b"\x80\x40\x20" * 8) * 8)
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels), _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


if __name__ == "__main__":
    main()
