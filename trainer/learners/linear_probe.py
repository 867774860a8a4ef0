"""The first weights of a network's classifier: a logistic regression on the features as they are.

Fine-tuning from a random classifier spoils what pretrained layers know before the classifier has learned anything; from
a linear probe it keeps it (Kumar et al. 2022, "LP-FT").
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

LENGTH = 5.0
"""Mean length that features are scaled to, under a penalty of ½·|W|². On photos 2 to 20 are as often right; at 20 every
label is learned by heart, and nothing is left for the layers below to learn from."""
ITERATIONS = 200


@torch.no_grad()
def fit_classifier(
    network: torch.nn.Module, classifier: str, batches: Iterable[torch.Tensor], targets: NDArray[np.int64]
) -> bool:
    """Give the linear layer of `network` whose name begins with `classifier` weights that fit `targets` (n,).

    `targets` are positions among its K outputs, for the images of all `batches` (B, 3, S, S), in order. Returns False,
    and changes nothing, where the classifier is not one linear layer on vectors, or `targets` name only one class.
    """
    named = [module for name, module in network.named_modules() if name.startswith(classifier)]
    layers = [module for module in named if isinstance(module, torch.nn.Linear)]
    if len(layers) != 1 or len(np.unique(targets)) < 2:
        return False
    features = _inputs(network, layers[0], batches)
    if features.ndim != 2:
        return False
    centre = features.mean(axis=0)
    scale = LENGTH / max(float(np.linalg.norm(features - centre, axis=1).mean()), 1e-6)
    fitted = LogisticRegression(max_iter=ITERATIONS).fit(scale * (features - centre), targets)
    slopes, offsets = scale * fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:  # of two it keeps the difference alone
        slopes, offsets = np.vstack([-slopes, slopes]) / 2, np.concatenate([-offsets, offsets]) / 2
    layer = layers[0]
    weight, bias = torch.zeros_like(layer.weight), torch.full_like(layer.bias, float(offsets.min()))
    weight[fitted.classes_] = torch.from_numpy(slopes).to(weight)
    bias[fitted.classes_] = torch.from_numpy(offsets - slopes @ centre).to(bias)
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
    return True


def _inputs(network: torch.nn.Module, layer: torch.nn.Module, batches: Iterable[torch.Tensor]) -> NDArray[np.float64]:
    """What reaches `layer` (n, ...)."""
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0].float().cpu()))
    try:
        for batch in batches:
            network(batch)
    finally:
        hook.remove()
    return torch.cat(seen).numpy().astype(np.float64)
