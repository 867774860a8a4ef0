"""A zip with a folder per split and class, as torchvision's ImageFolder, timm and fastai read it.

Labeled images alone, as `train/shirt/17-photo.jpg`; the id keeps files of one name apart, and what no folder can be
called is written as in a URL: `a/b` is `a%2Fb`. Written member by member while it is sent. An image that cannot be read
any more is left out and named in `left_out.txt`. `commands.folders` writes the same as a folder on this machine, and
`folder_layout` reads it back.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from io import RawIOBase
from typing import Any
from urllib.parse import unquote

from labeler.formats.rows import ExportRow, Extras
from labeler.problems import Problem

_UNSAFE = re.compile(r'[\x00-\x1f<>:"/\\|?*%]|^[. ]|[. ]$')


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """Images are stored as they are: they are compressed already."""
    pipe = Pipe()
    left_out: list[str] = []
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        for row in rows:
            if row.label is None:
                continue
            try:
                data = row.read()
            except Problem as problem:
                left_out.append(f"{row.uri}: {problem.detail}")
                continue
            archive.writestr(zipfile.ZipInfo(member(row.id, row.uri, row.split, row.label)), data)
            yield pipe.drain()
        if left_out:
            archive.writestr(zipfile.ZipInfo("left_out.txt"), "\n".join(left_out) + "\n")
    yield pipe.drain()


def member(image_id: int, uri: str, split: str, label: str) -> str:
    """Where an image lies in the folder."""
    return f"{split}/{folder_name(label)}/{file_name(image_id, uri)}"


def folder_name(label: str) -> str:
    """A class as a folder on any system: what a path cannot hold is written as in a URL, so that it can be read."""
    return _UNSAFE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), label)


def label_of(folder: str) -> str:
    """The class whose folder this is."""
    label = unquote(folder)
    return label if folder_name(label) == folder else folder


def file_name(image_id: int, uri: str) -> str:
    """The image's file name in an archive; the id keeps files of one name apart."""
    name = _UNSAFE.sub("_", uri.rsplit("/", 1)[-1])[-150:]
    return f"{image_id}-{name}"


class Pipe(RawIOBase):
    """What the archive writes and the answer takes; it cannot be rewound, so the archive writes sizes after data."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        """An archive can be written."""
        return True

    def write(self, data: Any) -> int:
        """Keep until drained."""
        self._parts.append(bytes(data))
        return len(data)

    def drain(self) -> bytes:
        """Take what was written since."""
        parts, self._parts = b"".join(self._parts), []
        return parts
