"""Embedded images with labels, for benchmarks: read from files, made harder, divided, and as the trainer's pool."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from shared.wire.fields import Split
from shared.wire.images import ImageEntry
from trainer.embeddings.space import ImagePool

DUPLICATES = "duplicates"
LATE = "late"
Rows = NDArray[np.float32]
Ids = NDArray[np.int64]


def pool_of(X: Rows, train: Ids, test: Ids, blocks: Sequence[int]) -> ImagePool:
    """The trainer's pool of raw vectors `X` (n, D), whose images are numbered by row."""
    folder = Path(tempfile.gettempdir())  # where the rows of a large pool have their file, without a name
    pool = ImagePool(X.shape[1], lambda keys: X[[int(key, 16) for key in keys]], blocks, folder)
    pool.add([_entry(row, "train") for row in train] + [_entry(row, "test") for row in test], complete=True)
    return pool


def join(pool: ImagePool, train: Ids) -> None:
    """Let more train rows join the pool."""
    pool.add([_entry(row, "train") for row in train], complete=True)


def held_out(y: Ids, seed: int) -> tuple[Ids, Ids]:
    """Train rows, and the rows of the stratified quarter that is held out."""
    train, test = train_test_split(np.arange(len(y)), test_size=0.25, stratify=y, random_state=seed)
    return train, test


def _entry(row: int, split: Split) -> ImageEntry:
    return ImageEntry(id=int(row), uri=str(row), sha256=f"{row:064x}", split=split, removed=False)


def split(X: Rows, y: Ids, seed: int, variant: str) -> tuple[Rows, Ids, Ids, Ids]:
    """Vectors and classes of the variant, train rows, and the rows of the stratified held-out quarter."""
    rng = np.random.default_rng(seed)
    X, y = VARIANTS[variant](X, y, rng)
    train, test = held_out(y, seed)
    if variant == DUPLICATES:  # no duplicates of held-out images
        X, y, train = _with_near_copies(X, y, train, rng)
    return X, y, train, test


def late_last(y: Ids, train: Ids, variant: str) -> tuple[Ids, int]:
    """Train rows with those of the rarest class last if they join the pool late, and how many are there at first."""
    if variant != LATE:
        return train, len(train)
    late = y[train] == np.argmin(np.bincount(y))
    return np.concatenate([train[~late], train[late]]), int((~late).sum())


def _whole(X: Rows, y: Ids, rng: np.random.Generator) -> tuple[Rows, Ids]:
    return X, y


def _one_percent(X: Rows, y: Ids, rng: np.random.Generator) -> tuple[Rows, Ids]:
    """Cut one class to 1 % of the images."""
    return _cut(X, y, {int(rng.permutation(np.unique(y))[0]): int(0.01 * len(y))}, rng)


def _late(X: Rows, y: Ids, rng: np.random.Generator) -> tuple[Rows, Ids]:
    """Cut one class to 3 % of the images. It is to join the pool late: `late_last` says which rows these are."""
    return _cut(X, y, {int(rng.permutation(np.unique(y))[0]): int(0.03 * len(y))}, rng)


def _rare(X: Rows, y: Ids, rng: np.random.Generator) -> tuple[Rows, Ids]:
    """Cut one class to 1.5 % of the images and two to 3 %."""
    shares = zip(rng.permutation(np.unique(y))[:3], (0.015, 0.03, 0.03), strict=True)
    return _cut(X, y, {int(class_id): int(share * len(y)) for class_id, share in shares}, rng)


def _imbalanced(X: Rows, y: Ids, rng: np.random.Generator) -> tuple[Rows, Ids]:
    """A long tail: classes in random order shrink by a constant factor, the last to a twentieth."""
    classes = rng.permutation(np.unique(y))
    sizes = np.bincount(y)[classes] * np.geomspace(1, 1 / 20, len(classes))
    return _cut(X, y, dict(zip(classes.tolist(), sizes.astype(int).tolist(), strict=True)), rng)


def _cut(X: Rows, y: Ids, most: dict[int, int], rng: np.random.Generator) -> tuple[Rows, Ids]:
    """Draw that many images at random from each class in `most`, but at least twelve, so that three are held out."""
    keep = np.ones(len(y), dtype=bool)
    for class_id, size in most.items():
        keep[rng.permutation(np.flatnonzero(y == class_id))[max(12, size) :]] = False
    return X[keep], y[keep]


def _with_near_copies(X: Rows, y: Ids, train: Ids, rng: np.random.Generator) -> tuple[Rows, Ids, Ids]:
    """Give a tenth of the train images ten near copies each, as in a burst of photos or a video."""
    rows = np.repeat(rng.choice(train, len(train) // 10, replace=False), 10)
    copies = X[rows] + 0.1 * X.std(axis=0) * rng.standard_normal((len(rows), X.shape[1]))
    more = np.arange(len(y), len(y) + len(rows))
    return np.concatenate([X, copies.astype(np.float32)]), np.concatenate([y, y[rows]]), np.concatenate([train, more])


VARIANTS = {
    "whole": _whole,
    "one_percent": _one_percent,
    "rare": _rare,
    "imbalanced": _imbalanced,
    LATE: _late,
    DUPLICATES: _whole,
}


def read(npz: str | None) -> tuple[str, NDArray[np.float32], NDArray[np.int64]]:
    """Name, vectors (n, D) and classes (n,), counted from 0, of `NAME=FILE` or of the digits."""
    if npz is None:
        X, y = load_digits(return_X_y=True)
        return "digits (pixels)", X.astype(np.float32), y.astype(np.int64)
    name, _, file = npz.partition("=")
    with np.load(file, allow_pickle=False) as arrays:
        return (
            name,
            arrays["X"].astype(np.float32),
            np.unique(arrays["labels"], return_inverse=True)[1].astype(np.int64),
        )


def read_blocks(npz: str | None) -> tuple[int, ...]:
    """The lengths of the blocks of features in the vectors of `NAME=FILE`; () for a single block."""
    if npz is None:
        return ()
    with np.load(npz.partition("=")[2], allow_pickle=False) as arrays:
        return tuple(arrays["blocks"].tolist()) if "blocks" in arrays else ()
