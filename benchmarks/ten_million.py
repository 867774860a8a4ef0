"""The trainer alone with a catalogue of millions: `python -m benchmarks.ten_million`.

    python -m benchmarks.ten_million --images 1000000 3000000
    python -m benchmarks.ten_million --folder /mnt/large    # 10,000,000: 13 GB on the disk while it runs

It writes what a trainer has on its disk after all images are embedded: the replica's database with the catalogue, and
the store of vectors. Then it does what a trainer does, with the same classes, in this process: it opens both, lays the
pool out, fits the head on 200 labels and ranks a list of 100, moves an image to another split, and takes a late image
in. A round is fit, score and rank, the median of three with ten more labels each time. Memory is what the process owns
itself (`RssAnon`), and with the pages of mapped files, which the system takes back when it needs them. The processor
time says what a busy machine hides.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
from sqlalchemy import insert

from benchmarks.machine import describe
from shared.storage.database import write
from shared.wire.images import ImageEntry
from shared.wire.log import AnnotationBatch, Row
from trainer.columns.images import NUMBER_OF, TRAIN, Images
from trainer.embeddings.space import ImagePool
from trainer.embeddings.store import HASHES, ROWS, SHAPE, EmbeddingStore
from trainer.loop.rounds import Model, Timings, fit, rank
from trainer.strategies import strategy_named
from trainer.sync.catalog import TABLE
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot

CLASSES, LABELS, LENGTH, BLOCK = 10, 200, 100, 50_000
TESTS = 10_000
"""One image of so many is a test image."""
STRATEGY = "uncertainty_herding"


def main() -> None:
    """Measure each size and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000_000])
    parser.add_argument("--values", type=int, default=256, help="length of a vector")
    parser.add_argument("--folder", type=Path, help="where the files are while it runs")
    given = parser.parse_args()
    print(f"{given.values} values, {LABELS} labels, lists of {LENGTH}. {describe('numpy', 'scipy')}", flush=True)
    columns: list[dict[str, str]] = []
    for images in given.images:
        with tempfile.TemporaryDirectory(prefix="flywheel-million-", dir=given.folder) as folder:
            columns.append(measure(Path(folder), images, given.values))
    print(f"\n| | {' | '.join(f'{images:,}' for images in given.images)} |\n|---|{'---:|' * len(columns)}")
    for name in columns[0]:
        print(f"| {name} | {' | '.join(found[name] for found in columns)} |")


class Meter:
    """Seconds of the wall clock and of the processor for each step, and the greatest memory in it."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self.seconds: dict[str, list[tuple[float, float]]] = {}
        self._own = self._whole = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a block; a step that is repeated counts with its median."""
        self._own = self._whole = 0.0
        began, used = time.perf_counter(), time.process_time()
        yield
        took = (time.perf_counter() - began, time.process_time() - used)
        self.seconds.setdefault(name, []).append(took)
        wall, own = (statistics.median(each) for each in zip(*self.seconds[name], strict=True))
        self._look()
        self.found[name] = f"{wall:.2f} s ({own:.2f} s of processor), {self._own:.2f} ({self._whole:.2f}) GB"
        print(f"{name}: {self.found[name]}", flush=True)

    def _watch(self) -> None:
        while True:
            self._look()
            time.sleep(0.05)

    def _look(self) -> None:
        status = Path("/proc/self/status").read_text()
        own, whole = (
            int(found[1]) / 1e6 if (found := re.search(rf"{key}:\s+(\d+)", status)) else 0.0
            for key in ("RssAnon", "VmRSS")
        )
        self._own, self._whole = max(self._own, own), max(self._whole, whole)


