"""What becomes of the statistics of batch normalisation while a network is trained on few images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from fastai.callback.core import Callback
from torch.nn.modules.batchnorm import _BatchNorm

from trainer.embeddings.backbones.torch_networks import Module

Statistics = Literal["kept", "followed", "renewed"]
"""`kept`, as published weights want: those of small batches of few images undo them within an epoch
(docs/measurements/experiments.md). `followed`, batch by batch, from scratch. `renewed` from the train images before the
first step, then followed, as weights want that are no longer those with which the statistics were taken."""


class Still(Callback):  # type: ignore[misc]  # fastai is not typed
    """Batch normalisation neither follows nor uses what the batches say; its scale and shift are learned."""

    order = 0  # after fastai has the network train

    def before_train(self) -> None:
        """The network trains, but for these layers."""
        for layer in _layers(self.model):
            layer.eval()


@torch.no_grad()
def renew(network: Module, batches: Iterable[torch.Tensor]) -> None:
    """Take the statistics from `batches` (B, 3, S, S), each counting alike, and leave `network` in evaluation mode."""
    momenta = [(layer, layer.momentum) for layer in _layers(network)]
    for layer, _ in momenta:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean
    network.train()
    for batch in batches:
        network(batch)
    network.eval()
    for layer, momentum in momenta:
        layer.momentum = momentum


def _layers(network: torch.nn.Module) -> list[_BatchNorm]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]
