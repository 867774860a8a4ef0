"""The challenger's gain, and the cost of a round: `python -m benchmarks.challenger --images DIR --labels CSV`.

It runs the trainer without a labeler: the trainer embeds the photos, gets random train labels and all test labels, and
plays its normal rounds. The test labels measure the accuracy before and after; the challenger never sees them. `--set
backbone=mobilenetv2_100` passes a setting to the trainer.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np

from benchmarks.machine import describe
from shared.settings.services import TrainerSettings
from shared.wire.images import ImageEntry
from shared.wire.log import AnnotationBatch, Row
from shared.wire.trainer import TrainerStatus
from trainer.service import Trainer

LOG = UUID(int=1)
NOBODY = "http://127.0.0.1:9"
PATIENCE_SECONDS = 3 * 3600.0


def main() -> None:
    """Measure and print, for one number of labels after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=Path, required=True, help="folder of photos")
    parser.add_argument("--labels", type=Path, required=True, help="CSV with columns filename, label, split")
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 400])
    parser.add_argument("--validation", action="store_true", help="also label the validation split")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="given")
    options = parser.parse_args()
    with options.labels.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    print(describe("torch", "timm", "fastai"))
    print("\n| labels | compared on | head | challenger | p | takes over | round | test before | test after |")
    print("|---:|---|---:|---:|---:|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="flywheel-challenger-", ignore_cleanup_errors=True) as folder:
        given = {"workspace": folder, "images": options.images, "labeler_url": NOBODY, "challenger": "on"}
        given |= dict(pair.split("=", 1) for pair in options.given)
        trainer = Trainer(*TrainerSettings.load(command_line={name: str(value) for name, value in given.items()}))
        trainer.replica.update_catalog(_catalog(options.images, rows), after=len(rows))
        trainer.catalog.complete.set()
        trainer.start()
        try:
            _play(trainer, rows, options.counts, options.validation)
        finally:
            trainer.close()


def _play(trainer: Trainer, rows: list[dict[str, str]], counts: list[int], validation: bool) -> None:
    names = sorted({row["label"] for row in rows})
    trainer.accept(_message(0, [{"action": "class_added", "label": k, "name": n} for k, n in enumerate(names, 1)]))
    _wait(trainer, lambda status: status.embedding.done == len(rows))
    held = [i for i, row in enumerate(rows) if row["split"] == "test" or (validation and row["split"] == "validation")]
    train = np.random.default_rng(0).permutation([i for i, row in enumerate(rows) if row["split"] == "train"])
    labeled = 0
    for number, count in enumerate(counts, 1):
        fresh = [*(held if number == 1 else []), *train[labeled:count].tolist()]
        said = [{"action": "label", "image_id": i, "label": names.index(rows[i]["label"]) + 1} for i in fresh]
        trainer.accept(_message(trainer.replica.acked_seq, said))
        labeled = count
        _wait(trainer, lambda status, count=count: status.labels == count)  # type: ignore[misc]
        before = _wait(trainer, lambda status: status.metrics).metrics
        after = _wait(
            trainer,
            lambda status, number=number: (  # type: ignore[misc]
                status.challenger is not None
                and status.challenger.last is not None
                and status.challenger.last.round == number
            ),
        )
        assert after.challenger is not None
        assert after.challenger.last is not None
        last = after.challenger.last
        print(
            f"| {count} | {last.accuracy.n} {last.ground} | {last.head.value:.1%} | {last.accuracy.value:.1%} "
            f"| {last.p:.3g} | {'yes' if last.better else 'no'} | {last.seconds:.0f} s | {before['accuracy']:.1%} "
            f"| {after.metrics['accuracy']:.1%} |",
            flush=True,
        )


def _wait(trainer: Trainer, condition: Callable[[TrainerStatus], object]) -> TrainerStatus:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition(status := trainer.status()):
        if time.monotonic() > deadline:
            raise SystemExit("It did not come about in time.")
        if status.challenger is not None and "failed" in status.challenger.message:
            raise SystemExit(status.challenger.message)
        time.sleep(0.2)
    return status


def _catalog(folder: Path, rows: list[dict[str, str]]) -> list[ImageEntry]:
    return [
        ImageEntry(
            id=number,
            uri=row["filename"],
            sha256=sha256((folder / row["filename"]).read_bytes()).hexdigest(),
            split=row["split"],
            removed=False,
        )
        for number, row in enumerate(rows)
    ]


def _message(after: int, said: list[dict[str, Any]]) -> AnnotationBatch:
    now = datetime.now(UTC)
    rows = [Row(seq=after + n, id=uuid4(), annotator="ann", created_at=now, **each) for n, each in enumerate(said, 1)]
    return AnnotationBatch(
        log_id=LOG, after_seq=after, last_seq=after + len(rows), annotations=rows, catalog_version=10**9
    )


if __name__ == "__main__":
    main()
