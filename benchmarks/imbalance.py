"""Rare classes, many classes and a late one: labels until each class has its first example, and macro recall.

    python -m benchmarks.imbalance clothing=labels.csv:photos monkeys=more.csv:monkeys signs=signs.csv:signs
    python -m benchmarks.imbalance … --only "1 %" --strategies uncertainty_herding,margin --seeds 3

Each NAME=LABELS:IMAGES is embedded once, as NAME.npz in the folder --vectors, with the network that comes with the
installation. The situations, for each set of photos and for the digits of scikit-learn:

- *1 %*: one class is cut to 1 % of the images;
- *long tail*: the last class is cut to a twentieth of its images, those before it to less;
- *late*: a class of 3 % joins the pool after 100 labels;
- *30 classes*: three sets of photos of ten classes each as one, as they are and with a long tail;
- *100 classes*: pairs of digits, and characters with and without a long tail (`benchmarks.many_classes`).

The annotators are those of `benchmarks.label_efficiency`. They need 200 labels, and 400 where there are 30 or 100
classes. Runs are stored in --vectors as they end, and are not repeated. Columns: the mean over classes of the labels
until the first example of a class; the labels until 90 % of the classes and all of them have one; the share of the
classes that have one; the recall of the rarest class; and the recall as a mean over classes (macro recall). The last
two are the area under the curves of macro recall and accuracy, as a difference to the first strategy, paired by seed,
with a 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from benchmarks.data_sets import LATE, Ids, Rows, late_last, read, read_blocks, split
from benchmarks.label_efficiency import SHOWN, STEP, Curve, difference_of, simulate_on
from benchmarks.machine import describe
from benchmarks.many_classes import Embedded, characters, pairs, together
from trainer.loop.rounds import UPCOMING
from trainer.strategies import strategy_named
from trainer.tasks.pool_scores import WORK

STRATEGIES = ("uncertainty_herding", "class_balanced", "margin", "random")
REFERENCE = ("maxherding", "falcun")  # the best of scikit-activeml by accuracy, and by recall of a rare class
FEW, MANY = 200, 400
SIZE = 3_000
VARIANTS = {"1 %": "one_percent", "long tail": "imbalanced", "late": LATE}


@dataclass(frozen=True)
class Situation:
    """Images of which one annotator labels `budget`."""

    name: str
    data: Embedded | None  # None: pairs of digits
    variant: str
    budget: int

    def drawn(self, seed: int) -> tuple[Rows, Ids, Ids, Ids, int]:
        """Vectors, classes, train rows, test rows, and the number of train rows that are in the pool at first."""
        if self.data is None:
            X, y, train, test = pairs(seed)
            return X, y, train, test, len(train)
        X, y, train, test = split(self.data.X, self.data.y, seed, self.variant)
        train, present = late_last(y, train, self.variant)
        return X, y, train, test, present


@dataclass(frozen=True)
class Curves:
    """The stored result of one run. The curves have a value after every ten labels."""

    accuracy: Curve
    recall: Curve
    rarest: Curve
    firsts: Curve  # labels until the first example of each class; the budget if there is none

    def found(self, labels: int) -> float:
        """Share of the classes that have an example."""
        return float((self.firsts <= labels).mean())

    def until(self, share: float) -> float:
        """Labels until this share of the classes has an example."""
        return float(np.sort(self.firsts)[int(np.ceil(share * len(self.firsts))) - 1])


def main() -> None:
    """Embed and simulate whatever is missing, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="NAME=LABELS:IMAGES", help="labeled photos")
    parser.add_argument("--vectors", type=Path, default=Path("vectors"), help="folder that keeps vectors and runs")
    parser.add_argument("--strategies", default=",".join(STRATEGIES), help="the others are compared with the first")
    parser.add_argument("--reference", default=",".join(REFERENCE), help="strategies of scikit-activeml")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=10, help="seeds that nothing was chosen on begin at 10")
    parser.add_argument("--only", default="", help="only situations whose name has this in it")
    given = parser.parse_args()
    given.vectors.mkdir(parents=True, exist_ok=True)
    reference = [f"benchmarks.scikit_activeml:{name}" for name in given.reference.split(",") if name]
    strategies = [*given.strategies.split(","), *reference]
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    print(describe("numpy", "scikit-learn", "scikit-activeml"))
    for situation in _situations(given.sets, given.vectors, given.only):
        print(_title(situation, seeds))
        reference_runs: list[Curves] = []
        for strategy in strategies:
            runs = [_run(situation, strategy, seed, given.vectors) for seed in seeds]
            reference_runs = reference_runs or runs
            print(_row(strategy, runs, reference_runs, situation.budget), flush=True)


