"""Duration and memory of an import, and when the trainer has it: `python -m benchmarks.import_rows`.

It makes small images and a CSV with `--rows` labels of them, each by another annotator, and imports them as `flywheel
import` does, next to a running trainer: first as a dry run, then for real. Memory is the resident memory of both
processes after each tenth. Then the same file is imported again, which changes nothing.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from itertools import product
from pathlib import Path

import httpx
import numpy as np
import psutil
from PIL import Image

from benchmarks.machine import describe
from commands.client import Flywheel
from commands.labels.imports import send
from labeler.transfer.sources import open_source
from shared.importing import Outcome

CLASSES = ("red", "green", "blue")
CATCH_UP_SECONDS = 1_800.0


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--images", type=int, default=100_000)
    given = parser.parse_args()
    print(f"{given.rows:,} rows about {given.images:,} images. {describe('fastapi', 'sqlalchemy', 'pydantic')}\n")
    with tempfile.TemporaryDirectory(prefix="flywheel-") as folder:
        photos, table = Path(folder) / "photos", Path(folder) / "labels.csv"
        _write(photos, table, given.images, given.rows)
        labeler, trainer = {"test_set_frac": 0}, {"backbone": "pixels"}
        with Flywheel.launch(photos, Path(folder) / "W", labeler=labeler, trainer=trainer) as here:
            _measure(here, table, given.rows)


def _write(photos: Path, table: Path, images: int, rows: int) -> None:
    photos.mkdir()
    rng = np.random.default_rng(0)
    for number in range(images):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(photos / f"{number:06d}.png")
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("uri", "label", "annotator"))
        given = product(range(-(-rows // images)), range(images))
        for (annotator, number), _ in zip(given, range(rows), strict=False):
            writer.writerow((f"{number:06d}.png", CLASSES[number % len(CLASSES)], f"annotator {annotator}"))


def _measure(here: Flywheel, table: Path, rows: int) -> None:
    processes = [psutil.Process(child.process.pid) for child in here.children if child.process is not None]
    source, began, most = open_source(table), time.perf_counter(), 0

    def look(_: Outcome) -> None:
        nonlocal most
        most = max(most, processes[0].memory_info().rss)

    planned = send(here.labeler, source.rows(), source.folder, dry_run=True, add_classes=True, on_progress=look)
    took = time.perf_counter() - began
    print(
        f"planned {planned.counts['labels']:,} labels in {took:.0f} s, {rows / took:,.0f} rows/s, with at most ", end=""
    )
    print(f"{most / 2**20:,.0f} MiB in the labeler\n")
    began, tenth = time.perf_counter(), 0
    print("| rows | seconds | rows/s | labeler | trainer | trainer behind |\n|---:|---:|---:|---:|---:|---:|")

    def show(so_far: Outcome) -> None:
        nonlocal tenth
        if so_far.rows * 10 // rows <= tenth:
            return
        tenth = so_far.rows * 10 // rows
        seconds = time.perf_counter() - began
        memory = " | ".join(f"{process.memory_info().rss / 2**20:,.0f} MiB" for process in processes)
        lag = httpx.get(f"{here.labeler}/api/project", timeout=60).json()["trainer"]["lag"]
        print(f"| {so_far.rows:,} | {seconds:.0f} | {so_far.rows / seconds:,.0f} | {memory} | {lag:,} |", flush=True)

    outcome = send(here.labeler, source.rows(), source.folder, add_classes=True, on_progress=show)
    took = time.perf_counter() - began
    print(f"\nimported {outcome.counts['labels']:,} labels in {took:.0f} s, {rows / took:,.0f} rows/s")
    print(f"the trainer had every row {_caught_up(here):.0f} s later")
    began = time.perf_counter()
    again = send(here.labeler, source.rows(), source.folder)
    print(f"the same again: {again.counts['labels']:,} new labels, {time.perf_counter() - began:.0f} s")


def _caught_up(here: Flywheel) -> float:
    began = time.perf_counter()
    while time.perf_counter() - began < CATCH_UP_SECONDS:
        project = httpx.get(f"{here.labeler}/api/project", timeout=60).json()
        if project["trainer"]["acked_seq"] >= project["last_seq"]:
            return time.perf_counter() - began
        time.sleep(0.2)
    raise SystemExit(f"The trainer did not catch up within {CATCH_UP_SECONDS:.0f} s.")


if __name__ == "__main__":
    main()
