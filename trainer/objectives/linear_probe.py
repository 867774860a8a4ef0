"""Initial weights of a network's classifier: logistic regression on its unchanged features.

Fine-tuning from a random classifier damages the pretrained layers before the classifier has learned anything; starting
from a linear probe avoids this (Kumar et al. 2022, "LP-FT").
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

LENGTH = 5.0
"""Mean length of scaled features, under a penalty of ½·|W|². On photos, 2 to 20 are equally accurate; at 20 the
classifier memorises every label and leaves nothing for the layers below to learn.
"""
ITERATIONS = 200


@torch.no_grad()
def fit_classifier(
    network: torch.nn.Module, classifier: str, batches: Iterable[torch.Tensor], targets: NDArray[np.int64]
) -> bool:
    """Fit the linear layer of `network` whose name begins with `classifier` to `targets` (n,).

    `targets` are positions among its K outputs, for the images of all `batches` (B, 3, S, S), in order. Returns False,
    and changes nothing, if the classifier is not one linear layer on vectors, or `targets` contain only one class.
    """
    layer = _layer(network, classifier)
    if layer is None or len(np.unique(targets)) < 2:
        return False
    probed = _probed(network, layer, batches)
    if probed is None:
        return False
    rows, centre, scale = probed
    fitted = LogisticRegression(max_iter=ITERATIONS).fit(rows, targets)
    slopes, offsets = scale * fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:  # for two classes, scikit-learn keeps only the difference
        slopes, offsets = np.vstack([-slopes, slopes]) / 2, np.concatenate([-offsets, offsets]) / 2
    weight, bias = torch.zeros_like(layer.weight), torch.full_like(layer.bias, float(offsets.min()))
    weight[fitted.classes_] = torch.from_numpy(slopes).to(weight)
    bias[fitted.classes_] = torch.from_numpy(offsets - slopes @ centre).to(bias)
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
    return True


@torch.no_grad()
def fit_questions(
    network: torch.nn.Module, classifier: str, batches: Iterable[torch.Tensor], targets: NDArray[np.int8]
) -> bool:
    """Like `fit_classifier`, with a binary regression per output: `targets` (n, K) are 1 (yes), 0 (no) or −1 (unknown).

    An output whose known targets are all the same gets only a bias. Returns False, and changes nothing, if the
    classifier is not one linear layer on vectors.
    """
    layer = _layer(network, classifier)
    probed = None if layer is None else _probed(network, layer, batches)
    if layer is None or probed is None:
        return False
    rows, centre, scale = probed
    for k in range(targets.shape[1]):
        known = targets[:, k] >= 0
        said = targets[known, k]
        yes, no = int((said == 1).sum()), int((said == 0).sum())
        slopes, offset = np.zeros(rows.shape[1]), math.log((yes + 0.5) / (no + 0.5))
        if yes and no:
            fitted = LogisticRegression(max_iter=ITERATIONS).fit(rows[known], said)
            slopes, offset = scale * fitted.coef_[0], float(fitted.intercept_[0])
        layer.weight[k] = torch.from_numpy(slopes).to(layer.weight)
        layer.bias[k] = offset - float(slopes @ centre)
    return True


def _layer(network: torch.nn.Module, classifier: str) -> torch.nn.Linear | None:
    """The linear layer whose name begins with `classifier`; None unless there is exactly one."""
    named = [module for name, module in network.named_modules() if name.startswith(classifier)]
    layers = [module for module in named if isinstance(module, torch.nn.Linear)]
    return layers[0] if len(layers) == 1 else None


def _probed(
    network: torch.nn.Module, layer: torch.nn.Linear, batches: Iterable[torch.Tensor]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float] | None:
    """The inputs (n, D) of `layer`, centred and scaled, with their centre and scale; None unless they are vectors."""
    features = _inputs(network, layer, batches)
    if features.ndim != 2:
        return None
    centre = features.mean(axis=0)
    scale = LENGTH / max(float(np.linalg.norm(features - centre, axis=1).mean()), 1e-6)
    return scale * (features - centre), centre, scale


def _inputs(network: torch.nn.Module, layer: torch.nn.Module, batches: Iterable[torch.Tensor]) -> NDArray[np.float64]:
    """The inputs (n, ...) of `layer`."""
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0].float().cpu()))
    try:
        for batch in batches:
            network(batch)
    finally:
        hook.remove()
    return torch.cat(seen).numpy().astype(np.float64)
