"""Images with several classes for tests: strips of three places, of which two or three show a digit."""

import numpy as np
from sklearn.datasets import load_digits

from shared.tasks.multilabel import Classes


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def strips(count, *, seed=0, digits=range(10)):
    """Unit rows (count, 192), and which digits each strip shows (count, 10) as 1 and 0."""
    found = load_digits()
    rng = np.random.default_rng(seed)
    among = np.flatnonzero(np.isin(found.target, list(digits)))
    pixels = np.zeros((count, 8, 24), np.float32)
    shown = np.zeros((count, 10), np.int8)
    for number in range(count):
        for place in rng.permutation(3)[: rng.integers(2, 4)]:
            digit = rng.choice(among)
            pixels[number, :, 8 * place : 8 * place + 8] = found.images[digit]
            shown[number, found.target[digit]] = 1
    rows = pixels.reshape(count, -1)
    return unit(rows - rows.mean(axis=0)), shown


def values(targets):
    """The answers (n, C) of 1, 0 and −1 as values of the task."""
    return [Classes(np.flatnonzero(row == 1).tolist(), np.flatnonzero(row == 0).tolist()) for row in targets]
