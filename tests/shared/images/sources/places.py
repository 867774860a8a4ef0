"""The same files as a folder, as archives and as objects of a store in this process."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import fsspec
from PIL import Image

from shared.images.finding import Passed
from shared.images.opening import ImageLimits
from shared.images.sources.choosing import Sources
from shared.images.sources.source import ImageSource

LIMITS = ImageLimits(max_bytes=100_000, max_pixels=1_000_000)


def picture(shade: int) -> bytes:
    """A PNG of which no other shade is a duplicate."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (shade % 256, shade // 256, 9)).save(stream, "PNG")
    return stream.getvalue()


def write_zip(path: Path, files: Mapping[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip with these members, in this order."""
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, files: Mapping[str, bytes], time: int = 0) -> Path:
    """An uncompressed tar with these members, in this order."""
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), time
            archive.addfile(member, io.BytesIO(data))
    return path


def write_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    """A folder with these files."""
    path.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def write_objects(bucket: str, files: Mapping[str, bytes]) -> str:
    """Objects of a store in this process."""
    store = fsspec.filesystem("memory")
    for name, data in files.items():
        store.pipe_file(f"/{bucket}/{name}", data)
    return f"memory://{bucket}"


def source(place: Path | str) -> ImageSource:
    """The source at a place."""
    return Sources().source(place)


def uris(of: ImageSource, passed: Passed | None = None) -> list[str]:
    """All URIs of a source; `passed` counts what it skips."""
    return [uri for uri, _ in of.listed(passed or Passed())]
