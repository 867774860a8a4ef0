"""Whether the model keeps up with the person: `python -m benchmarks.keeping_up LABELS:IMAGES`.

Both real services run on real photos, with the network that comes with the installation. A simulated annotator answers
at a person's pace, without waiting for the model: from the first list on, while most images are still being embedded,
or once all are embedded. With `--busy 2`, two other processes compute all the time. Afterwards, the trainer's own head
(with a teacher, as it has in a finished pool) is fitted on the first 20, 50 and 100 train labels in the order in which
they were given, and measured on a stratified quarter that was held out. *In step* is the same annotator in this process
(`benchmarks.label_efficiency`), whose every batch of ten is answered from a list that knows all answers before it, over
all images. The difference is what haste costs.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from benchmarks.data_sets import held_out, pool_of
from benchmarks.label_efficiency import SHOWN, TASK, simulate
from benchmarks.machine import describe
from commands.labels.simulate import Annotator, read_truth
from tests.services import Process, wait_for
from trainer.embeddings.store import SHAPE, EmbeddingStore
from trainer.strategies import strategy_named

Ids = NDArray[np.int64]
EMBED_SECONDS = 1_800.0
LIST_SECONDS = 300.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "photos", metavar="LABELS:IMAGES", help="a table with filename,label and the folder of the files"
    )
    parser.add_argument("--paces", type=float, nargs="+", default=[0.5, 2, 10], help="labels per second")
    parser.add_argument("--begin", choices=["first list", "embedded"], nargs="+", default=["first list", "embedded"])
    parser.add_argument("--busy", type=int, nargs="+", default=[0], help="other processes that compute all the time")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--budget", type=int, default=100)
    given = parser.parse_args()
    labels, _, images = given.photos.partition(":")
    truth = _once(read_truth(Path(labels)), Path(images))
    print(describe("torch", "numpy") + f", {len(truth):,} photos, {given.seeds} seeds\n")
    shown = [n for n in SHOWN if n <= given.budget]
    print(
        "| labels a second | begun at | busy processes | " + " | ".join(map(str, shown)) + " | in step | difference |"
    )
    print("|---:|---|---:|" + "---:|" * len(shown) + "---:|---:|")
    for busy in given.busy:
        for begin in given.begin:
            for pace in given.paces:
                runs = [_run(Path(images), truth, pace, begin, busy, seed, given.budget) for seed in range(given.seeds)]
                haste, step = (100 * np.mean([run[way] for run in runs], axis=0) for way in (0, 1))  # (budgets,)
                row = [f"{haste[n // 10 - 1]:.1f}" for n in shown]
                reference = " / ".join(f"{step[n // 10 - 1]:.1f}" for n in shown)
                cost = " / ".join(f"{haste[n // 10 - 1] - step[n // 10 - 1]:+.1f}" for n in shown)
                print(f"| {pace:g} | {begin} | {busy} | {' | '.join(row)} | {reference} | {cost} |", flush=True)


def _once(truth: dict[str, str], images: Path) -> dict[str, str]:
    """Without copies of an image, which the labeler shows once."""
    first: dict[str, str] = {}
    for name in sorted(truth):
        first.setdefault(hashlib.sha256((images / name).read_bytes()).hexdigest(), name)
    return {name: truth[name] for name in first.values()}


def _run(
    images: Path, truth: dict[str, str], pace: float, begin: str, busy: int, seed: int, budget: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The accuracies after each ten train labels of the annotator in haste, and of the one in step."""
    names = sorted(truth)
    y = np.unique([truth[name] for name in names], return_inverse=True)[1].astype(np.int64)
    train, test = held_out(y, seed)
    with tempfile.TemporaryDirectory(prefix="flywheel-pace-", ignore_cleanup_errors=True) as folder, _busy(busy):
        workspace = Path(folder) / "workspace"
        with (Path(folder) / "test.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["filename", "label"])
            writer.writerows((names[row], truth[names[row]]) for row in test)
        labeler = Process("labeler", {"images": images, "workspace": workspace}, cold=True)
        trainer = Process(
            "trainer",
            {
                "images": images,
                "workspace": workspace,
                "labeler_url": labeler.url,
                "auto_download": "false",
                "backbone": "tf_efficientnet_lite0",
                "seed": seed,
            },
            cold=True,
        )
        labeler.settings |= {
            "trainer_url": trainer.url,
            "classes": ",".join(sorted(set(truth.values()))),
            "test_set": Path(folder) / "test.csv",
            "validation_set_frac": 0,
        }
        try:
            trainer.start(wait=False)
            labeler.start()
            wait_for(lambda: _get(f"{labeler.url}/api/project")["query_version"], "the first list", LIST_SECONDS)
            if begin == "embedded":
                wait_for(lambda: _embedded(trainer), "the embeddings", EMBED_SECONDS)
                time.sleep(5.0)  # for a list of all of them
            person = Annotator(labeler.url, truth)
            answers = [(image, label) for image, label, purpose in person.run(budget, pace=pace).answers if label]
            person.close()
            wait_for(lambda: _embedded(trainer), "the embeddings", EMBED_SECONDS)
            found = {entry["id"]: entry for entry in _catalog(labeler)}
            key = _get(f"{trainer.url}/status")["embedding"]["backbone"]
        finally:
            for process in (labeler, trainer):
                process.end()
        X = _vectors(workspace / "trainer" / "embeddings" / key, names, found.values())
    blocks = (1_280, X.shape[1] - 1_280)
    place = {name: row for row, name in enumerate(names)}
    order = np.array([place[_name(found[image])] for image, _ in answers], np.int64)
    step = simulate(X, y, strategy_named("uncertainty_herding"), seed, "whole", budget, blocks=blocks).accuracy
    return along(X, y, train, test, order, blocks, seed), step


def along(
    X: NDArray[np.float32], y: Ids, train: Ids, test: Ids, order: Ids, blocks: Sequence[int], seed: int
) -> NDArray[Any]:
    """The accuracy on `test` after each ten labels of `order`."""
    pool = pool_of(X, train, test, blocks)
    row_of = {int(image): row for row, image in enumerate(pool.train.ids)}
    labeled = np.array([row_of[int(image)] for image in order if int(image) in row_of], np.int64)
    truth, found = y[pool.train.ids], []
    for count in range(10, len(labeled) + 1, 10):
        rows = np.sort(labeled[:count])
        if len(np.unique(truth[rows])) == 1:
            found.append(float((truth[rows[0]] == y[pool.held.ids]).mean()))
            continue
        pool.learn_shares(rows, TASK.as_numbers(truth[rows]))
        head = TASK.fit(
            pool.train.rows[rows], truth[rows], pool=pool.train.rows[:], kept=pool.kept, without=rows, seed=seed
        )
        said = head.classes[head.predict_proba(pool.held.rows[:]).argmax(axis=1)]
        found.append(float((said == y[pool.held.ids]).mean()))
    return np.array(found)


def _vectors(folder: Path, names: Sequence[str], entries: Any) -> NDArray[np.float32]:
    hashes = {_name(entry): entry["sha256"] for entry in entries}
    store = EmbeddingStore(folder, json.loads((folder / SHAPE).read_text())["dim"])
    try:
        return store.read([hashes[name] for name in names])
    finally:
        store.close()


def _name(entry: dict[str, Any]) -> str:
    return str(entry["uri"]).rsplit("/", 1)[-1]


def _catalog(labeler: Process) -> Iterator[dict[str, Any]]:
    after = 0
    while page := _get(f"{labeler.url}/api/images?after={after}"):
        yield from page["images"]
        if not page["images"]:
            return
        after = page["next"]


def _embedded(trainer: Process) -> bool:
    embedding = _get(f"{trainer.url}/status")["embedding"]
    return bool(embedding["total"] and embedding["done"] >= embedding["total"])


def _get(url: str) -> Any:
    return httpx.get(url, timeout=60).raise_for_status().json()


def _compute() -> None:
    while True:
        pass


@contextmanager
def _busy(count: int) -> Iterator[None]:
    others = [multiprocessing.Process(target=_compute, daemon=True) for _ in range(count)]
    for each in others:
        each.start()
    try:
        yield
    finally:
        for each in others:
            each.terminate()
            each.join()


if __name__ == "__main__":
    main()
