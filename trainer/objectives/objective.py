"""Training objectives of the fine-tuner: loss, validation score to choose an epoch, and initial classifier.

For one class per image, the classes exclude each other (softmax). For several, each class is a yes-or-no question of
its own (sigmoid), and an answer that says nothing about a class is no evidence for it, neither as a yes nor as a no.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from torch.nn import functional

from trainer.objectives.linear_probe import fit_classifier, fit_questions

Targets = NDArray[Any]
"""Class positions (n,), or for several classes (n, K): 1 is yes, 0 no, and −1 unknown."""


class Objective(Protocol):
    """A kind of target."""

    measure: ClassVar[str]
    """The name of what `score` returns first."""

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean loss of logits (B, K)."""
        ...

    def score(self, logits: torch.Tensor, targets: Targets) -> tuple[float, float]:
        """A score of logits (n, K) from 0 to 1, the higher the better, and their loss."""
        ...

    def begin(
        self, network: torch.nn.Module, classifier: str, batches: Iterable[torch.Tensor], targets: Targets
    ) -> bool:
        """Fit the initial classifier on the features of the network, see `linear_probe.fit_classifier`."""
        ...


class OneClass:
    """Each image has one of K classes."""

    measure: ClassVar[str] = "accuracy"

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(logits, targets)

    def score(self, logits: torch.Tensor, targets: Targets) -> tuple[float, float]:
        """Accuracy and cross-entropy."""
        truth = torch.from_numpy(targets)
        return float((logits.argmax(1) == truth).float().mean()), float(self.loss(logits, truth))

    def begin(
        self, network: torch.nn.Module, classifier: str, batches: Iterable[torch.Tensor], targets: Targets
    ) -> bool:
        """Logistic regression."""
        return fit_classifier(network, classifier, batches, targets)


class SeveralClasses:
    """Each image has any number of K classes.

    Classes are not weighted: with weights, probabilities no longer match frequencies. The thresholds that are chosen
    after the training suit rare classes anyway.
    """

    measure: ClassVar[str] = "mean_average_precision"

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Binary cross-entropy of the known answers."""
        known = targets >= 0
        losses = functional.binary_cross_entropy_with_logits(
            logits.float(), targets.clamp(min=0).float(), weight=known.float(), reduction="sum"
        )
        return losses / known.sum().clamp(min=1)

    def score(self, logits: torch.Tensor, targets: Targets) -> tuple[float, float]:
        """Mean average precision over classes with a yes and a no, which needs no thresholds; and the loss."""
        found = []
        for column, said in zip(logits.float().numpy().T, targets.T, strict=True):
            known = said >= 0
            if 0 < (said[known] == 1).sum() < known.sum():
                found.append(average_precision_score(said[known], column[known]))
        return float(np.mean(found)) if found else 0.0, float(self.loss(logits, torch.from_numpy(targets)))

    def begin(
        self, network: torch.nn.Module, classifier: str, batches: Iterable[torch.Tensor], targets: Targets
    ) -> bool:
        """One logistic regression per class."""
        return fit_questions(network, classifier, batches, targets)


def objective_of(*, several: bool) -> Objective:
    """The objective of a task whose images have one class, or `several`."""
    return SeveralClasses() if several else OneClass()
