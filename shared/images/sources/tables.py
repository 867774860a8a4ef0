"""The images in a parquet file, such as the files of a Hugging Face dataset, as a source.

A row has the bytes of one image, in a column of bytes or of (bytes, path). Sequential reading takes little memory. A
single row requires reading its row group from the start, so row groups must not be large.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from shared.images.finding import Passed, is_left_out
from shared.images.opening import ImageLimits, ImageProblem, check_bytes
from shared.images.sources.addresses import climbs
from shared.images.sources.archives import MOST_MEMBERS
from shared.images.sources.blobs import Blob, SourceInFile, Stream
from shared.images.sources.source import LONGEST_NAME, NONE, ImageAway, Listed, Stamp, folded

ENDING: Final = ".parquet"
COLUMNS: Final = ("image", "img", "bytes", "jpg", "jpeg", "png", "webp", "content", "data")
NAMES: Final = ("file_name", "filename", "path", "uri", "key", "__key__", "id", "name")
MOST_GROUP = 1 << 29
"""Maximum bytes of the images of one row group, as stored."""
_AT_ONCE = MOST_GROUP  # maximum bytes of one read, such as the footer
_KEPT, _KEPT_BYTES = 64, 1 << 26  # maximum number of cached rows, and of their bytes
_NAMES_AT_ONCE = 10_000
_GROUPS = 2  # row groups open at the same time, because parallel readers are not quite in order


@dataclass
class _Group:
    """A row group that is being read, and its latest rows.

    It is read one row at a time, because a file may repeat one large value in a million rows and store it once.
    """

    rows: Iterator[Any]
    next_row: int
    kept: deque[tuple[int, Any]] = field(default_factory=deque)  # row, and its column

    def read(self, row: int) -> Any:
        """The value of the column in a row."""
        while self.next_row <= row:
            self.kept.append((self.next_row, next(self.rows).column(0)))
            self.next_row += 1
            while len(self.kept) > 1 and (
                len(self.kept) > _KEPT or sum(each.nbytes for _, each in self.kept) > _KEPT_BYTES
            ):
                self.kept.popleft()
        return next(column for at, column in self.kept if at == row)


@dataclass(frozen=True)
class _Table:
    stamp: Stamp
    file: Any
    column: str  # the column with the bytes; dotted if nested
    row_of: dict[str, int]
    starts: list[int]  # the first row of each row group, and the number of rows
    reading: dict[int, _Group] = field(default_factory=dict)


class TableSource(SourceInFile[_Table]):
    """The images of one parquet file."""

    def __init__(self, blob: Blob) -> None:
        super().__init__(blob, far=blob.far, readers=2)

    def listed(self, passed: Passed) -> Iterator[Listed]:
        """See ImageSource. In the order of the rows, so that reading them in order is fast."""
        return ((uri, None) for uri in self._current(look=True).row_of)

    def stamp(self, uri: str) -> Stamp:
        """See ImageSource. If the file changes, all its images are read again."""
        table = self._known()
        row = None if table is None else table.row_of.get(uri)
        return NONE if table is None or row is None else (1, folded(table.stamp, row) or 1)

    def read(self, uri: str, limits: ImageLimits) -> bytes:
        """See ImageSource."""
        table = self._current()
        row = table.row_of.get(uri)
        if row is None:
            raise ImageProblem("no longer exists")
        with self._lock:
            data: bytes | None = _guarded(lambda: _row(table, row))
        if data is None:
            raise ImageProblem("has no bytes in its table")
        check_bytes(len(data), limits)
        return data

    def _read_contents(self, size: int, stamp: Stamp) -> _Table:
        table: _Table = _guarded(lambda: _opened(self._blob, size, stamp))
        return table


def holds_images(blob: Blob) -> bool:
    """Whether a parquet file has a column of bytes. Raises ImageProblem."""
    size, stamp = blob.look()
    if stamp == NONE:
        raise ImageProblem("no longer exists")
    return _guarded(lambda: _bytes_in(_file(blob, size).schema_arrow)) is not None


def _guarded(work: Any) -> Any:
    import pyarrow as pa

    try:
        return work()
    except ImageProblem:
        raise
    except (pa.ArrowException, OSError, ValueError, LookupError, OverflowError, MemoryError, StopIteration):
        raise ImageProblem("is not a parquet file that can be read") from None


def _file(blob: Blob, size: int, text: str | None = None) -> Any:
    import pyarrow as pa  # slow to import, and most projects only read folders
    import pyarrow.parquet as pq

    return pq.ParquetFile(
        pa.PythonFile(Stream(blob, size, _AT_ONCE), mode="r"), buffer_size=1 << 20, read_dictionary=text and [text]
    )


def _opened(blob: Blob, size: int, stamp: Stamp) -> _Table:
    file = _file(blob, size)
    column = _bytes_in(file.schema_arrow)
    if column is None:
        raise ImageProblem("has no column of images: name one of its columns image")
    starts = [0]
    for group in range(file.metadata.num_row_groups):
        described = file.metadata.row_group(group)
        at = next(at for at in range(described.num_columns) if described.column(at).path_in_schema == column)
        stored = described.column(at)
        if max(stored.total_compressed_size, stored.total_uncompressed_size) > MOST_GROUP:
            raise ImageProblem(
                f"has more than {MOST_GROUP >> 20} MiB of images in one row group: write it again with "
                "row_group_size=100"
            )
        starts.append(starts[-1] + max(described.num_rows, 0))
    if starts[-1] > MOST_MEMBERS:
        raise ImageProblem(f"has more than {MOST_MEMBERS:,} rows: split it")
    names = _names(blob, size, file, column, starts[-1])
    return _Table(stamp, file, column, {name: row for row, name in enumerate(names)}, starts)


def _bytes_in(schema: Any) -> str | None:
    """The column with the bytes of the images, or None."""
    import pyarrow as pa

    def binary(kind: Any) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    found = {}
    for each in schema:
        if binary(each.type):
            found[each.name] = each.name
        elif pa.types.is_struct(each.type) and any(part.name == "bytes" and binary(part.type) for part in each.type):
            found[each.name] = f"{each.name}.bytes"
    known = next((found[name] for name in COLUMNS if name in found), None)
    return known or (next(iter(found.values())) if len(found) == 1 else None)


def _names(blob: Blob, size: int, file: Any, column: str, rows: int) -> list[str]:
    """The names of all rows: those in the file if all are usable and distinct, else the row numbers."""
    whole, mark, _ = column.partition(".")
    if mark:
        kind = file.schema_arrow.field(whole).type
        leaf = f"{whole}.path" if "path" in [part.name for part in kind] else None
    else:
        leaf = next((name for name in NAMES if name in file.schema_arrow.names), None)
    given: list[str] = []
    try:
        given = ["" if each is None else str(each) for each in values(blob, size, leaf, LONGEST_NAME)] if leaf else []
    except ImageAway:
        raise
    except ImageProblem:
        pass  # the column holds texts, not names
    if len(given) == rows == len(set(given)) and all(map(_usable, given)):
        return given
    endings = [PurePosixPath(name).suffix for name in given] or [""] * rows
    return [
        f"{row:08d}{ending if ending.isascii() and ending[1:].isalnum() else ''}" for row, ending in enumerate(endings)
    ]


def values(blob: Blob, size: int, column: str, longest: int) -> Iterator[Any]:
    """The values of a column, dotted if nested. A text that many rows share is stored once.

    Raises ImageProblem for a text of more than about `longest` characters.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    for batch in _file(blob, size, column).iter_batches(_NAMES_AT_ONCE, columns=[column]):
        found = batch.column(0)
        if pa.types.is_struct(found.type):
            found = pc.struct_field(found, column.rpartition(".")[2])
        if pa.types.is_dictionary(found.type):
            if (pc.max(pc.binary_length(found.dictionary)).as_py() or 0) > 4 * longest:
                raise ImageProblem(f"has a text in its column {column} that is too long")
            known = found.dictionary.to_pylist()
            yield from (None if at is None else known[at] for at in found.indices.to_pylist())
        else:
            yield from found.to_pylist()


def _usable(name: str) -> bool:
    parts = name.split("/")
    fine = bool(name) and name.isprintable() and len(name) <= LONGEST_NAME and all(parts)
    return fine and not climbs("/" + name) and not any(map(is_left_out, parts))


def _row(table: _Table, row: int) -> bytes | None:
    group = next(at for at, start in enumerate(table.starts) if start > row) - 1
    known = table.reading.get(group)
    oldest = known.kept[0][0] if known is not None and known.kept else None
    if known is None or row < (oldest if oldest is not None else known.next_row):
        if known is None and len(table.reading) >= _GROUPS:
            table.reading.pop(next(iter(table.reading)))
        rows = table.file.iter_batches(1, row_groups=[group], columns=[table.column], use_threads=False)
        known = table.reading[group] = _Group(rows, table.starts[group])
    try:
        value = known.read(row)[0].as_py()
    except BaseException:
        del table.reading[group]  # a failed reader cannot continue
        raise
    value = value.get("bytes") if isinstance(value, dict) else value
    return None if value is None else bytes(value)
