"""One curve of accuracy against labels through both real services over HTTP, by a simulated annotator.

Each run has its own workspace. The trainer gets the vectors as a file, so that any data set of vectors can be used, and
exactly the vectors that `label_efficiency` has in this process; the images only need to be distinct small pictures. The
held-out quarter is the labeler's evaluation set. So no test image is asked in between, every answer is a train label,
and the trainer itself measures the accuracy.
"""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from commands.labels.simulate import Annotator
from tests.services import Process, wait_for

Ids = NDArray[np.int64]

READY_SECONDS = 600.0
SETTLED_SECONDS = 2.0  # without a new list: the current one is based on every image
BUFFER_SECONDS = 5.0  # much longer than a batch of answers takes, so that batches stay whole


def curve_over_http(
    X: NDArray[np.float32],
    y: Ids,
    test: Ids,
    strategy: str,
    seed: int,
    budget: int,
    step: int,
    blocks: Sequence[int] = (),
) -> NDArray[np.float64]:
    """Accuracy on the rows `test` after each `step` labels up to `budget`, asked by `strategy` from all other rows.

    `X` (n, D) are raw vectors, `y` (n,) class ids. Raises AssertionError if an evaluation is missing.
    """
    with tempfile.TemporaryDirectory(prefix="flywheel-curve-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        truth = _write(folder, X, y, test, blocks)
        labeler = Process("labeler", {"images": folder / "photos", "workspace": folder / "workspace"})
        trainer = Process(
            "trainer",
            {
                "images": folder / "photos",
                "workspace": folder / "workspace",
                "labeler_url": labeler.url,
                "embeddings": folder / "vectors.npz",
                "query_strategy": strategy,
                "seed": seed,
            },
        )
        labeler.settings |= {
            "trainer_url": trainer.url,
            "classes": ",".join(sorted(set(truth.values()))),
            "test_set": folder / "test.csv",
            "validation_set_frac": 0,
            "buffer_size": step,
            "buffer_seconds": BUFFER_SECONDS,
        }
        try:
            trainer.start(wait=False)
            labeler.start()
            wait_for(_ready(labeler, trainer, len(y)), "the first list", READY_SECONDS)
            person = Annotator(labeler.url, truth)
            answers = [label for _, label, _ in person.run(budget).answers]
            person.close()
            measured = _measured(trainer, last=len(answers))
        finally:
            for process in (labeler, trainer):
                process.end()
    return np.array(
        [_accuracy(measured, answers[:count], y[test]) for count in range(step, len(answers) + 1, step)], dtype=float
    )


def _write(folder: Path, X: NDArray[np.float32], y: Ids, test: Ids, blocks: Sequence[int]) -> dict[str, str]:
    """Write pictures, vectors and the evaluation set; returns file name → class name."""
    photos = folder / "photos"
    photos.mkdir()
    truth = {f"{row:06d}.png": str(label) for row, label in enumerate(y)}
    for row, name in enumerate(truth):
        Image.fromarray(np.full((8, 8, 3), (row >> 16, row >> 8 & 255, row & 255), np.uint8)).save(photos / name)
    np.savez(folder / "vectors.npz", filename=np.array(list(truth)), vectors=X, blocks=np.array(blocks or [X.shape[1]]))
    names = list(truth)
    with (folder / "test.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["filename", "label"])
        writer.writerows((names[row], truth[names[row]]) for row in test)
    return truth


def _ready(labeler: Process, trainer: Process, images: int) -> Callable[[], bool]:
    """Whether all images are embedded, and the list that is based on all of them has not changed for a while."""
    seen: dict[str, Any] = {"version": None, "since": time.monotonic()}

    def ready() -> bool:
        status, project = _get(f"{trainer.url}/status"), _get(f"{labeler.url}/api/project")
        if project["query_version"] != seen["version"]:
            seen.update(version=project["query_version"], since=time.monotonic())
        whole = status["embedding"]["done"] == images and project["query_acked_seq"] == project["last_seq"]
        return bool(whole and time.monotonic() - seen["since"] > SETTLED_SECONDS)

    return ready


def _measured(trainer: Process, last: int) -> dict[int, float]:
    """Labels trained on → accuracy, once the model with `last` labels is measured."""

    def evaluations() -> dict[int, float] | None:
        found = _get(f"{trainer.url}/evaluations")["evaluations"]
        curve = {each["labels"]: each["accuracy"]["value"] for each in found}
        return curve if last in curve else None

    return wait_for(evaluations, "the last evaluation")


def _accuracy(measured: dict[int, float], answers: list[str], truth: Ids) -> float:
    """The accuracy after `answers`; with labels of one class there is no model, and that class is predicted."""
    if len(set(answers)) == 1:
        return float((truth == int(answers[0])).mean())
    assert len(answers) in measured, f"nothing was measured at {len(answers)} labels"
    return measured[len(answers)]


def _get(url: str) -> Any:
    return httpx.get(url, timeout=30).raise_for_status().json()
