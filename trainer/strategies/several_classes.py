"""Uncertainty where an image can have several classes: each class is a question of its own.

A class that few images have is worth more: it decides as much of the macro F1 as any other, and has fewer answers to be
learned from. An image that belongs to none of the learned classes may show one that is not learned yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

Floats = NDArray[np.float64]
UNSURE = 0.5
"""Uncertainty of a class from which it is named as the reason: a probability between 0.25 and 0.75."""


@dataclass(frozen=True)
class Rarity:
    """The weight of each class (K,), of which the largest is 1, and of the classes that are not learned yet."""

    classes: Floats
    unlearned: float

    @classmethod
    def of(cls, images: NDArray[np.int64], unlearned: int) -> Rarity:
        """From how many labeled images have each class (K,), and how many classes are `unlearned`."""
        weights = 1.0 / np.sqrt(1.0 + images)
        return cls(weights / weights.max(initial=1e-9), min(1.0, float(unlearned)))

    def weigh(self, probabilities: NDArray[Any]) -> Floats:
        """How much an answer would tell about images with these probabilities (n, K), from 0 to 1: the mean entropy of
        the classes in bits, weighted by their rarity.
        """
        p = np.asarray(probabilities, dtype=np.float64)
        known: Floats = (entr(p) + entr(1.0 - p)) @ self.classes / (np.log(2.0) * self.classes.sum())
        return np.maximum(known, self.unlearned * np.prod(1.0 - p, axis=1))

    def doubted(self, probabilities: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The column (n,) of the class whose answer would tell most, and whether it is in doubt (n,)."""
        p = np.asarray(probabilities, dtype=np.float64)
        doubt = 1.0 - np.abs(2.0 * p - 1.0)
        best = (doubt * self.classes).argmax(axis=1)
        return best.astype(np.int64), doubt[np.arange(len(p)), best] >= UNSURE


def entropies(probabilities: NDArray[Any]) -> Floats:
    """The entropy of all answers of an image together, were they independent: Σ over the classes, in nats."""
    p = np.asarray(probabilities, dtype=np.float64)
    return np.asarray((entr(p) + entr(1.0 - p)).sum(axis=1))
