"""Memory of both services with hostile files and the largest images: `python -m benchmarks.broken_images`.

It runs `flywheel up` as a user does, in its own workspace. The files are truncated, corrupted or mislabeled, in every
supported format: once in the folder, once as uploads and once for prediction, eight at a time. Then twelve uploads of
100 megapixels (81 as WebP) arrive at once, and their thumbnails are requested. It prints each service's peak resident
memory, how many files were accepted and refused, and how long `/health` took meanwhile.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import httpx
import numpy as np
import psutil
from PIL import Image

from benchmarks.machine import describe, p50_p95
from tests.services import HOME, free_port, wait_for, write_photos
from tests.shared.hostile_images import bombs, broken
from tests.shared.images.test_opening import FORMS

AT_ONCE = 8
EACH = 25  # truncated files, and as many corrupted ones, per format
SIDE = 10_000
LARGE: tuple[tuple[str, str, int, dict[str, object]], ...] = (
    ("JPEG", "RGB", SIDE, {}),
    ("JPEG", "RGB", SIDE, {"progressive": True, "subsampling": 0}),
    ("JPEG", "CMYK", SIDE, {}),
    ("PNG", "RGB", SIDE, {"compress_level": 1}),
    ("PNG", "RGBA", SIDE, {"compress_level": 1}),
    ("PNG", "I;16", SIDE, {"compress_level": 1}),
    ("GIF", "L", SIDE, {}),
    ("TIFF", "RGB", SIDE, {"compression": "tiff_lzw"}),
    ("TIFF", "RGB", SIDE, {"compression": "jpeg"}),
    ("WEBP", "RGB", 9_000, {"method": 0}),
    ("AVIF", "RGB", SIDE, {"speed": 10}),
    ("JPEG2000", "RGB", SIDE, {"irreversible": True, "quality_layers": [50], "tile_size": (1_024, 1_024)}),
)
LIMIT = 1_500_000_000


def main() -> int:
    """Measure and print; 1 if a service took more than LIMIT or no longer answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--each", type=int, default=EACH, help="truncated files, and as many corrupted ones, per format"
    )
    parser.add_argument("--large", type=int, default=len(LARGE), help="uploads of 100 megapixels at once")
    options = parser.parse_args()
    print(describe("pillow", "pi_heif", "numpy"), flush=True)
    with tempfile.TemporaryDirectory(prefix="flywheel-broken-", ignore_cleanup_errors=True) as name:
        files, folder = dict([*broken(FORMS, options.each), *bombs(SIDE)]), Path(name)
        write_photos(folder / "photos", 60)
        for file, data in broken(FORMS, options.each, seed=1):
            (folder / "photos" / file).write_bytes(data)
        for file, data in bombs(SIDE):
            (folder / "photos" / file).write_bytes(data)
        large = {f"large-{number}.{form}": data for number, (form, data) in enumerate(_large(options.large))}
        print("\n| files | sent | taken | refused | labeler | trainer | labeler's health | trainer's health |")
        print("|---|---:|---:|---:|---:|---:|---:|---:|", flush=True)
        with _running(folder) as services:
            services.measure("in the folder, scanned at the start", len(files), services.scanned)
            services.measure("uploaded", len(files), lambda: services.uploaded(files, AT_ONCE))
            services.measure("to be predicted", len(files), lambda: services.predicted(files))
            at_once = len(large)
            services.measure("100 megapixels, uploaded at once", at_once, lambda: services.uploaded(large, at_once))
            services.measure("their thumbnails at once", at_once, lambda: services.seen(at_once))
            labeler, trainer = (max(some) / 1e6 for some in services.peaks)
            print(f"\npeak: labeler {labeler:,.0f} MB, trainer {trainer:,.0f} MB")
            return int(max(map(max, services.peaks)) > LIMIT)


