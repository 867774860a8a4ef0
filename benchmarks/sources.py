"""Duration of scans and reads by where the images are: `python -m benchmarks.sources`.

It writes `--images` small images as a folder, a zip, tar shards, a parquet file and the objects of an S3 server on
loopback (moto's, in a process of its own, which is slower than a real one). A labeler scans each from nothing, then
again without a change, and reads random images. Last, the server refuses every twentieth request, and is away for five
seconds in the middle of a scan: how long until every image is there.
"""

from __future__ import annotations

import argparse
import io
import logging
import multiprocessing
import os
import random
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.machine import describe, p50_p95
from labeler.images import scanner
from labeler.service import Service
from shared.settings.services import LabelerSettings

BUCKET, SHARDS, READS = "bucket", 10, 200
AWAY_SECONDS = 5.0
PATIENCE_SECONDS = 3_600.0


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--pixels", type=int, default=64, help="side of an image")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    scanner.LATER = 1.0
    print(f"{given.images:,} JPEGs of {given.pixels} pixels. {describe('fsspec', 's3fs', 'moto', 'pyarrow')}\n")
    with tempfile.TemporaryDirectory(prefix="flywheel-") as scratch:
        home = Path(scratch)
        places = _write(home, given.images, given.pixels)
        print("| images in | first scan | images/s | our processor | scan without a change | read, p50 / p95 |")
        print("|---|---:|---:|---:|---:|---:|")
        for name, place in places.items():
            _measure(name, str(place), home / name.replace(" ", "-"))
        with _server(home / "folder") as (address, control):
            _measure("S3", address, home / "s3")
            _disturb(address, control, given.images, home / "disturbed")


def _write(home: Path, count: int, pixels: int) -> dict[str, Path]:
    """Write the same images to each kind of place on this machine."""
    rng = np.random.default_rng(0)
    files: dict[str, bytes] = {}
    for number in range(count):
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (pixels, pixels, 3), np.uint8)).save(stream, "JPEG")
        files[f"{number % 100:02d}/{number:06d}.jpg"] = stream.getvalue()
    for name, data in files.items():
        path = home / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with zipfile.ZipFile(home / "photos.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    _write_shards(home, files)
    table = pa.table({"image": list(files.values()), "file_name": list(files)})
    pq.write_table(table, home / "photos.parquet", row_group_size=100)
    return {
        "folder": home / "folder",
        "zip": home / "photos.zip",
        f"{SHARDS} tar shards": home / "shard-*.tar",
        "parquet, row groups of 100": home / "photos.parquet",
    }


def _write_shards(home: Path, files: Mapping[str, bytes]) -> None:
    for shard in range(SHARDS):
        with tarfile.open(home / f"shard-{shard}.tar", "w") as archive:
            for name, data in list(files.items())[shard::SHARDS]:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def _measure(name: str, place: str, workspace: Path) -> None:
    began, spent = time.perf_counter(), time.process_time()
    service = _scanned(place, workspace)
    first, processor = time.perf_counter() - began, time.process_time() - spent
    count = service.project().images.total
    ids = [entry.id for entry in service.catalog.page(0, 1_000_000).images]
    took = []
    for image_id in random.Random(0).sample(ids, min(READS, count)):
        started = time.perf_counter()
        service.content(image_id)
        took.append(1_000 * (time.perf_counter() - started))
    service.close()
    began = time.perf_counter()
    service = _scanned(place, workspace)
    again = time.perf_counter() - began
    service.close()
    each = 1_000 * processor / count
    print(
        f"| {name} | {first:.1f} s | {count / first:,.0f} | {each:.1f} ms an image | {again:.1f} s | "
        f"{p50_p95(took, digits=1)} |",
        flush=True,
    )


def _scanned(place: str, workspace: Path) -> Service:
    line = {"images": place, "workspace": workspace, "port": 0, "trainer_url": "http://127.0.0.1:9", "watch": False}
    service = Service(LabelerSettings.load(command_line=line)[0])
    service.start()
    service.scanner.wait(PATIENCE_SECONDS)
    return service


def _disturb(address: str, control: Connection, count: int, workspace: Path) -> None:
    control.send("refuse")
    began = time.perf_counter()
    absence = threading.Timer(AWAY_SECONDS, _be_away, (control,))
    absence.start()
    service = _scanned(address, workspace)
    while service.project().images.total < count and time.perf_counter() - began < PATIENCE_SECONDS:
        time.sleep(0.5)
    took, there = time.perf_counter() - began, service.project()
    service.close()
    absence.join()
    print(
        f"\nWith every 20th request refused and the server away for {AWAY_SECONDS:.0f} s: {there.images.total:,} "
        f"images after {took:.0f} s, {there.rejected} of them called broken.",
        flush=True,
    )


def _be_away(control: Connection) -> None:
    control.send("kill")
    time.sleep(AWAY_SECONDS)
    control.send("start")


@contextmanager
def _server(folder: Path) -> Iterator[tuple[str, Connection]]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(folder, theirs), daemon=True)
    process.start()
    os.environ.update(ours.recv())
    try:
        yield f"s3://{BUCKET}", ours
    finally:
        ours.send("end")
        process.join(10)


def _serve(folder: Path, control: Connection) -> None:
    from moto.s3.models import s3_backends

    from tests.object_store import ObjectStore

    store = ObjectStore()
    store.put(BUCKET, {})
    backend = next(iter(s3_backends.values()))["aws"]
    for path in folder.rglob("*.jpg"):
        backend.put_object(BUCKET, path.relative_to(folder).as_posix(), path.read_bytes())
    control.send(store.environment)
    asked = 0

    def every_twentieth(_: str) -> bool:
        nonlocal asked
        asked += 1
        return asked % 20 == 0

    while (order := control.recv()) != "end":
        if order == "refuse":
            store.refused = every_twentieth
        elif order == "kill":
            store.kill()
        elif order == "start":
            store.start()


if __name__ == "__main__":
    main()
