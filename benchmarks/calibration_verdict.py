"""How many test images does it take to tell whether a model's confidence matches its accuracy?

    python -m benchmarks.calibration_verdict

Draws test images of a model with a given mean confidence: each confidence from a beta distribution between 0.2 and 1,
each answer right with the probability that the model says (calibrated), or with ten points less (overconfident). A row
has, in % of the runs, how often the calibrated model is called miscalibrated and the overconfident one overconfident:
by the plain rule, a difference of more than three points, and by the rule of the page Progress (`figures.leaning`,
without its minimum). The last column is the calibrated model's mean calibration error, which should be 0.
"""

from __future__ import annotations

import argparse
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from shared import figures
from shared.wire.evaluation import CalibrationBin
from trainer.evaluation.metrics import calibrate

MEANS = (0.6, 0.8, 0.9, 0.95)
SIZES = (11, 20, 50, 100, 150, 200, 400)
LOWEST = 0.2
SPREAD = 2.0
OFF = 0.1


def main() -> None:
    """Simulate, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000)
    given = parser.parse_args()
    print(describe())
    print("| confidence | test images | plain: wrong | plain: found | page: wrong | page: found | calibration error |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    random = np.random.default_rng(0)
    with patch.object(figures, "CALIBRATION_ENOUGH", 0):
        for mean in MEANS:
            for size in SIZES:
                calibrated = [_bins(random, mean, size, 0.0) for _ in range(given.runs)]
                overconfident = [_bins(random, mean, size, OFF)[0] for _ in range(given.runs)]
                cells = (
                    np.mean([abs(_off(bins)) > figures.CALIBRATED for bins, _ in calibrated]),
                    np.mean([_off(bins) > figures.CALIBRATED for bins in overconfident]),
                    np.mean([figures.leaning(bins) in ("overconfident", "underconfident") for bins, _ in calibrated]),
                    np.mean([figures.leaning(bins) == "overconfident" for bins in overconfident]),
                    np.mean([error for _, error in calibrated]),
                )
                print(f"| {mean:.0%} | {size} | {' | '.join(f'{100 * each:.0f}' for each in cells)} |")


def _bins(random: np.random.Generator, mean: float, size: int, off: float) -> tuple[list[CalibrationBin], float]:
    share = (mean - LOWEST) / (1 - LOWEST)
    confidence: NDArray[np.float64] = LOWEST + (1 - LOWEST) * random.beta(SPREAD * share, SPREAD * (1 - share), size)
    bins, error = calibrate(random.random(size) < confidence - off, confidence.astype(np.float32))
    return bins, error or 0.0


def _off(bins: list[CalibrationBin]) -> float:
    return float(np.average([b.confidence - b.accuracy.value for b in bins], weights=[b.accuracy.n for b in bins]))


if __name__ == "__main__":
    main()
