"""Reads vectors from a file of any common format: a matrix, and row names if the file contains them.

It knows neither images nor catalogues. Nothing is unpickled: NumPy reads without objects, torch reads only weights, and
safetensors and parquet contain no code. A bare `.npy` is memory-mapped, so it may be larger than memory. Any other file
is refused before it is read if its own table of contents asks for too much memory: 3 MB of zip may contain 3 GB.
"""

from __future__ import annotations

import json
import logging
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

log = logging.getLogger(__name__)

NAMES = ("filename", "filenames", "uri", "uris", "names")
"""Accepted names for the array, entry or column with the image names."""
BLOCKS = "blocks"
"""In an .npz, the array with the lengths of the blocks of features, such as two networks' vectors side by side."""
INDEX = "__index_level_0__"
"""The name that pandas gives to an unnamed index in parquet."""

MOST_DIMENSIONS = 65_536
"""Maximum length of a vector."""

Array = npt.NDArray[Any]


class VectorFileError(ValueError):
    """A file of vectors is invalid. The message completes a sentence about it: "holds no matrix …"."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """One row per image: `matrix` (N, D) of real numbers, and N `names`, or None if rows are matched by order.

    `blocks` are the lengths of its blocks of features, which sum to D; () for a single block.
    """

    matrix: Array
    names: list[str] | None
    blocks: tuple[int, ...] = ()


def read_vectors(path: Path, most_bytes: int) -> Vectors:
    """Read `path` by its extension, using at most `most_bytes` of memory.

    Raises VectorFileError if it cannot be read, makes no sense or needs more memory.
    """
    readers: dict[str, Callable[[Path, int], Vectors]] = {
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
        raise VectorFileError("does not exist")
    try:
        vectors = reader(path, most_bytes)
    except VectorFileError:
        raise
    except Exception as error:  # each library has its own error for a damaged file and for pickled code
        log.debug("vectors", exc_info=error)
        raise VectorFileError(
            f"cannot be read as {path.suffix.lower()} with numbers and without pickled code"
        ) from None
    matrix = vectors.matrix
    if matrix.ndim != 2 or not matrix.size or matrix.dtype.kind not in "fiu":
        raise VectorFileError(
            f"contains {matrix.dtype} of shape {matrix.shape} instead of real numbers of shape (images, dimensions)"
        )
    if matrix.shape[1] > MOST_DIMENSIONS:
        raise VectorFileError(
            f"contains vectors of {matrix.shape[1]:,} numbers, more than the limit of {MOST_DIMENSIONS:,}"
        )
    if vectors.blocks and (min(vectors.blocks) < 1 or sum(vectors.blocks) != matrix.shape[1]):
        raise VectorFileError(
            f"divides its vectors into blocks of {', '.join(map(str, vectors.blocks))} numbers, which do not add up to "
            f"their {matrix.shape[1]:,}"
        )
    if vectors.names is not None and len(vectors.names) != len(matrix):
        raise VectorFileError(f"contains {len(vectors.names)} names but {len(matrix)} vectors")
    return vectors


def unpacked_bytes(path: Path) -> int:
    """Uncompressed size of a zip, or the size of any other file, in bytes. Raises OSError, BadZipFile."""
    size = path.stat().st_size
    if not zipfile.is_zipfile(path):
        return size
    with zipfile.ZipFile(path) as archive:
        return max(size, sum(member.file_size for member in archive.infolist()))


def _fits(size: int, most_bytes: int) -> None:
    if size > most_bytes:
        raise VectorFileError(
            f"needs {size / 1e6:,.0f} MB of memory, more than this project's limit of {most_bytes / 1e6:,.0f} MB: "
            "save only the vectors of its images, or save the matrix as .npy, which is not read into memory"
        )


def _npy(path: Path, _most: int) -> Vectors:
    return Vectors(np.load(path, mmap_mode="r", allow_pickle=False), None)


def _npz(path: Path, most: int) -> Vectors:
    _fits(path.stat().st_size, most)
    with zipfile.ZipFile(path) as archive:
        _fits(sum(max(_declared(archive, member), member.file_size) for member in archive.infolist()), most)
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    names = next((arrays.pop(name).tolist() for name in NAMES if name in arrays), None)
    blocks = arrays.pop(BLOCKS).ravel().tolist() if BLOCKS in arrays and len(arrays) > 1 else []
    if not all(isinstance(each, int) for each in blocks):
        raise VectorFileError(f"must give its {BLOCKS!r} as whole numbers")
    return replace(_from_arrays(arrays, names), blocks=tuple(blocks))


def _declared(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Size in bytes of the array that a member's header declares."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    return math.prod(shape) * dtype.itemsize


def _pth(path: Path, most: int) -> Vectors:
    import torch

    _fits(unpacked_bytes(path), most)
    content = torch.load(path, map_location="cpu", weights_only=True)
    entries = dict(content) if isinstance(content, Mapping) else {"": content}
    names = next((list(entries.pop(name)) for name in NAMES if name in entries), None)
    # one stored number may represent a billion elements, which conversion would expand
    _fits(sum(each.numel() * max(each.element_size(), 4) for each in entries.values() if torch.is_tensor(each)), most)
    return _from_arrays({name: _array(tensor) for name, tensor in entries.items()}, names)


def _safetensors(path: Path, most: int) -> Vectors:
    from safetensors import safe_open

    _fits(path.stat().st_size, most)
    with safe_open(path, framework="pt") as file:  # torch, because NumPy has no bfloat16
        metadata = file.metadata() or {}
        arrays = {name: _array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    names = next((json.loads(metadata[name]) for name in NAMES if name in metadata), None)
    return _from_arrays(arrays, names)


def _parquet(path: Path, most: int) -> Vectors:
    import pyarrow.parquet
    from pyarrow import types

    schema = pyarrow.parquet.read_schema(path)
    texts = [field.name for field in schema if _is_text(field)]
    with pyarrow.parquet.ParquetFile(path, read_dictionary=texts) as file:
        _fits(_unpacked_columns(file.metadata), most)
        table = file.read()
    described = (schema.pandas_metadata or {}).get("index_columns", [])  # names, or the description of a range
    index = [column for column in (*described, INDEX) if isinstance(column, str)]
    columns = table.column_names
    named = next((name for name in (*NAMES, *index) if name in columns and name in texts), None)
    names = _told(table.column(named), most) if named else None
    rest = table.drop_columns([column for column in columns if column == named or column in index])
    lists = [field.name for field in rest.schema if types.is_nested(field.type)]
    if len(lists) == 1:
        return Vectors(_rows(rest.column(lists[0])), names)
    numbers = [field.name for field in rest.schema if types.is_floating(field.type) or types.is_integer(field.type)]
    if lists or not numbers:
        raise VectorFileError("must hold one column of lists, or one column of numbers for each dimension")
    return Vectors(np.column_stack([rest.column(name).to_numpy() for name in numbers]), names)


def _unpacked_columns(metadata: Any) -> int:
    """Uncompressed bytes of all columns: a repeated value takes almost no space when compressed."""
    size = 0
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            size += max(8 * column.num_values, column.total_uncompressed_size)
    return size


def _told(column: Any, most: int) -> list[Any]:
    """The texts of a dictionary-encoded column; one long text could be repeated in every row."""
    import pyarrow.compute as pc

    for chunk in column.chunks:
        lengths = pc.binary_length(chunk.dictionary)
        _fits(int(pc.sum(pc.take(lengths, chunk.indices)).as_py() or 0), most)
    return list(column.to_pylist())


def _rows(column: Any) -> Array:
    """A column of lists as a matrix, without a Python object per number."""
    from pyarrow import types

    matrices = []
    for chunk in column.chunks:
        if not (types.is_floating(chunk.type.value_type) or types.is_integer(chunk.type.value_type)):
            raise VectorFileError("must hold one column of lists of numbers")
        lengths = set(chunk.value_lengths().to_pylist())
        if chunk.null_count or len(lengths) > 1:
            raise VectorFileError("must hold vectors of one length")
        matrices.append(chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), -1))
    if len({matrix.shape[1] for matrix in matrices if len(matrix)}) > 1:
        raise VectorFileError("must hold vectors of one length")
    return np.concatenate(matrices)


def _from_arrays(arrays: Mapping[str, Array], names: Any) -> Vectors:
    """One matrix, with or without names, or one named vector per image."""
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
        raise VectorFileError("contains names that are not strings")
    return names


def _array(tensor: Any) -> Array:
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise VectorFileError(f"contains {type(tensor).__name__} instead of a tensor of vectors")
    return np.asarray((tensor.float() if tensor.is_floating_point() else tensor).numpy())


def _is_text(field: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(field.type) or types.is_large_string(field.type))