def measure(folder: Path, images: int, values: int) -> dict[str, str]:
    """One column of the table."""
    print(f"\n{images:,} images", flush=True)
    meter = Meter()
    prepare(folder, images, values)
    with meter.step("open the catalogue"):
        replica = Replica(folder)
    with meter.step("open the vectors"):
        store = EmbeddingStore(folder / "vectors", values)
    catalog = replica.catalog
    pool = ImagePool(values, store.read, (), folder)
    with meter.step("lay the pool out"):
        pool.add(Images(catalog.ids[:-1], catalog.hashes[:-1], catalog.splits[:-1]), complete=True)
    strategy, model, asked = strategy_named(STRATEGY), None, None
    order = np.random.default_rng(1).permutation(images // 2)[: LABELS + 30]
    order = order[order % TESTS != 0]
    for turn in range(4):
        label(replica, order[: LABELS + 10 * turn].tolist())
        with meter.step("first round" if turn == 0 else "round"):
            snapshot = Snapshot.of(replica)
            assert snapshot is not None
            model = fit(pool, snapshot, model, seed=0)
            assert isinstance(model, Model)
            asked = rank(
                pool,
                snapshot,
                model,
                strategy,
                strategy_name=STRATEGY,
                leased=frozenset(),
                length=LENGTH,
                seed=0,
                timings=Timings(),
                before=asked,
            )
        assert asked is not None
        assert len(asked.queries) == LENGTH
    with meter.step("an image moves to another split"):
        place = np.flatnonzero(catalog.splits == TRAIN)[:1]
        pool.move(Images(catalog.ids[place], catalog.hashes[place], np.array([NUMBER_OF["test"]], np.uint8)))
    with meter.step("a late image"):
        late = Images(catalog.ids[-1:], catalog.hashes[-1:], catalog.splits[-1:])
        pool.add(late, complete=True)
    with meter.step("a page of the catalogue"):
        replica.update_catalog([entry(number) for number in range(images, images + 500)], after=images + 500)
    store.close()
    replica.close()
    return meter.found


def label(replica: Replica, images: list[int]) -> None:
    """Label these images in the replica's log; the first call names the classes."""
    rows: list[Row] = []
    known = replica.acked_seq

    def row(**values: object) -> None:
        rows.append(Row(seq=known + len(rows) + 1, id=uuid4(), created_at=datetime.now(UTC), **values))  # type: ignore[arg-type]

    if not known:
        for number in range(CLASSES):
            row(action="class_added", label=number + 1, name=f"class {number}")
    for image in images:
        if image not in replica.fold.labels:
            row(action="label", image_id=image, label=image % CLASSES + 1, annotator="ann")
    replica.accept(
        AnnotationBatch(
            log_id=replica.log_id or uuid4(),
            after_seq=known,
            last_seq=known + len(rows),
            annotations=rows,
            catalog_version=0,
        )
    )


def entry(number: int) -> ImageEntry:
    """An image of the catalogue."""
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    split = "test" if number % TESTS == 0 else "train"
    return ImageEntry(id=number, uri=uri(number), sha256=digest, split=split, removed=False)


def uri(number: int) -> str:
    """The address of an image."""
    return f"{number // 10_000:04d}/{number:08d}.jpg"


def prepare(folder: Path, images: int, values: int) -> None:
    """Write the replica's database and the store of vectors, as the trainer leaves them."""
    replica, rng, began = Replica(folder), np.random.default_rng(0), time.monotonic()
    vectors = folder / "vectors"
    vectors.mkdir()
    (vectors / SHAPE).write_text(json.dumps({"dim": values}))
    centres = rng.standard_normal((CLASSES, values)).astype(np.float32)
    noise = rng.standard_normal((BLOCK + 997, values), dtype=np.float32)
    with (vectors / ROWS).open("wb") as rows, (vectors / HASHES).open("wb") as hashes:
        for start in range(0, images, BLOCK):
            numbers = np.arange(start, min(start + BLOCK, images))
            digests = [hashlib.sha256(str(number).encode()).digest() for number in numbers.tolist()]
            with write(replica.engine) as connection:
                connection.execute(
                    insert(TABLE),
                    [
                        {
                            "id": number,
                            "uri": uri(number),
                            "sha256": digest,
                            "split": NUMBER_OF["test" if number % TESTS == 0 else "train"],
                            "removed": False,
                        }
                        for number, digest in zip(numbers.tolist(), digests, strict=True)
                    ],
                )
            shift = int(rng.integers(997))  # drawing all of it anew would take minutes
            own = rng.standard_normal((len(numbers), 8), dtype=np.float32) @ noise[:8]
            block = centres[numbers % CLASSES] + 1.9 * noise[shift : shift + len(numbers)] + 0.2 * own
            rows.write(block.astype("<f2").tobytes())
            hashes.write(b"".join(digests))
    replica.close()
    print(f"written in {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
