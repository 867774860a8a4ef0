"""What `backbone = "auto"` resolved to: the network and the source of its weights. Both services show it.

A service stores it and passes it on at the next start. So it gets the same network, even if a better one is available
by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from pydantic import TypeAdapter

Weights = Literal["hub", "installed", "file", "version", "own", "none"]
"""hub: the model hub or its cache. installed: came with the installation. file: a file named in a setting. version: a
saved version of this project. own: a user's function. none: no network, or an untrained one."""

_SENTENCES: dict[Weights, str] = {
    "hub": "weights from the model hub",
    "installed": "weights that came with the installation",
    "file": "weights from a file",
    "version": "weights of a saved version",
    "own": "your own",
    "none": "no pretrained weights",
}
Three = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ResolvedBackbone:
    """A backbone in use. `mean` and `std` are per channel, for values from 0 to 1."""

    name: str  # a timm name, `pixels`, or package.module:function
    weights: Weights
    input_size: int  # pixels per side
    mean: Three
    std: Three

    @property
    def sentence(self) -> str:
        """`tf_efficientnet_lite0, weights that came with the installation`."""
        if self.name == "pixels":
            return "pixels: images are compared by their raw pixels"
        return f"{self.name}, {_SENTENCES[self.weights]}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, which can be stored in a file."""
        return asdict(self)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Read what `as_dict` returned. Raises ValueError for anything else."""
        return TypeAdapter(cls).validate_python(dict(values))
