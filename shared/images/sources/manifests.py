"""A table of addresses as a source of images: a CSV or parquet file with a column that names each image.

An entry is an address, or a path relative to the table. The table is not trusted: an image is read only if it lies in
the table's folder, or if the settings allow its address. The URI of an image is its address without scheme and query,
so that no signature is stored.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from shared.images import finding
from shared.images.finding import Passed
from shared.images.opening import ImageLimits, ImageProblem, check_bytes
from shared.images.sources.addresses import WEB, AddressProblem, checked, climbs, is_address, is_within
from shared.images.sources.archives import MOST_MEMBERS
from shared.images.sources.blobs import Blob, SourceInFile, Stream
from shared.images.sources.source import NONE, Listed, Stamp, folded
from shared.images.sources.stores import Store
from shared.images.sources.tables import values

ENDINGS: Final = (".csv", ".tsv")
COLUMNS: Final = (
    *("address", "url", "uri", "image", "image_url", "image_uri", "image_path", "path", "filepath", "file_path"),
    *("file", "filename", "file_name"),
)
"""Names of the address column, in order of preference."""
MOST_BYTES = 1 << 30
LONGEST_ENTRY = 8_192
"""Maximum characters of an address. Signatures take some hundred."""


@dataclass(frozen=True, slots=True)
class _Entries:
    stamp: Stamp
    address_of: dict[str, str]  # by URI
    passed: Passed


class ManifestSource(SourceInFile[_Entries]):
    """The images in one table. `store_of` opens the store of an allowed address, and refuses any other."""

    def __init__(self, blob: Blob, store_of: Callable[[str], Store]) -> None:
        super().__init__(blob, far=True, readers=16)
        self._store_of = store_of
        self._folder = Path(blob.place).parent if isinstance(blob.place, Path) else None

    def listed(self, passed: Passed) -> Iterator[Listed]:
        """See ImageSource. In code point order."""
        entries = self._current(look=True)
        passed.add(entries.passed)
        return ((uri, None) for uri in sorted(entries.address_of))

    def stamp(self, uri: str) -> Stamp:
        """See ImageSource. Computed from the table alone, so that a million servers need not be asked."""
        entries = self._known()
        address = None if entries is None else entries.address_of.get(uri)
        if address is None:
            return NONE
        if self._folder is not None and not is_address(address):
            try:
                status = (self._folder / address).stat()
            except (OSError, ValueError):
                return NONE
            return status.st_size, status.st_mtime_ns
        return 1, folded(address) or 1

    def read(self, uri: str, limits: ImageLimits) -> bytes:
        """See ImageSource."""
        address = self._current().address_of.get(uri)
        if address is None:
            raise ImageProblem("no longer exists")
        if not is_address(address):
            if self._folder is not None:
                return finding.read(address, self._folder, limits)
            address = f"{beside(str(self.place))}/{address}"
        data = self._store_of(address).read(address, 0, limits.max_bytes + 1)
        check_bytes(len(data), limits)
        return data

    def _read_contents(self, size: int, stamp: Stamp) -> _Entries:
        if size > MOST_BYTES:
            raise ImageProblem(f"has more than {MOST_BYTES >> 20:,} MiB: split it")
        passed, found = Passed(), dict[str, str]()
        for number, address in enumerate(addresses_in(self._blob, size)):
            if number >= MOST_MEMBERS:
                raise ImageProblem(f"has more than {MOST_MEMBERS:,} rows: split it")
            entry = _entry(address)
            if entry is None:
                passed.unusable[_without_secret(address)] += 1
                continue
            uri, address = entry
            if found.setdefault(uri, address) != address:
                path = PurePosixPath(uri)
                found[str(path.with_name(f"{path.stem}-{folded(address):016x}{path.suffix}"))] = address
        return _Entries(stamp, found, passed)


def addresses_in(blob: Blob, size: int) -> Iterator[str]:
    """The addresses in a table. Raises ImageProblem if it has no address column."""
    name = str(blob.place).lower()
    if name.endswith(".parquet"):
        yield from _of_parquet(blob, size)
        return
    text = io.TextIOWrapper(io.BytesIO(blob.part(0, size)), encoding="utf-8-sig", newline="")
    try:
        first = text.readline()
        text.seek(0)
        between = "\t" if name.endswith(".tsv") else ";" if ";" in first and "," not in first else ","
        rows = csv.DictReader(text, delimiter=between)
        column = column_of(rows.fieldnames or [])
        if column is None:
            raise ImageProblem(f"has no column of images: name one of its columns {COLUMNS[0]}")
        yield from (row[column].strip() for row in rows if (row[column] or "").strip())
    except (csv.Error, UnicodeDecodeError):
        raise ImageProblem("is not a table that can be read: write it as CSV in UTF-8") from None


def column_of(names: Any) -> str | None:
    """The column that names images, if there is one."""
    known = {str(name).strip().lower(): str(name) for name in names}
    return next((known[name] for name in COLUMNS if name in known), None)


def beside(address: str) -> str:
    """The prefix of all addresses in the table's folder."""
    return address.rpartition("/")[0]


def allowed_beside(table: str, address: str) -> bool:
    """Whether an address lies in the folder of the table that names it."""
    return is_within(address.partition("?")[0], [beside(table)])


def _of_parquet(blob: Blob, size: int) -> Iterator[str]:
    import pyarrow as pa  # slow to import, and most projects only read folders
    import pyarrow.parquet as pq

    try:
        schema = pq.ParquetFile(pa.PythonFile(Stream(blob, size), mode="r")).schema_arrow
        column = column_of(schema.names)
        if column is None:
            raise ImageProblem(f"has no column of images: name one of its columns {COLUMNS[0]}")
        if not _is_text(schema.field(column).type):
            raise ImageProblem(f"has a column {column} that is not text")
        yield from (each.strip() for each in values(blob, size, column, LONGEST_ENTRY) if each and each.strip())
    except (pa.ArrowException, OSError, LookupError, MemoryError):
        raise ImageProblem("is not a parquet file that can be read") from None


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _entry(text: str) -> tuple[str, str] | None:
    """The name of an image and its normalised address; None if the entry is no image address."""
    if len(text) > LONGEST_ENTRY or not text.isprintable():
        return None
    if not is_address(text):
        path = text.removeprefix("./")
        outside = climbs("/" + path) or path.startswith("/") or "://" in path
        return None if outside or not all(path.split("/")) else (path, path)
    plain, mark, query = text.partition("?")
    try:
        kept = checked(plain)
        if urlsplit(kept).scheme not in WEB:  # a ? is part of an object's name there
            checked(text)
    except AddressProblem:
        return None
    return kept.partition("://")[2], kept + mark + query


def _without_secret(entry: str) -> str:
    """The entry as text for people, without any password or signature in it."""
    scheme, mark, rest = entry.partition("?")[0].rpartition("://")
    return (scheme + mark + rest.rpartition("@")[2] if mark else rest)[:80]
