"""Batch normalisation statistics while a network is trained on few images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from fastai.callback.core import Callback
from torch.nn.modules.batchnorm import _BatchNorm

from trainer.embeddings.backbones.torch_networks import Module

Statistics = Literal["kept", "followed", "renewed"]
"""`kept`: published weights need their statistics; those of small batches spoil them within an epoch
(docs/measurements/experiments.md). `followed`: updated batch by batch, for training from scratch. `renewed`: computed
from the train images before the first step, then followed, for weights that no longer match their statistics.
"""


class Still(Callback):  # type: ignore[misc]  # fastai is not typed
    """Freezes batch normalisation statistics; scale and shift still learn."""

    order = 0  # after fastai has set training mode

    def before_train(self) -> None:
        """Keep these layers in evaluation mode while the network trains."""
        for layer in _layers(self.model):
            layer.eval()


@torch.no_grad()
def renew(network: Module, batches: Iterable[torch.Tensor]) -> None:
    """Compute the statistics from `batches` (B, 3, S, S), equally weighted; leaves `network` in evaluation mode."""
    momenta = [(layer, layer.momentum) for layer in _layers(network)]
    for layer, _ in momenta:
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative mean
    network.train()
    for batch in batches:
        network(batch)
    network.eval()
    for layer, momentum in momenta:
        layer.momentum = momentum


def _layers(network: torch.nn.Module) -> list[_BatchNorm]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]
