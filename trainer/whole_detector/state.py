"""The state of a training run: the running average of the weights, the best average so far, and the position in the
learning-rate cycle. It is written to one file atomically."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised

from shared.storage.whole_files import write_whole
from trainer.whole_detector.networks import WholeDetector

NOW, AVERAGE, BEST = "now.", "average.", "best."
KEPT = ("average", "best")


@dataclass
class State:
    """`average` and `best` are tensors by name, on the training device. `best` is empty without validation images."""

    batch_size: int
    epoch: int = 0
    steps: int = 0
    best_epoch: int = 0
    best_value: float = -1.0
    images: int = 0  # views drawn so far
    seconds: float = 0.0  # time spent in steps, without validation
    history: list[dict[str, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    average: dict[str, torch.Tensor] = field(default_factory=dict)
    best: dict[str, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, network: WholeDetector, batch_size: int) -> State:
        """The state at the start."""
        return cls(batch_size, average={name: each.detach().clone() for name, each in network.state_dict().items()})

    def averaging(self, network: WholeDetector) -> Callable[[float], None]:
        """A function that updates the average with the current weights; its argument is the share of the old average
        to keep. Create it once: collecting the tensors at each step would take as long as the step."""
        both = [(self.average[name], each) for name, each in network.state_dict().items()]
        averages, weights = zip(*(each for each in both if each[1].is_floating_point()), strict=True)
        counters = [each for each in both if not each[1].is_floating_point()]

        @torch.no_grad()
        def take_in(kept: float) -> None:
            torch._foreach_lerp_(averages, weights, 1 - kept)
            for average, now in counters:
                average.copy_(now)

        return take_in


def save(network: WholeDetector, state: State, path: Path) -> None:
    """Write the current weights and the state. Raises OSError."""
    parts = ((NOW, network.state_dict()), (AVERAGE, state.average), (BEST, state.best))
    tensors = {prefix + name: each.detach().cpu().contiguous() for prefix, some in parts for name, each in some.items()}
    said = {key: value for key, value in vars(state).items() if key not in KEPT}
    write_whole(path, serialised(tensors, {"state": json.dumps(said)}))


def resume(network: WholeDetector, path: Path) -> State | None:
    """Restore what `save` wrote; None if there is no file. Raises ValueError for an unreadable file."""
    if not path.is_file():
        return None
    device = network.threshold.device
    try:
        with safe_open(path, framework="pt") as file:
            state = State(**json.loads(file.metadata()["state"]))
            tensors = {name: file.get_tensor(name).to(device) for name in file.keys()}  # noqa: SIM118 - no mapping
        network.load_state_dict(_part(NOW, tensors))
    except (OSError, SafetensorError, KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"The checkpoint {path} cannot be read ({error}): delete it to start over.") from None
    state.average, state.best = _part(AVERAGE, tensors), _part(BEST, tensors)
    return state


def _part(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
