"""Opening a file of weights that somebody else may have written: nothing of it runs, and its size is known beforehand.

Safetensors holds numbers only, so that no code can come along; a pickle is refused by its first bytes. The header says
how long it is and what is in the file, and is believed only within bounds: a header of ten gigabytes, one that points
beyond the end, and shapes that are not what the model needs are each a sentence before anything is allocated.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

MAX_HEADER_BYTES = 16 * 2**20
"""A network of ten thousand tensors has a header of one megabyte."""
LENGTH_BYTES = 8
DTYPES = frozenset({"F64", "F32", "F16", "I64", "I32", "U8"})

Shapes = dict[str, tuple[int, ...]]


class ModelFileError(ValueError):
    """The file is refused. The message ends a sentence about it: "… is a pickle"."""


def shapes_in(path: Path) -> Shapes:
    """Name → shape of every tensor, without reading one. Raises ModelFileError."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(LENGTH_BYTES + 1)
    except OSError as error:
        raise ModelFileError(f"cannot be read ({error.strerror})") from None
    length = int.from_bytes(head[:LENGTH_BYTES], "little")
    if len(head) <= LENGTH_BYTES or head[LENGTH_BYTES:] != b"{":
        if head.startswith((b"\x80", b"PK\x03\x04")):
            raise ModelFileError("is a pickle, which may hold code: only safetensors is read")
        raise ModelFileError("is no safetensors file")
    if length > MAX_HEADER_BYTES:
        raise ModelFileError(f"has a header of {length:,} bytes, more than any model needs")
    if length > size - LENGTH_BYTES:
        raise ModelFileError("is cut off")
    try:
        with safe_open(path, framework="numpy") as file:
            shapes = {}
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                part = file.get_slice(name)
                if part.get_dtype() not in DTYPES:
                    raise ModelFileError(f"holds {name!r} as {part.get_dtype()}, which is not read")
                shapes[name] = tuple(part.get_shape())
            return shapes
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"is damaged or cut off ({error})") from None


def read_arrays(path: Path, expected: Mapping[str, tuple[int | None, ...]] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a file that holds those `expected` and no others; a size of None is any. Raises ModelFileError."""
    found = shapes_in(path)
    if expected is not None:
        check_shapes(found, expected)
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"is damaged or cut off ({error})") from None


def check_shapes(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int | None, ...]]) -> None:
    """Raise ModelFileError when names or shapes differ."""
    for name, shape in expected.items():
        if name not in found:
            raise ModelFileError(f"lacks the tensor {name!r}")
        fits = len(shape) == len(found[name])
        if not fits or any(want not in (None, have) for want, have in zip(shape, found[name], strict=True)):
            raise ModelFileError(f"holds {name!r} of shape {found[name]}, where {_shown(shape)} belongs")
    unknown = sorted(set(found) - set(expected))
    if unknown:
        raise ModelFileError(f"holds {unknown[0]!r}, which does not belong there")


def _shown(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
