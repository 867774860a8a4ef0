"""Small pools for tests of strategies."""

import numpy as np

from trainer.strategies import Pool


def make_pool(n=60, dim=8, classes=3, labeled=12, *, head=True, seed=0, memory=None, leased=(), upcoming=()):
    """A pool of `n` random unit vectors, the first `labeled` of a random order labeled as class 10, 11, …"""
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((n, dim)).astype(np.float32)
    if n:
        Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    labels = np.full(n, -1)
    rows = rng.permutation(n)[:labeled]
    labels[rows] = 10 + np.arange(len(rows)) % max(classes, 1)
    lease = np.zeros(n, dtype=bool)
    lease[list(leased)] = True
    probabilities = rng.dirichlet(np.ones(classes), size=n).astype(np.float32) if head else None
    return Pool(
        embeddings=Z,
        probabilities=probabilities,
        labels=labels,
        leased=lease,
        candidates=np.flatnonzero((labels < 0) & ~lease),
        seed=seed,
        memory={} if memory is None else memory,
        classes=10 + np.arange(classes) if head else None,
        upcoming=np.array(upcoming, dtype=np.int64),
    )


def pool_of(probabilities, *, embeddings=None, labels=None, seed=0):
    """An unlabeled pool with these probabilities, or with these labels."""
    p = np.asarray(probabilities, dtype=np.float32)
    n = len(p)
    Z = np.eye(n, max(n, 2), dtype=np.float32) if embeddings is None else np.asarray(embeddings, dtype=np.float32)
    y = np.full(n, -1) if labels is None else np.asarray(labels)
    return Pool(Z, p, y, np.zeros(n, dtype=bool), np.flatnonzero(y < 0), seed, {}, np.arange(p.shape[1]))