class Up:
    """`flywheel up` and the requests to it."""

    def __init__(self, labeler: str, trainer: str, process: psutil.Process) -> None:
        self._urls = (labeler, trainer)
        self._healths = (f"{labeler}/api/health", f"{trainer}/health")
        self._services = [
            next(each for each in process.children(recursive=True) if flag in " ".join(each.cmdline()))
            for flag in ("--trainer-url", "--labeler-url")
        ]
        self.peaks: tuple[list[int], list[int]] = ([], [])

    def measure(self, what: str, sent: int, work: Callable[[], tuple[int, int]]) -> None:
        """Print a row: accepted and refused files, and the state of both services meanwhile."""
        over = threading.Event()
        resident: list[list[int]] = [[], []]
        waited: list[list[float]] = [[], []]
        watching = [threading.Thread(target=self._watch, args=(over, resident))]
        watching += [
            threading.Thread(target=_ask, args=(over, url, some))
            for url, some in zip(self._healths, waited, strict=True)
        ]
        for thread in watching:
            thread.start()
        try:
            taken, refused = work()
        finally:
            over.set()
            for thread in watching:
                thread.join()
        peaks = [max(some) for some in resident]
        for some, peak in zip(self.peaks, peaks, strict=True):
            some.append(peak)
        memory = " | ".join(f"{peak / 1e6:,.0f} MB" for peak in peaks)
        health = " | ".join(f"{p50_p95(some)}, {max(some):.0f} ms at most" for some in waited)
        print(f"| {what} | {sent} | {taken} | {refused} | {memory} | {health} |", flush=True)

    def scanned(self) -> tuple[int, int]:
        """Wait until the folder is read and everything readable in it is embedded."""
        self._settle()
        with httpx.Client(base_url=self._urls[0], timeout=60) as client:
            total = client.get("/api/project").json()["images"]["total"]
            return total, len(client.get("/api/images/rejected").json())

    def uploaded(self, files: dict[str, bytes], at_once: int) -> tuple[int, int]:
        """Upload each file in its own request."""

        def upload(file: tuple[str, bytes]) -> bool:
            answer = httpx.post(f"{self._urls[0]}/api/images", files={"images": file}, timeout=600)
            answer.raise_for_status()
            return not answer.json()["rejected"]

        with ThreadPoolExecutor(at_once) as pool:
            taken = sum(pool.map(upload, files.items()))
        self._settle()
        return taken, len(files) - taken

    def predicted(self, files: dict[str, bytes]) -> tuple[int, int]:
        """Send each file to the trainer: 422 if it is unreadable, 409 for all while there is no model."""

        def predict(file: tuple[str, bytes]) -> bool:
            answer = httpx.post(f"{self._urls[1]}/predict", files={"images": file}, timeout=600)
            assert answer.status_code in (200, 422), answer.text
            return answer.status_code == 200

        self._label()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            taken = sum(pool.map(predict, files.items()))
        return taken, len(files) - taken

    def seen(self, count: int) -> tuple[int, int]:
        """Request the thumbnails of the last `count` images at once."""
        with httpx.Client(base_url=self._urls[0], timeout=600) as client:
            ids = [entry["id"] for entry in client.get("/api/images?limit=10000").json()["images"]][-count:]
            with ThreadPoolExecutor(count) as pool:
                answers = list(pool.map(lambda each: client.get(f"/api/images/{each}/thumbnail?size=1280"), ids))
        self._settle()
        taken = sum(answer.status_code == 200 for answer in answers)
        return taken, len(answers) - taken

    def _label(self) -> None:
        """Give enough labels for a model."""
        with httpx.Client(base_url=self._urls[0], timeout=60) as client:
            asked = client.get("/api/queue?annotator=bench&session=bench&limit=20").json()["items"]
            for number, item in enumerate(asked):
                answer = {
                    "id": str(uuid4()),
                    "image_id": item["image_id"],
                    "action": "label",
                    "label": "ab"[number % 2],
                }
                answer |= {"annotator": "bench", "session": "bench"}
                client.post("/api/annotations", json={"annotations": [answer]}).raise_for_status()
        wait_for(lambda: "model_version" in httpx.get(f"{self._urls[1]}/predictions").json(), "a model", 120)

    def _settle(self) -> None:
        def settled() -> bool:
            project = httpx.get(f"{self._urls[0]}/api/project", timeout=60).json()
            known = httpx.get(f"{self._urls[1]}/status", timeout=60).json()["embedding"]
            there = project["images"]["total"] <= known["total"]
            return not project["scanning"]["running"] and there and known["done"] + known["problems"] >= known["total"]

        wait_for(settled, "embedding the accepted images", 600)

    def _watch(self, over: threading.Event, resident: Sequence[list[int]]) -> None:
        while True:
            for service, some in zip(self._services, resident, strict=True):
                some.append(service.memory_info().rss)
            if over.wait(0.01):
                return


@contextmanager
def _running(folder: Path) -> Iterator[Up]:
    port, trainer_port = free_port(), free_port()
    command = [sys.executable, str(HOME / "flywheel.py"), "up", str(folder / "photos"), "--workspace", "workspace"]
    command += ["--classes", "a,b", "--backbone", "pixels", "--port", str(port), "--trainer-port", str(trainer_port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    urls = (f"http://127.0.0.1:{port}", f"http://127.0.0.1:{trainer_port}")
    healths = (f"{urls[0]}/api/health", f"{urls[1]}/health")
    try:
        for url in healths:
            wait_for(partial(_answers, url), "flywheel up", 300)
        yield Up(*urls, psutil.Process(process.pid))
        assert all(map(_answers, healths))
        assert "will be restarted" not in (folder / "log").read_text()
    except BaseException:
        print((folder / "log").read_text()[-3_000:], file=sys.stderr)
        raise
    finally:
        process.terminate()
        process.wait(60)


def _answers(url: str) -> bool:
    return httpx.get(url, timeout=60).is_success


def _ask(over: threading.Event, url: str, waited: list[float]) -> None:
    with httpx.Client(timeout=60) as client:
        while not over.wait(0.05) or not waited:
            began = time.perf_counter()
            client.get(url).raise_for_status()
            waited.append((time.perf_counter() - began) * 1_000)


def _large(count: int) -> Iterator[tuple[str, bytes]]:
    """Files of 100 megapixels, each with different content."""
    for number in range(count):
        form, mode, side, options = LARGE[number % len(LARGE)]
        if mode == "I;16":
            image = Image.fromarray(np.add.outer(np.arange(side), np.arange(side) + number).astype(np.uint16))
        else:
            image = Image.linear_gradient("L").rotate(7 * number).resize((side, side))
            image = Image.merge("RGBA", [image] * 4) if mode == "RGBA" else image.convert(mode)
        stream = BytesIO()
        image.save(stream, form, **options)
        yield form.lower(), stream.getvalue()


if __name__ == "__main__":
    sys.exit(main())
