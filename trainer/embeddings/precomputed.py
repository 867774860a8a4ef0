"""Vectors that somebody else has computed, in the place of a backbone: which row of a file belongs to which image.

Rows are matched by name where the file holds names, else by order: row i belongs to the i-th image file of the image
folder in sorted order of its URIs. What does not fit is refused at the start, because a vector under the wrong image
looks like a bad model and like nothing else. There is no network, so an image that the file does not know has none.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from shared.images.finding import find_images
from shared.images.names import same_path
from shared.images.opening import ImageProblem
from shared.settings.services import SettingsError, TrainerSettings
from trainer.embeddings.backbones.vector_file import Array, VectorFileError, read_vectors
from trainer.embeddings.store import LARGEST

CHUNK = 1 << 22
"""Numbers looked at together, so that a mapped file need not fit into memory."""
BYTES_AN_IMAGE = 32_768
"""Of the images in the folder, what a file that is read into memory may take: two vectors of 4,096 numbers."""
LEAST_BYTES, UNKNOWN_BYTES = 256_000_000, 1_000_000_000
"""What any such file may take, and where the images are not known because they come over HTTP."""


class OwnVectors:
    """Vectors by image URI. `key` names the content of the file and how it was matched."""

    banner: str | None = None

    def __init__(self, path: Path, matrix: Array, row_of: dict[str, int]) -> None:
        self.path = path
        self.dim = matrix.shape[1]
        self._matrix = matrix  # (N, dim)
        self._row_of = row_of  # URI → row
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256")
        digest.update(repr(sorted(row_of.items())).encode(errors="surrogateescape"))
        self.key = f"own-{self.dim}d-{digest.hexdigest()[:12]}"

    @classmethod
    def load(cls, settings: TrainerSettings) -> OwnVectors:
        """Read settings.embeddings and match it with the image folder, where this machine can read that.

        Raises SettingsError with one sentence when the file cannot be read or does not fit.
        """
        if settings.backbone != "auto" or settings.backbone_weights or settings.model_fn:
            raise SettingsError(
                "The trainer setting 'embeddings' takes the place of a network: leave 'backbone' at 'auto', and "
                "'backbone_weights' and 'model_fn' empty."
            )
        path = Path(settings.embeddings).expanduser()
        try:
            uris = list(find_images(Path(settings.images))) if settings.images else []
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
        return cls(path, vectors.matrix, row_of)

    def has(self, uri: str) -> bool:
        """Whether there is a vector for this image."""
        return uri in self._row_of

    def vectors(self, uris: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors (n, dim) of these images, in their order. Raises KeyError for one that has none."""
        rows = [self._row_of[uri] for uri in uris]
        return np.asarray(self._matrix[rows], dtype=np.float32)


def _by_name(names: Sequence[str], uris: Sequence[str]) -> dict[str, int]:
    """URI → row. A name is a URI, or a file name alone where the folder holds one image of that name."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise VectorFileError(f"holds two vectors for {twice[0]!r}")
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
            raise VectorFileError(
                f"holds {name!r}, while there are {same[0]!r} and {same[1]!r}: give names with folders"
            )
    if uris and not called and row_of.keys().isdisjoint(in_folder):
        raise VectorFileError(f"names no image of the folder: it begins with {names[0]!r}, the folder with {uris[0]!r}")
    return row_of | {same[0]: row_of[name] for name, same in called.items()}


def _by_order(count: int, uris: Sequence[str], folder: str) -> dict[str, int]:
    if not folder:
        raise VectorFileError("holds no names, so that its order must tell: give the image folder as 'images'")
    if count != len(uris):
        raise VectorFileError(
            f"holds {count} vectors and no names, while there are {len(uris)} image files in {folder}: without names "
            "there must be one vector for each, in sorted order of their paths"
        )
    return {uri: row for row, uri in enumerate(sorted(uris))}


def _check_numbers(matrix: Array) -> None:
    rows = max(CHUNK // matrix.shape[1], 1)
    for start in range(0, len(matrix), rows):
        part = np.abs(np.asarray(matrix[start : start + rows], dtype=np.float64)).max(axis=1)
        bad = np.flatnonzero(~(part < LARGEST))  # NaN compares as False
        if len(bad):
            raise VectorFileError(
                f"holds NaN, infinite numbers or numbers beyond {LARGEST:,.0f} in row {start + bad[0]}"
            )
