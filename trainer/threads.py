"""How many threads a process of the trainer computes with."""

from __future__ import annotations

import os

import torch
from threadpoolctl import ThreadpoolController


def leave_a_core() -> None:
    """Leave one core to whatever labels, decodes or trains meanwhile: threads that wait for a busy core are a net loss.

    The threads of linear algebra even wait by spinning. On two busy cores, a round over 100,000 images took 1.0 s with
    one thread and 1.6 s with two, and eight rounds over 300 images 0.3 s of CPU time instead of 1.1 s.
    tf_efficientnet_lite0 embedded 4.7 images/s at 224 px with one thread and 2.0 to 3.3 with two.
    """
    most = max((os.cpu_count() or 1) - 1, 1)
    torch.set_num_threads(min(torch.get_num_threads(), most))
    for library in ThreadpoolController().select(user_api="blas").lib_controllers:
        library.set_num_threads(min(library.get_num_threads(), most))