def _situations(sets: Sequence[str], folder: Path, only: str) -> Iterator[Situation]:
    """The situations whose name contains `only`."""
    photos = {each.partition("=")[0]: _embedded(each, folder) for each in sets}
    X, y = load_digits(return_X_y=True)
    everything = {"digits": Embedded(X.astype(np.float32), y.astype(np.int64), ()), **photos}
    for kind, variant in VARIANTS.items():
        for name, data in everything.items():
            if only in (full := f"{kind}, {name}"):
                yield Situation(full, data, variant, FEW)
    if only in (full := "100 classes, pairs"):
        yield Situation(full, None, "whole", MANY)
    tens = [data for data in photos.values() if data.y.max() == 9]
    for more, variant in (("", "whole"), (", long tail", "imbalanced")):
        if len(tens) > 2 and only in (full := f"30 classes, together{more}"):
            yield Situation(full, together(tens[:3], SIZE), variant, MANY)
        if only in (full := f"100 classes, characters{more}"):
            yield Situation(full, _kept_characters(folder), variant, MANY)


def _embedded(named: str, folder: Path) -> Embedded:
    name, _, rest = named.partition("=")
    labels, _, images = rest.partition(":")
    file = folder / f"{name}.npz"
    if not file.is_file():
        command = ["benchmarks.vectors", labels, str(file), *(["--images", images] if images else [])]
        subprocess.run([sys.executable, "-m", *command], check=True)
    _, X, y = read(f"{name}={file}")
    return Embedded(X, y, read_blocks(f"{name}={file}"))


def _kept_characters(folder: Path) -> Embedded:
    file = folder / "characters.npz"
    if not file.is_file():
        drawn = characters()
        np.savez(file, X=drawn.X, labels=drawn.y, blocks=np.array(drawn.blocks))
    _, X, y = read(f"characters={file}")
    return Embedded(X, y, read_blocks(f"characters={file}"))


def _run(situation: Situation, strategy: str, seed: int, folder: Path) -> Curves:
    """Run one annotator, or read its stored result."""
    key = sha256(json.dumps([situation.name, strategy, seed, situation.budget]).encode()).hexdigest()[:16]
    file = folder / "runs" / f"{key}.json"
    if not file.is_file():
        X, y, train, test, present = situation.drawn(seed)
        blocks = situation.data.blocks if situation.data is not None else ()
        with threadpool_limits(1):
            run = simulate_on(
                X, y, train, test, strategy_named(strategy), seed, situation.budget, present, UPCOMING, WORK, blocks
            )
        kept = {name: getattr(run, name).round(5).tolist() for name in ("accuracy", "recall", "rarest", "firsts")}
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(kept), encoding="utf-8")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return Curves(**{name: np.array(values) for name, values in found.items()})


def _title(situation: Situation, seeds: range) -> str:
    _, y, train, test, _ = situation.drawn(seeds[0])
    sizes = np.bincount(y[train])
    sizes = sizes[sizes > 0]
    shown = [n for n in SHOWN if n <= situation.budget]
    columns = ["strategy", "first example", "90 % found", "all found (worst)"]
    columns += [f"found at {'/'.join(map(str, shown))}", f"rarest {'/'.join(map(str, shown))}"]
    columns += [f"macro recall {'/'.join(map(str, shown))}", "macro recall, area", "accuracy, area"]
    return (
        f"\n{situation.name}: {len(sizes)} classes of {sizes.min()} to {sizes.max()} of {len(train)} train images, "
        f"{len(test)} held out, {len(seeds)} seeds\n\n| {' | '.join(columns)} |\n|---|{'---:|' * (len(columns) - 1)}"
    )


def _row(strategy: str, runs: list[Curves], reference: list[Curves], budget: int) -> str:
    shown = [n for n in SHOWN if n <= budget]
    last = [run.firsts.max() for run in runs]
    cells = [
        strategy.removeprefix("benchmarks."),
        f"{np.mean([run.firsts.mean() for run in runs]):.0f}",
        f"{np.median([run.until(0.9) for run in runs]):.0f}",
        f"{np.median(last):.0f} ({max(last):.0f})",
        " / ".join(f"{100 * np.mean([run.found(n) for run in runs]):.0f}" for n in shown),
    ]
    for name in ("rarest", "recall"):
        means = np.stack([getattr(run, name) for run in runs]).mean(axis=0)
        cells.append(" / ".join(f"{100 * means[n // STEP - 1]:.0f}" for n in shown))
    for name in ("recall", "accuracy"):
        areas, others = (np.array([getattr(run, name).mean() for run in each]) for each in (runs, reference))
        cells.append(difference_of(areas, others) if runs is not reference else f"{100 * areas.mean():.1f}")
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
