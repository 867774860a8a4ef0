"""A description of the machine, and summaries of measurements."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version

import numpy as np


def describe(*packages: str) -> str:
    """One line: processor, cores, load, Python and the versions of `packages`."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{platform.machine()} {platform.system()}, {os.cpu_count()} cores, load {load:.1f} at the start, "
        f"Python {platform.python_version()}" + (f", {versions}" if versions else "")
    )


def p50_p95(values: Sequence[float], unit: str = "ms", digits: int = 0) -> str:
    """`p50 / p95 unit`, or a dash without measurements."""
    if not values:
        return "–"
    low, high = np.percentile(values, [50, 95])
    return f"{low:.{digits}f} / {high:.{digits}f} {unit}"
