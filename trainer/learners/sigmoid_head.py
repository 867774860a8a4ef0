"""The head for several classes per image: K sigmoids on the kernel of `trainer.learners.kernel_head`.

Each class is a yes-or-no question of its own. An answer that leaves a class out counts neither as a yes nor as a no. A
class is learned once its answers contain a yes and a no. For one class whose answers are all known, the head equals a
kernel head for two classes.

The logits are divided by a temperature, and a class is predicted if it reaches its own threshold. Both are chosen on
out-of-fold predictions, see `trainer.learners.thresholds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from trainer.learners.kernel_head import GAMMA, Matrix, Span, landmark_rows, scored
from trainer.learners.thresholds import Calibration, calibrate, folds_to_judge
from trainer.threads import one_thread

YES, NO, UNKNOWN = 1, 0, -1
PENALTY = 0.5
"""Factor of ½·|W|². A kernel head for two classes spreads a logit over two columns, and so pays half the penalty."""
COLD = 60
"""Iterations of a search on sampled landmarks without a previous head. With 20, the sigmoids lose 3 points of macro F1
on grids of digits."""

Answers = NDArray[np.int8]
"""(n, C), for each image and class id: 1 if the image has the class, 0 if it lacks it, −1 if this is unknown."""


@dataclass(frozen=True)
class Sigmoids:
    """A fitted head: logits are (exp(-γ·d²(row, landmarks)) @ `weights` + `bias`) / `temperature`.

    `classes` (K,) int64 ascending class ids, `landmarks` (m, D) unit rows, `weights` (m, K), `bias` (K,) and
    `thresholds` (K,), all float32.
    """

    classes: NDArray[np.int64]
    landmarks: Matrix
    weights: Matrix
    bias: Matrix
    thresholds: Matrix
    temperature: float = 1.0

    def predict_proba(self, Z: Matrix) -> Matrix:
        """The probability (n, K) of each class for unit rows `Z` (n, D), in the order of `classes`."""
        return scored(Z, self)

    def from_logits(self, logits: Matrix) -> Matrix:
        """The probability (n, K) of each class from logits (n, K) before they are divided by the temperature."""
        probabilities: Matrix = expit(logits / np.float32(self.temperature))
        return probabilities

    def decide(self, probabilities: Matrix) -> NDArray[np.bool_]:
        """Which classes (n, K) are predicted at these probabilities (n, K)."""
        return np.asarray(probabilities >= self.thresholds)

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """All arrays of the head, by name."""
        return {
            "classes": self.classes,
            "anchors": self.landmarks,
            "weights": self.weights,
            "bias": self.bias,
            "thresholds": self.thresholds,
            "temperature": np.array([self.temperature], np.float32),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.generic]]) -> Self:
        """The head from the arrays of `to_tensors`."""
        landmarks, weights, bias, thresholds, temperature = (
            np.asarray(tensors[key], dtype=np.float32)
            for key in ("anchors", "weights", "bias", "thresholds", "temperature")
        )
        classes = np.asarray(tensors["classes"], dtype=np.int64)
        return cls(classes, landmarks, weights, bias, thresholds, float(temperature[0]))


class SigmoidHead:
    """The learner of `Sigmoids`."""

    name = "sigmoid_head"
    how_to_use = (
        "Embed with the backbone, subtract mean, scale to unit length; multiply by axes, scale to unit length again; "
        f"logits are (exp(-{GAMMA} * squared distance to each of anchors) @ weights + bias) / temperature; "
        "probabilities are 1 / (1 + exp(-logits)), one for each class; a class is predicted from its threshold on."
    )

    def fit(self, rows: Matrix, targets: Answers, *, previous: Sigmoids | None = None, seed: int = 0) -> Sigmoids:
        """As `fit_sigmoids`."""
        return fit_sigmoids(rows, targets, previous=previous, seed=seed)

    def predict(self, model: Sigmoids, rows: Matrix) -> Matrix:
        """Probabilities (n, K)."""
        return model.predict_proba(rows)

    def save(self, model: Sigmoids) -> dict[str, NDArray[np.generic]]:
        """All arrays of the head."""
        return model.to_tensors()

    def load(self, tensors: Mapping[str, NDArray[np.generic]]) -> Sigmoids:
        """The head whose arrays `save` returned."""
        return Sigmoids.from_tensors(tensors)


def learnable(targets: Answers) -> NDArray[np.int64]:
    """The class ids, ascending, whose answers contain a yes and a no."""
    return np.flatnonzero((targets == YES).any(axis=0) & (targets == NO).any(axis=0)).astype(np.int64)


def fit_sigmoids(
    Z: Matrix,
    targets: Answers,
    *,
    weights: NDArray[np.float64] | None = None,
    previous: Sigmoids | None = None,
    seed: int = 0,
    calibrated: bool = True,
) -> Sigmoids:
    """Fit a head on unit rows `Z` (n, D) with the answers `targets` (n, C), optionally weighted by `weights` (n, C).

    `previous` only saves time: the search starts from its function. `seed` draws the landmarks for more than 1,000
    labels, and the folds. Unless `calibrated`, the temperature is 1 and all thresholds are 0.5, which takes less time.
    Raises ValueError if no class has a yes and a no.
    """
    classes = learnable(targets)
    if not len(classes):
        raise ValueError("a head needs a class that some images have and others lack")
    said = targets[:, classes]
    weight = (said != UNKNOWN).astype(np.float32)
    if weights is not None:
        weight *= weights[:, classes].astype(np.float32)
    yes = (said == YES).astype(np.float32)

    def firsts(order: NDArray[np.int64]) -> NDArray[np.int64]:
        drawn = said[order]
        return np.unique([(drawn == YES).argmax(axis=0), (drawn == NO).argmax(axis=0)])

    with one_thread():
        span = Span.of(Z, landmark_rows(len(Z), seed, firsts))
        start = span.start(previous if previous is not None and np.array_equal(previous.classes, classes) else None)
        iterations = COLD if start is None else None
        start = _nothing_known(span, yes, weight) if start is None else start
        found = span.minimise(_errors(yes, weight), start, penalty=PENALTY, iterations=iterations)
        coefficients, bias = span.coefficients(found)
        calibration = Calibration.plain(len(classes))
        if calibrated:
            calibration = _calibration(span, Z, yes, weight, seed)
    return Sigmoids(classes, span.landmarks, coefficients, bias, calibration.thresholds, calibration.temperature)


def _nothing_known(span: Span, yes: Matrix, weight: Matrix) -> NDArray[np.float64]:
    """Parameters (m+1, K) to start from: each class is as likely as it is frequent."""
    has, lacks = (weight * yes).sum(axis=0), (weight * (1 - yes)).sum(axis=0)
    return np.vstack([np.zeros((len(span.landmarks), yes.shape[1])), np.log((has + 0.5) / (lacks + 0.5))])


def _errors(yes: Matrix, weight: Matrix) -> Any:
    """The loss of logits (n, K) and its gradient: cross-entropy of each class, times `weight` (n, K)."""
    wanted = yes * weight

    def errors(logits: Any) -> tuple[float, Any]:
        z = logits.astype(np.float32)
        small = np.exp(-np.abs(z))
        probabilities = np.where(z >= 0, np.float32(1.0), small) / (1.0 + small)
        loss = weight * (np.log1p(small) + np.maximum(z, 0.0)) - wanted * z
        return float(loss.sum(dtype=np.float64)), weight * probabilities - wanted

    return errors


def _calibration(span: Span, Z: Matrix, yes: Matrix, weight: Matrix, seed: int) -> Calibration:
    """The temperature and thresholds that suit out-of-fold logits.

    The folds are fitted in one search, each as K more columns. This works because all folds share the span of all rows,
    in which a row without weight has no effect.
    """
    rows, fold, judged = folds_to_judge(Z, yes, weight, seed)
    if not judged:
        return Calibration.plain(yes.shape[1])
    y, w = yes[rows], weight[rows]
    kept = np.concatenate([w * (fold != k)[:, None] for k in range(judged)], axis=1)  # (r, judged·K)
    wanted = np.tile(y, judged)
    start = _nothing_known(span, wanted, kept)
    found = span.minimise(_errors(wanted, kept), start, penalty=PENALTY, iterations=COLD, rows=rows)
    logits = (span.features[rows] @ found[:-1].astype(np.float32) + found[-1]).reshape(len(rows), judged, -1)
    has_both = ((kept * wanted).any(axis=0) & (kept * (1 - wanted)).any(axis=0)).reshape(judged, -1)
    mine = np.flatnonzero(fold < judged)
    own = logits[mine, fold[mine]]
    counts = w[mine] * has_both[fold[mine]]
    return calibrate(own, y[mine] > 0, counts > 0)
