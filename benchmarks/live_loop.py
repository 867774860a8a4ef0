"""Time from an accepted batch to the new order in the queue, in both real services: `python -m benchmarks.live_loop`.

A simulated annotator answers batches of 10 over HTTP. After each, it waits until the queue's order comes from a model
that has seen the batch. The pool consists of 8 × 8 pictures of ten classes. A fixed random projection embeds each into
1,280 values, so files, catalogue, store, head, strategy and push are the product's own. Meanwhile another thread asks
both services for their state 20 times a second, which shows how fast the API answers during training. The physical
limit in the same run is one matrix product of the pool with ten weight vectors, which any new order needs. With
`--challenger` the whole network is trained meanwhile; `--challenger auto` uses only pauses on a CPU.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from PIL import Image

from benchmarks.machine import describe, p50_p95
from commands.labels.simulate import Annotator
from tests.services import Process, wait_for

CLASSES, DIM, SIDE = 10, 1_280, 8
SCAN_SECONDS = 1_800.0


def projection() -> torch.nn.Module:
    """The backbone: 192 pixel values → 1,280 numbers, with fixed weights."""
    torch.manual_seed(0)
    linear = torch.nn.Linear(3 * SIDE * SIDE, DIM)
    return torch.nn.Sequential(torch.nn.Flatten(), linear, torch.nn.ReLU())


def main() -> None:
    """Measure and print, for one pool size after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[1_800, 10_000, 100_000])
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--challenger", nargs="?", const="on", default="off", help="the setting; on if none is named")
    parser.add_argument(
        "--wrong", type=float, default=0.0, help="share of wrong labels; without, no challenger may win"
    )
    parser.add_argument("--before", type=int, default=0, help="labels first; then a challenger is waited for")
    options = parser.parse_args()
    print(describe("torch", "scikit-learn", "fastapi"))
    columns = ["images", "batch → new order, p50 / p95", "fit", "score", "rank", "push"]
    columns += ["labeler API", "trainer API", "bare product"]
    print(f"\n| {' | '.join(columns)} |\n|{'---:|' * len(columns)}")
    for count in options.images:
        print(_measure(count, options.batches, options.challenger, options.wrong, options.before), flush=True)


def _measure(count: int, batches: int, challenger: str, wrong: float, before: int) -> str:
    with tempfile.TemporaryDirectory(prefix="flywheel-live-", ignore_cleanup_errors=True) as folder:
        photos, workspace = Path(folder) / "photos", Path(folder) / "workspace"
        truth = _write(photos, count, wrong)
        labeler = Process(
            "labeler", {"images": photos, "workspace": workspace, "classes": ",".join(map(str, range(CLASSES)))}
        )
        trainer = Process(
            "trainer",
            {
                "images": photos,
                "workspace": workspace,
                "labeler_url": labeler.url,
                "model_fn": "benchmarks.live_loop:projection",
                "input_size": SIDE,
                "batch_size": 256,
                "challenger": challenger,
            },
        )
        labeler.settings["trainer_url"] = trainer.url
        try:
            trainer.start(wait=False)
            labeler.start()
            wait_for(lambda: _embedded(trainer) >= count, "the embeddings", SCAN_SECONDS)
            return _row(count, labeler, trainer, truth, batches, before)
        finally:
            for process in (labeler, trainer):
                process.end()


def _row(count: int, labeler: Process, trainer: Process, truth: dict[str, str], batches: int, before: int) -> str:
    person = Annotator(labeler.url, truth)
    if before:
        person.run(before)
    if before and trainer.settings["challenger"] != "off":
        wait_for(lambda: "epoch" in _challenger(trainer)["message"], "a challenger in training", SCAN_SECONDS)
    ended = threading.Event()
    answers: dict[str, list[float]] = {"labeler": [], "trainer": []}
    addresses = {"labeler": f"{labeler.url}/api/project", "trainer": f"{trainer.url}/status"}
    probe = threading.Thread(target=_probe, args=(addresses, answers, ended))
    probe.start()
    steps: dict[str, list[float]] = {"fit": [], "score": [], "rank": [], "push": []}

    def note(_count: int, measured: object) -> None:
        if measured is not None:
            timings = httpx.get(addresses["trainer"], timeout=20).json()["timings"]
            for name, values in steps.items():
                values.append(timings.get(name, float("nan")))

    result = person.run(10 * batches, on_progress=note)
    ended.set()
    probe.join()
    person.close()
    challenger = _challenger(trainer)
    if challenger["state"] != "off":
        print(f"The challenger at the end: {challenger['message']}; takes over: {challenger['serving']}")
    waits = [point.seconds_to_queue * 1e3 for point in result.measurements if point.seconds_to_queue is not None]
    parts = " | ".join(f"{np.nanmedian(values):.0f} ms" for values in steps.values())
    return (
        f"| {count:,} | {p50_p95(waits)} | {parts} | {p50_p95(answers['labeler'])} | {p50_p95(answers['trainer'])} "
        f"| {_bare_product(count):.0f} ms |"
    )


def _probe(addresses: dict[str, str], answers: dict[str, list[float]], ended: threading.Event) -> None:
    with httpx.Client(timeout=20) as client:
        while not ended.wait(0.05):
            for name, address in addresses.items():
                began = time.perf_counter()
                client.get(address)
                answers[name].append((time.perf_counter() - began) * 1e3)


def _write(folder: Path, count: int, wrong: float) -> dict[str, str]:
    folder.mkdir()
    rng = np.random.default_rng(0)
    patterns = rng.uniform(0, 255, (CLASSES, SIDE, SIDE, 3))
    truth = {}
    for number in range(count):
        label = number % CLASSES
        pixels = np.clip(patterns[label] + rng.normal(0, 90, patterns[label].shape), 0, 255).astype(np.uint8)
        name = f"{number:06d}.png"
        Image.fromarray(pixels).save(folder / name)
        truth[name] = str(label)
    for name in rng.permutation(list(truth))[: round(wrong * count)]:
        truth[name] = str(rng.integers(CLASSES))
    return truth


def _challenger(trainer: Process) -> dict[str, Any]:
    said: dict[str, Any] = httpx.get(f"{trainer.url}/status", timeout=20).json()["challenger"]
    return said


def _embedded(trainer: Process) -> int:
    return int(httpx.get(f"{trainer.url}/status", timeout=20).json()["embedding"]["done"])


def _bare_product(count: int) -> float:
    """Milliseconds for (N, 1280) @ (1280, 10), the median of 5."""
    pool = np.random.default_rng(0).normal(size=(count, DIM)).astype(np.float32)
    weights = np.ones((DIM, CLASSES), np.float32)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        pool @ weights
        times.append((time.perf_counter() - began) * 1e3)
    return float(np.median(times))


if __name__ == "__main__":
    main()
