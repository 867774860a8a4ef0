"""Your own network (the setting `model_fn`) with a linear classifier on its vectors, for fine-tuning.

Only the settings name the function: neither a request nor a file decides which code runs.
"""

from __future__ import annotations

from typing import cast

import torch

from shared.own_code import own_function
from shared.settings.services import SettingsError
from trainer.embeddings.backbones.torch_networks import Module


class OwnClassifier(Module):
    """(B, 3, S, S) → logits (B, K). Its tensors are named `backbone.…` and `classifier.…`."""

    def __init__(self, backbone: Module, width: int, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = torch.nn.Linear(width, classes)
        self.pretrained_cfg = {"classifier": "classifier"}  # as in timm's networks

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (B, K) of normalised images."""
        return cast(torch.Tensor, self.classifier(self.backbone(images)))


def own_classifier(model_fn: str, size: int, classes: int) -> OwnClassifier:
    """The network that `model_fn` returns, with a new classifier. Raises SettingsError."""
    named = f"The trainer setting 'model_fn' is {model_fn!r}, which"
    try:
        backbone = own_function(model_fn)()
    except Exception as error:  # it is the user's code
        raise SettingsError(f"{named} fails: {error}.") from error
    if not isinstance(backbone, Module):
        raise SettingsError(f"{named} returns {type(backbone).__name__} , not a torch module.")
    try:
        with torch.inference_mode():
            vectors = backbone.eval()(torch.zeros(2, 3, size, size))
    except Exception as error:
        raise SettingsError(f"{named} cannot take {size} × {size} pixels: {error}.") from error
    if not isinstance(vectors, torch.Tensor) or vectors.ndim != 2 or len(vectors) != 2:
        raise SettingsError(f"{named} returns a network that does not map images (B, 3, H, W) to vectors (B, D).")
    return OwnClassifier(backbone, vectors.shape[1], classes)
