"""Intersection over union (IoU): how much two boxes overlap, from 0 (nothing in common) to 1 (the same box).

The only place where it is computed for arrays. On tensors, torchvision's `box_iou` computes it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def iou(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """The IoU (n, m) of boxes (n, 4) and (m, 4): x, y, width, height, in any unit. Without an area, it is 0."""
    one, other = (np.asarray(boxes, np.float64).reshape(-1, 4) for boxes in (first, second))
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum((one[:, :2] + one[:, 2:])[:, None], (other[:, :2] + other[:, 2:])[None])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = np.prod(one[:, 2:], axis=1)[:, None] + np.prod(other[:, 2:], axis=1)[None] - common
    return np.asarray(common / np.maximum(areas, 1e-12))
