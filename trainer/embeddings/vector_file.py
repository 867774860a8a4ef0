"""Vectors from a file of any common format: a matrix, and the names of its rows where the file holds them.

Knows nothing of images and catalogues. Nothing is unpickled: NumPy reads without objects, torch reads weights only,
safetensors and parquet hold no code. A bare `.npy` is mapped and not read, so that it may be larger than memory.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

log = logging.getLogger(__name__)

NAMES = ("filename", "filenames", "uri", "uris", "names")
"""What the array, entry or column with the images' names may be called."""
INDEX = "__index_level_0__"
"""How pandas calls an index without a name in parquet."""

Array = npt.NDArray[Any]


class VectorFileError(ValueError):
    """What is wrong with a file of vectors. The text ends a sentence about it: "holds no matrix …"."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """One row an image: `matrix` (N, D) of real numbers; `names` has N entries, or is None where only order tells."""

    matrix: Array
    names: list[str] | None


def read_vectors(path: Path) -> Vectors:
    """Read `path` by its ending; raises VectorFileError for whatever cannot be read or makes no sense."""
    readers: dict[str, Callable[[Path], Vectors]] = {
        ".npy": _npy,
        ".npz": _npz,
        ".pth": _pth,
        ".safetensors": _safetensors,
        ".parquet": _parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise VectorFileError(f"must end in {', '.join(readers)}")
    if not path.is_file():
        raise VectorFileError("is not there")
    try:
        vectors = reader(path)
    except VectorFileError:
        raise
    except Exception as error:  # each library has its own for a damaged file, and for one that holds pickled code
        log.debug("vectors", exc_info=error)
        raise VectorFileError(
            f"cannot be read as {path.suffix.lower()} that holds numbers and no pickled code"
        ) from None
    matrix = vectors.matrix
    if matrix.ndim != 2 or not matrix.size or matrix.dtype.kind not in "fiu":
        raise VectorFileError(
            f"holds {matrix.dtype} of shape {matrix.shape} and must hold real numbers of shape (images, dimensions)"
        )
    if vectors.names is not None and len(vectors.names) != len(matrix):
        raise VectorFileError(f"holds {len(vectors.names)} names and {len(matrix)} vectors")
    return vectors


def _npy(path: Path) -> Vectors:
    return Vectors(np.load(path, mmap_mode="r", allow_pickle=False), None)


def _npz(path: Path) -> Vectors:
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    names = next((arrays.pop(name).tolist() for name in NAMES if name in arrays), None)
    return _from_arrays(arrays, names)


def _pth(path: Path) -> Vectors:
    import torch

    content = torch.load(path, map_location="cpu", weights_only=True)
    entries = dict(content) if isinstance(content, Mapping) else {"": content}
    names = next((list(entries.pop(name)) for name in NAMES if name in entries), None)
    return _from_arrays({name: _array(tensor) for name, tensor in entries.items()}, names)


def _safetensors(path: Path) -> Vectors:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:  # torch, because NumPy has no bfloat16
        metadata = file.metadata() or {}
        arrays = {name: _array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    names = next((json.loads(metadata[name]) for name in NAMES if name in metadata), None)
    return _from_arrays(arrays, names)


def _parquet(path: Path) -> Vectors:
    import pyarrow.parquet
    from pyarrow import types

    table = pyarrow.parquet.read_table(path)
    described = (table.schema.pandas_metadata or {}).get("index_columns", [])  # names, or a description of a range
    index = [column for column in (*described, INDEX) if isinstance(column, str)]
    columns = table.column_names
    named = next((name for name in (*NAMES, *index) if name in columns and _is_text(table.schema.field(name))), None)
    names = table.column(named).to_pylist() if named else None
    rest = table.drop_columns([column for column in columns if column == named or column in index])
    lists = [field.name for field in rest.schema if types.is_nested(field.type)]
    if len(lists) == 1:
        return Vectors(_stacked(rest.column(lists[0]).to_pylist()), names)
    numbers = [field.name for field in rest.schema if types.is_floating(field.type) or types.is_integer(field.type)]
    if lists or not numbers:
        raise VectorFileError("must hold one column of lists, or one column of numbers for each dimension")
    return Vectors(np.column_stack([rest.column(name).to_numpy() for name in numbers]), names)


def _from_arrays(arrays: Mapping[str, Array], names: Any) -> Vectors:
    """One matrix, with or without names, or one vector an image under the image's name."""
    if len(arrays) == 1 and next(iter(arrays.values())).ndim != 1:
        return Vectors(next(iter(arrays.values())), _texts(names))
    if names is not None or any(array.ndim != 1 for array in arrays.values()):
        raise VectorFileError(
            f"must hold one matrix, with or without the images' names as {NAMES[0]!r}, or one vector for each image "
            "under its name"
        )
    return Vectors(_stacked(list(arrays.values())), list(arrays))


def _stacked(rows: Sequence[Any]) -> Array:
    if len({len(row) if row is not None else 0 for row in rows}) != 1:
        raise VectorFileError("must hold vectors of one length")
    return np.stack([np.asarray(row) for row in rows])


def _texts(names: Any) -> list[str] | None:
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise VectorFileError("holds names that are no texts")
    return names


def _array(tensor: Any) -> Array:
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise VectorFileError(f"holds {type(tensor).__name__} where a tensor of vectors should be")
    return np.asarray((tensor.float() if tensor.is_floating_point() else tensor).numpy())


def _is_text(field: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(field.type) or types.is_large_string(field.type))
