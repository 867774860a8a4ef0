"""The memory and time of an export in each format: `python -m benchmarks.export_memory`.

    python -m benchmarks.export_memory --images 1000000
    python -m benchmarks.export_memory --formats csv coco --against HEAD~1   # before and after, in one run

It writes the tables of a workspace in which every image is labeled, opens the labeler's service on it without starting
it, and exports it in a process of its own for each format. An image is 60 bytes here, so that what is measured is what
the export keeps of each image. Memory is what the export adds to the service's (`RssAnon`), at its greatest.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.machine import describe

HOME = Path(__file__).resolve().parent.parent
CLASSES, BLOCK = 10, 20_000
IMAGE = b"\x89PNG\r\n\x1a\n" + bytes(52)


def main() -> None:
    """Measure each checkout and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--formats", nargs="*", default=[], help="default: all")
    parser.add_argument("--against", help="a commit to measure first")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside is not None:
        measure(given.inside, given.formats)
        return
    print(f"{given.images:,} labeled images. {describe('sqlalchemy', 'pyarrow')}", flush=True)
    with tempfile.TemporaryDirectory(prefix="flywheel-export-", ignore_cleanup_errors=True) as temporary:
        workspace = Path(temporary) / "workspace"
        prepare(workspace, given.images)
        trees = [("this", HOME)]
        if given.against:
            trees.insert(0, (given.against, _checkout(given.against, Path(temporary))))
        for name, tree in trees:
            print(f"\n{name}\n\n| format | memory | seconds | processor | size |", flush=True)
            print("|---|---:|---:|---:|---:|", flush=True)
            command = [sys.executable, str(Path(__file__).resolve()), "--inside", str(workspace), "--formats"]
            subprocess.run(
                [*command, *given.formats], cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, check=True
            )


def prepare(workspace: Path, images: int) -> None:
    """Write the tables of the workspace."""
    from sqlalchemy import insert

    from labeler.service import Service
    from labeler.store.tables import FILE, IMAGE, LOG

    photos = workspace.parent / "photos"
    photos.mkdir(parents=True)
    service = _service(Service, workspace)
    first = service.log.last_seq
    for start in range(0, images, BLOCK):
        numbers = range(start + 1, min(start + BLOCK, images) + 1)
        uris = {number: f"{number // 10_000:04d}/{number:08d}.jpg" for number in numbers}
        with service.store.write() as connection:
            connection.execute(
                insert(IMAGE),
                [
                    {
                        **{"id": number, "root": "images", "uri": uris[number], "width": 640, "height": 480},
                        **{"sha256": hashlib.sha256(str(number).encode()).hexdigest(), "format": "JPEG"},
                        **{"split": "test" if number % 10 == 0 else "train", "place": 0.5, "changed": number},
                    }
                    for number in numbers
                ],
            )
            connection.execute(
                insert(FILE),
                [
                    {"root": "images", "uri": uris[number], "size": 1, "mtime_ns": 1, "image_id": number}
                    for number in numbers
                ],
            )
            connection.execute(
                insert(LOG),
                [
                    {
                        **{"seq": first + number, "id": UUID(int=number), "action": "label", "image_id": number},
                        **{"label": number % CLASSES + 1, "annotator": "ann", "created_at": datetime.now(UTC)},
                    }
                    for number in numbers
                ],
            )
    service.close()


def measure(workspace: Path, formats: list[str]) -> None:
    """Print a line for each format."""
    from labeler.service import Service

    service = _service(Service, workspace)
    for name in formats or service.exports.formats():
        sys.stdout.flush()
        if (child := os.fork()) == 0:
            print(_line(service, name), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    service.close()


def _service(kind: type, workspace: Path) -> Any:
    from shared.settings.services import LabelerSettings

    values = {
        **{"workspace": workspace, "images": str(workspace.parent / "photos"), "port": 0},
        **{"classes": [f"class {number}" for number in range(CLASSES)], "trainer_url": "http://127.0.0.1:9"},
    }
    return kind(LabelerSettings.load(command_line=values)[0])


def _line(service: Any, name: str) -> str:
    service.store.engine.dispose(close=False)  # a connection must not be shared with the parent
    service.exports._content = lambda image_id: (IMAGE, "image/png", "")
    before = peak = _own()
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.02):
            peak = max(peak, _own())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began, used, size = time.perf_counter(), time.process_time(), 0
    for piece in service.exports.begin(name)[0]:
        size += len(piece)
    took, used = time.perf_counter() - began, time.process_time() - used
    ended.set()
    watcher.join()
    return f"| {name} | {(peak - before) / 1e3:.0f} MB | {took:.0f} s | {used:.0f} s | {size / 1e6:.0f} MB |"


def _own() -> int:
    found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) if found else 0


def _checkout(commit: str, folder: Path) -> Path:
    """Another commit, as a folder."""
    tree = folder / "checkout"
    tree.mkdir()
    archive = subprocess.run(["git", "archive", commit], cwd=HOME, check=True, capture_output=True)
    subprocess.run(["tar", "-x"], cwd=tree, input=archive.stdout, check=True)
    return tree


if __name__ == "__main__":
    main()
