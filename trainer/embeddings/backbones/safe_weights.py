"""Opens files of weights from untrusted sources: no code runs, and the size is checked before anything is read.

Safetensors contains only numbers and no code. A pickle is recognised by its first bytes and refused. The header states
its length and the contents of the file, and is trusted only within limits: a header of ten gigabytes, one that points
beyond the end, or shapes that the model does not need are refused, with one sentence, before memory is allocated.
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
    """The file is refused. The message completes a sentence about it: "… is a pickle"."""


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
            raise ModelFileError("is a pickle, which may contain code: use safetensors")
        raise ModelFileError("is not a safetensors file")
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
                    raise ModelFileError(f"contains {name!r} as {part.get_dtype()}, which is not supported")
                shapes[name] = tuple(part.get_shape())
            return shapes
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"is damaged or cut off ({error})") from None


def read_arrays(path: Path, expected: Mapping[str, tuple[int | None, ...]] | None = None) -> dict[str, np.ndarray]:
    """Read a file that contains exactly the `expected` arrays; a size of None matches any. Raises ModelFileError."""
    found = shapes_in(path)
    if expected is not None:
        check_shapes(found, expected)
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"is damaged or cut off ({error})") from None


def check_shapes(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int | None, ...]]) -> None:
    """Raise ModelFileError if names or shapes differ."""
    for name, shape in expected.items():
        if name not in found:
            raise ModelFileError(f"lacks the tensor {name!r}")
        fits = len(shape) == len(found[name])
        if not fits or any(want not in (None, have) for want, have in zip(shape, found[name], strict=True)):
            raise ModelFileError(f"contains {name!r} with shape {found[name]} instead of {_shown(shape)}")
    unknown = sorted(set(found) - set(expected))
    if unknown:
        raise ModelFileError(f"contains {unknown[0]!r}, which does not belong there")


def _shown(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
