"""Traces a part of a network into an ONNX graph, in a process of its own: `python -m trainer.work.tracing`.

`trainer.embeddings.backbones.compiled` starts it, and says on stdin which part of which network, where the weights are,
and where the graph belongs.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from shared.processes import end_with_parent
from shared.storage.whole_files import write_whole
from trainer.detection.pyramid import levels
from trainer.embeddings.backbones import timm_networks
from trainer.embeddings.backbones.feature_blocks import Layout, with_layout

PRIORITY = 10
"""Behind the trainer, but before the jobs, because a person waits for what the network computes."""


class Traced(torch.nn.Module):
    """The part of `network` that is asked for, as a module of its own."""

    def __init__(self, network: torch.nn.Module, of: str, numbers: list[int]) -> None:
        super().__init__()
        self.network = with_layout(network, numbers[0]) if of == "layout" else network
        self.stages = numbers

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Normalised inputs (B, 3, S, S) → what `Layout.seen` or `levels` returns."""
        if isinstance(self.network, Layout):
            return self.network.seen(images)
        return levels(self.network, self.stages, images)


def main() -> int:
    """Write the graph."""
    request: dict[str, Any] = json.load(sys.stdin)
    end_with_parent()
    os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), PRIORITY))
    torch.set_num_threads(1)
    size = request["size"]
    network = timm_networks.create_known(request["name"], size)
    network.load_state_dict(load_file(request["weights"]))
    program = torch.onnx.export(
        Traced(network, request["of"], request["numbers"]).eval().requires_grad_(False),
        (torch.zeros(2, 3, size, size),),
        dynamo=True,
        input_names=["images"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None  # noqa: S101 - with dynamo it returns a program
    write_whole(Path(request["graph"]), program.model_proto.SerializeToString())
    return 0


if __name__ == "__main__":
    sys.exit(main())
