"""Precomputed vectors in place of a backbone: which row of a file belongs to which image.

Rows are matched by name if the file contains names. Otherwise they are matched by order: row i belongs to the i-th
image file of the image folder, sorted by URI. A mismatch is refused at the start, because vectors under the wrong
images would only show as a bad model. There is no network, so images that are not in the file have no vector.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from shared.images.finding import Passed
from shared.images.names import same_path
from shared.images.opening import ImageProblem
from shared.images.sources.choosing import Sources
from shared.settings.project_file import place_of
from shared.settings.services import SettingsError, TrainerSettings
from trainer.columns.half_rows import let_go
from trainer.columns.hash_index import HASH_BYTES, Hashes, HashIndex
from trainer.embeddings.backbones.vector_file import Array, VectorFileError, read_vectors
from trainer.embeddings.store import LARGEST

CHUNK = 1 << 22
"""Numbers checked per block, so that a mapped file need not fit into memory."""
BYTES_AN_IMAGE = 32_768
"""Memory limit per image in the folder for a file that is read into memory: two vectors of 4,096 numbers."""
LEAST_BYTES, UNKNOWN_BYTES = 256_000_000, 1_000_000_000
"""Lower bound of that limit, and the limit if the images are unknown because they come over HTTP."""


class OwnVectors:
    """Vectors by image URI. `key` identifies the content of the file and how it was matched."""

    banner: str | None = None

    def __init__(self, path: Path, matrix: Array, row_of: dict[str, int], blocks: tuple[int, ...] = ()) -> None:
        self.path = path
        self.dim = matrix.shape[1]
        self.blocks: tuple[int, ...] = blocks or (self.dim,)
        self._matrix = matrix  # (N, dim)
        self._places = HashIndex(_hashed(row_of))  # of the URIs, which take three times as much memory
        self._rows = np.fromiter(row_of.values(), np.int64, len(row_of))  # by place
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256")
        for number, item in enumerate(sorted(row_of.items())):  # the bytes of the list as text, which would be long
            digest.update(f"{', ' if number else '['}{item!r}".encode(errors="surrogateescape"))
        digest.update(b"]" if row_of else b"[]")
        self.key = f"own-{self.dim}d-{digest.hexdigest()[:12]}"

    @classmethod
    def load(cls, settings: TrainerSettings) -> OwnVectors:
        """Read settings.embeddings and match it with the image folder, if this machine can read that.

        Raises SettingsError, with one sentence, if the file cannot be read or does not match.
        """
        if settings.backbone != "auto" or settings.backbone_weights or settings.model_fn:
            raise SettingsError(
                "The trainer setting 'embeddings' replaces the network: leave 'backbone' at 'auto', and "
                "'backbone_weights' and 'model_fn' empty."
            )
        path = Path(settings.embeddings).expanduser()
        try:
            source = Sources().source(place_of(settings.images)) if settings.images else None
            uris = [uri for uri, _ in source.listed(Passed())] if source is not None else []
            vectors = read_vectors(path, max(BYTES_AN_IMAGE * len(uris), LEAST_BYTES if uris else UNKNOWN_BYTES))
            _check_numbers(vectors.matrix)
            if vectors.names is not None:
                row_of = _by_name(vectors.names, uris)
            else:
                row_of = _by_order(len(vectors.matrix), uris, settings.images)
        except VectorFileError as problem:
            raise SettingsError(f"The trainer setting 'embeddings' names {path}, which {problem}.") from None
        except ImageProblem as problem:
            raise SettingsError(f"The trainer setting 'images' is {settings.images!r}, which {problem}.") from None
        return cls(path, vectors.matrix, row_of, vectors.blocks)

    def has(self, uri: str) -> bool:
        """Whether this image has a vector."""
        return bool(self.known([uri])[0])

    def known(self, uris: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which of these images (n,) have a vector."""
        known: npt.NDArray[np.bool_] = self._places.of(_hashed(uris)) >= 0
        return known

    def vectors(self, uris: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors (n, dim) of these images, in order. Raises KeyError for an image without one."""
        places = self._places.of(_hashed(uris))
        if (places < 0).any():
            raise KeyError(uris[int(np.flatnonzero(places < 0)[0])])
        rows = self._rows[places]
        found: npt.NDArray[np.float32] = np.asarray(self._matrix[rows], dtype=np.float32)
        let_go(self._matrix)  # each row is read once
        return found


def _hashed(uris: Collection[str]) -> Hashes:
    """A hash of each URI (n, 32)."""
    digests = (hashlib.sha256(uri.encode(errors="surrogateescape")).digest() for uri in uris)
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, HASH_BYTES)


def _by_name(names: Sequence[str], uris: Sequence[str]) -> dict[str, int]:
    """URI → row. A name is a URI, or a bare file name if the folder contains one image of that name."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise VectorFileError(f"contains two vectors for {twice[0]!r}")
    row_of = {name: row for row, name in enumerate(names)}
    in_folder = set(uris)
    called = defaultdict(list)
    alike = {same_path(name): name for name in names if name not in in_folder}
    for uri in uris:
        name = PurePosixPath(uri).name
        if uri not in row_of and (other := alike.get(same_path(uri))):
            called[other].append(uri)
        elif uri not in row_of and name in row_of and name not in in_folder:
            called[name].append(uri)
    for name, same in called.items():
        if len(same) > 1:
            raise VectorFileError(f"contains {name!r}, which may be {same[0]!r} or {same[1]!r}: use names with folders")
    if uris and not called and row_of.keys().isdisjoint(in_folder):
        raise VectorFileError(
            f"names no image of the folder: its first name is {names[0]!r}, the first image is {uris[0]!r}"
        )
    return row_of | {same[0]: row_of[name] for name, same in called.items()}


def _by_order(count: int, uris: Sequence[str], folder: str) -> dict[str, int]:
    if not folder:
        raise VectorFileError("contains no names, so it is matched by order: set the image folder as 'images'")
    if count != len(uris):
        raise VectorFileError(
            f"contains {count} vectors without names, but there are {len(uris)} image files in {folder}: without names "
            "there must be one vector for each, in sorted order of their paths"
        )
    return {uri: row for row, uri in enumerate(sorted(uris))}


def _check_numbers(matrix: Array) -> None:
    rows = max(CHUNK // matrix.shape[1], 1)
    for start in range(0, len(matrix), rows):
        part = np.abs(np.asarray(matrix[start : start + rows], dtype=np.float64)).max(axis=1)
        let_go(matrix)
        bad = np.flatnonzero(~(part < LARGEST))  # NaN compares as False
        if len(bad):
            raise VectorFileError(
                f"contains NaN, infinite numbers or numbers beyond {LARGEST:,.0f} in row {start + bad[0]}"
            )
