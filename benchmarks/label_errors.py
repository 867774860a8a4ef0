"""How well does Review find wrong labels, and how much accuracy does fixing them gain?

    python -m benchmarks.label_errors                                # the digits of scikit-learn
    python -m benchmarks.label_errors --npz clothing=FILE.npz        # X (n, D) raw vectors, labels (n,)

A fifth of the images, with clean labels, is kept to measure accuracy. A share of the others gets a wrong label: drawn
`uniform`ly from the other classes, or the `similar` one, whose mean is nearest. Three orders are compared, with the
same vectors, number of folds and seeds:

- Flywheel: `trainer.evaluation.cross_validation` and `trainer.review.label_issues`, as on the page Review;
- cleanlab alone: `get_label_quality_scores` on out-of-fold probabilities of a logistic regression, as in its
  documentation, with the better of two regularisation strengths on the given labels;
- random order.

Then somebody looks at one and a half times as many images as there are errors, in each order, and fixes what is wrong.
Figures are means over seeds; *looked at* is the number of images per error.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict, train_test_split
from threadpoolctl import threadpool_limits

from benchmarks.data_sets import read
from benchmarks.machine import describe
from trainer.embeddings.transform import fit_projection
from trainer.evaluation.cross_validation import FOLDS, out_of_fold
from trainer.learners.kernel_head import fit_head
from trainer.review.label_issues import find_doubts

Rows = NDArray[np.float32]
Ids = NDArray[np.int64]

SHARES = (0.05, 0.1, 0.2, 0.4)
KINDS = ("uniform", "similar")
LOOKED = 1.5  # images looked at per error
STRENGTHS = (1.0, 100.0)  # values of C, on unit rows


@dataclass(frozen=True)
class Problem:
    """Rows (n, D) with given labels (n,) and true ones, and a test sample with true labels only."""

    rows: Rows
    given: Ids
    truth: Ids
    test_rows: Rows
    test_truth: Ids

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Mask (n,) of the errors."""
        return np.asarray(self.given != self.truth)


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--npz", metavar="NAME=FILE", help="your own embeddings (default: digits)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=100, help="parameters were tuned on seeds from 0 on")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--shares", default=",".join(map(str, SHARES)))
    given = parser.parse_args()
    name, X, y = read(given.npz)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    print(
        f"{name}: {len(y)} images, seeds {seeds[0]} to {seeds[-1]}. {describe('cleanlab', 'scikit-learn', 'numpy')}\n"
    )
    print(
        "| noise | order | precision at the number of errors | recall at 1.5 × | AUROC "
        "| looked at for 80 % | 90 % | 95 % | accuracy as given → fixed → all clean |\n|---|---|" + "---:|" * 7
    )
    for kind in given.kinds.split(","):
        for share in map(float, given.shares.split(",")):
            with threadpool_limits(1):
                figures = [measure(noisy(X, y, kind, share, seed), seed) for seed in seeds]
            for order in figures[0]:
                mean = np.mean([each[order] for each in figures], axis=0)
                _print_row(f"{kind} {share:.0%}", order, mean)


def noisy(X: Rows, y: Ids, kind: str, share: float, seed: int) -> Problem:
    """Make a share of the train labels wrong, in the trainer's feature space."""
    rng = np.random.default_rng(seed)
    train, test = train_test_split(np.arange(len(y)), test_size=0.2, random_state=seed, stratify=y)
    projection = fit_projection(X[train].mean(axis=0), X[train])
    rows, truth = projection.transform(X[train]), y[train]
    given = truth.copy()
    errors = rng.choice(len(train), round(share * len(train)), replace=False)
    classes = np.unique(y)
    if kind == "uniform":
        given[errors] = (truth[errors] + rng.integers(1, len(classes), len(errors))) % len(classes)
    else:
        given[errors] = most_similar(rows, truth)[truth[errors]]
    return Problem(rows, given, truth, projection.transform(X[test]), y[test])


def most_similar(rows: Rows, truth: Ids) -> Ids:
    """The class with the nearest mean, for each class (K,)."""
    means = np.stack([rows[truth == k].mean(axis=0) for k in range(truth.max() + 1)])
    distance = np.linalg.norm(means[:, None] - means[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    return np.asarray(distance.argmin(axis=1))


def measure(problem: Problem, seed: int) -> dict[str, list[float]]:
    """Order → its figures."""
    chance = np.random.default_rng(seed).permutation(len(problem.given))
    orders = {"Flywheel": flywheel(problem, seed), "cleanlab alone": cleanlab(problem, seed), "chance": chance}
    return {name: _figures(problem, order, seed) for name, order in orders.items()}


def flywheel(problem: Problem, seed: int) -> Ids:
    """All images, the most doubtful first; those that would not be shown come last, in random order."""
    nobody = np.zeros(len(problem.given), bool)
    known = out_of_fold(np.arange(len(problem.given)), problem.rows, problem.given, nobody, seed=seed)
    if known is None:
        raise SystemExit("There are too few images to judge.")
    listed = find_doubts(known, problem.given, nobody).rows
    rest = np.setdiff1d(np.arange(len(problem.given)), listed)
    return np.concatenate([listed, np.random.default_rng(seed).permutation(rest)])


def cleanlab(problem: Problem, seed: int) -> Ids:
    """All images in the order of cleanlab's self-confidence."""
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    tried = [
        cross_val_predict(
            LogisticRegression(C=strength, max_iter=500), problem.rows, problem.given, cv=folds, method="predict_proba"
        )
        for strength in STRENGTHS
    ]
    best = max(tried, key=lambda said: float((said.argmax(axis=1) == problem.given).mean()))
    return np.argsort(get_label_quality_scores(problem.given, best, method="self_confidence"), kind="stable")


def _figures(problem: Problem, order: Ids, seed: int) -> list[float]:
    wrong = problem.wrong[order]
    errors = int(wrong.sum())
    looked = round(LOOKED * errors)
    found = np.cumsum(wrong)
    fixed = problem.given.copy()
    fixed[order[:looked]] = problem.truth[order[:looked]]
    return [
        found[errors - 1] / errors,
        found[looked - 1] / errors,
        float(roc_auc_score(wrong, -np.arange(len(order)))),
        *(float(np.searchsorted(found, share * errors) + 1) / errors for share in (0.8, 0.9, 0.95)),
        *(_accuracy(problem, labels, seed) for labels in (problem.given, fixed, problem.truth)),
    ]


def _accuracy(problem: Problem, labels: Ids, seed: int) -> float:
    head = fit_head(problem.rows, labels, seed=seed)
    said = head.classes[head.predict_proba(problem.test_rows).argmax(axis=1)]
    return float((said == problem.test_truth).mean())


def _print_row(noise: str, order: str, mean: Sequence[float]) -> None:
    precision, recall, auroc, *looked = mean[:6]
    accuracy = " → ".join(f"{100 * each:.1f} %" for each in mean[6:])
    multiples = " | ".join(f"{each:.2f} ×" for each in looked)
    print(
        f"| {noise} | {order} | {100 * precision:.1f} % | {100 * recall:.1f} % | {auroc:.3f} | {multiples} "
        f"| {accuracy} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
