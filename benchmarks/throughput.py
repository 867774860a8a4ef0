"""Labels per second through `/api/annotations`, and images per second of the scan: `python -m benchmarks.throughput`.

Each is shown next to its physical limit in the same run: for a label a bare SQLite transaction with `synchronous=FULL`,
for the scan just reading and hashing the same files.
"""

from __future__ import annotations

import argparse
import hashlib
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import httpx

from benchmarks.machine import describe
from tests.services import Process, wait_for, write_photos


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--labels", type=int, default=1_000)
    options = parser.parse_args()
    print(describe("fastapi", "sqlalchemy"))
    with tempfile.TemporaryDirectory(prefix="flywheel-throughput-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        write_photos(folder / "photos", options.images)
        labeler = Process(
            "labeler",
            {
                "images": folder / "photos",
                "workspace": folder / "w",
                "classes": "a,b",
                "trainer_url": "http://127.0.0.1:9",
            },
        )
        labeler.start()
        try:
            seconds = _scan(labeler)
            print(f"scan: {options.images / seconds:,.0f} images/s", end="; ")
            bare = _read_and_hash(folder / "photos")
            print(f"reading and hashing alone {options.images / bare:,.0f} images/s")
            limit = _bare_commits(folder / "bare.db", options.labels)
            for size in (1, 100):
                rate = _labels(labeler, options.labels, size)
                print(
                    f"labels in posts of {size}: {rate:,.0f}/s; bare commits of as many rows {limit[size]:,.0f} rows/s"
                )
        finally:
            labeler.end()


def _scan(labeler: Process) -> float:
    began = time.perf_counter()

    def done() -> bool:
        scanning = httpx.get(f"{labeler.url}/api/project", timeout=20).json()["scanning"]
        return bool(not scanning["running"])

    wait_for(done, "the scan", 1_800)
    return time.perf_counter() - began


def _labels(labeler: Process, count: int, size: int) -> float:
    with httpx.Client(base_url=labeler.url, timeout=30) as client:
        images = client.get(f"/api/images?after=0&limit={count}").json()["images"]
        ids = [entry["id"] for entry in images]
        began = time.perf_counter()
        for start in range(0, len(ids), size):
            answers = [
                {"id": str(uuid4()), "image_id": image_id, "action": "label", "label": "a", "annotator": "bench"}
                for image_id in ids[start : start + size]
            ]
            client.post("/api/annotations", json={"annotations": answers}).raise_for_status()
        return len(ids) / (time.perf_counter() - began)


def _bare_commits(path: Path, count: int) -> dict[int, float]:
    rates = {}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE row (id TEXT, image INTEGER, label INTEGER)")
        for size in (1, 100):
            began = time.perf_counter()
            for _ in range(0, count, size):
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT INTO row VALUES (?, ?, ?)", [(str(uuid4()), 1, 1)] * size)
                connection.execute("COMMIT")
            rates[size] = count / (time.perf_counter() - began)
    return rates


def _read_and_hash(folder: Path) -> float:
    began = time.perf_counter()
    for path in folder.iterdir():
        hashlib.sha256(path.read_bytes()).hexdigest()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
