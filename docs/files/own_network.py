"""A network of your own: flywheel up PHOTOS --set trainer.model_fn=own_network:network --set trainer.input_size=64
in the folder of this file. Flywheel embeds with it, and `flywheel train mine` trains all of it."""

import torch
from torch import nn


def network() -> nn.Module:
    """(B, 3, H, W) → (B, 64). Load weights of your own here, with `torch.load(…, weights_only=True)`."""

    def layer(before: int, after: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU())

    torch.manual_seed(0)  # embeddings are kept by weights: the same ones at each start
    return nn.Sequential(layer(3, 16), layer(16, 32), layer(32, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten())
