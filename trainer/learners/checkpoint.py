"""The checkpoint of a training after each epoch, in one file that is written atomically."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised

from shared.storage.whole_files import write_whole
from trainer.embeddings.backbones.torch_networks import Module


@dataclass
class Run:
    """The state of a training after an epoch, and its result at the end. `best` are weights by name.

    `best` is the latest epoch within one standard error of the highest score: on few validation images, small
    differences are random, and a cycle ends in better weights than it passes through.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = -1.0  # the accuracy; with several classes per image, the mean average precision
    peak: tuple[float, float] = (-1.0, -math.inf)  # the highest score and, among equals, the lowest loss, negated
    peak_epoch: int = 0
    learning_rate: float = 0.0
    batch_size: int = 0
    images: int = 0  # image views so far
    seconds: float = 0.0  # time in batches
    history: list[dict[str, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)


def save(network: Module, run: Run, path: Path) -> None:
    """Write the current weights, the best ones, and the rest of the state. Raises OSError."""
    tensors = {f"now.{name}": tensor for name, tensor in weights(network).items()}
    if run.best_epoch != run.epoch:  # otherwise both are the same
        tensors |= {f"best.{name}": tensor for name, tensor in run.best.items()}
    said = {key: value for key, value in vars(run).items() if key != "best"}
    whole = {name: each.contiguous() for name, each in tensors.items()}
    write_whole(path, serialised(whole, {"run": json.dumps(said)}))


def resume(network: Module, path: Path) -> Run | None:
    """Restore what `save` wrote; None if there is no file. Raises ValueError for an unreadable file."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            said = json.loads(file.metadata()["run"])
            run = Run(**{"best_score" if key == "best_accuracy" else key: value for key, value in said.items()})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        network.load_state_dict({name[4:]: each for name, each in tensors.items() if name.startswith("now.")})
    except (OSError, SafetensorError, KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"The checkpoint {path} cannot be read ({error}): delete it to start over.") from None
    best = {name[5:]: each for name, each in tensors.items() if name.startswith("best.")}
    run.best = best or weights(network)
    return run


def weights(network: Module) -> dict[str, torch.Tensor]:
    """A copy of the tensors by name, on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
