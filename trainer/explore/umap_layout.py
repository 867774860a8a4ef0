"""UMAP layout of the pool (McInnes, Healy and Melville 2018): `python -m trainer.explore.umap_layout FOLDER SEED`.

It runs in its own process, on one core at the lowest priority: umap-learn compiles itself and then computes, half a
minute together, which would block the trainer and so the labeling. The fit uses a bounded sample. Every other image is
placed between the sample images that it is most similar to, because UMAP's own transform took longer than the fit.
umap-learn is an optional extra, because its compiler is larger than all other dependencies except torch.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Hashable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.processes import child_environment, lower_priority, when_orphaned
from trainer.columns.half_rows import AnyRows, parts
from trainer.embeddings.nearest import nearest

logger = logging.getLogger(__name__)

Matrix = NDArray[np.float32]

FIT_SAMPLE = 10_000
LEAST = 10  # with fewer images, neighbours show no structure
FAR = "{percentage:.0f}% done, {remaining_s:.0f} s left"
"""Progress format that makes umap-learn's tqdm output easy to parse."""
NEAREST = 3
BLOCK = 2_048
DEADLINE_SECONDS = 1_800.0
ONE_CORE = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class UmapFailed(Exception):  # noqa: N818
    """The layout failed; the message says why in one sentence."""


class UmapLayout:
    """The latest layout, computed in `folder` by one process at a time."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._seed = folder, seed
        self._log = folder / "log.txt"
        self._lock = threading.Lock()
        self._state: Hashable = None
        self._found: Matrix | str | None = None  # the layout or an error; None while it is being computed
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    @property
    def available(self) -> bool:
        """Whether umap-learn is installed."""
        return find_spec("umap") is not None

    def positions(self, state: Hashable, rows: AnyRows) -> Matrix | None:
        """Positions (N, 2) in −1 … 1 of unit rows (N, D); None while they are being computed.

        `state` identifies the rows. A new state is laid out once the current computation has ended. Raises UmapFailed,
        and does not retry the same state.
        """
        with self._lock:
            waiting = self._state is not None and self._found is None
            if self._state != state and not waiting and not self._closed:
                self._state, self._found = state, None
                threading.Thread(target=self._work_out, args=(rows,), name="umap-layout", daemon=True).start()
            found = self._found if self._state == state else None
        if isinstance(found, str):
            raise UmapFailed(found)
        return found

    def progress(self) -> tuple[float | None, float | None]:
        """Progress of the computation, 0 … 1, and the seconds left; None while unknown."""
        with self._lock:
            if self._process is None or self._found is not None:
                return None, None
        try:
            return far(self._log.read_text(encoding="utf-8", errors="replace")[-1_000:])
        except OSError:
            return None, None

    def close(self) -> None:
        """Kill the process, if there is one."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()

    def _work_out(self, rows: AnyRows) -> None:
        found: Matrix | str
        try:
            found = self._ask(rows)
        except (UmapFailed, OSError, ValueError, subprocess.TimeoutExpired) as error:
            found = f"UMAP failed: {error}"
            if not self._closed:
                logger.warning(found)
        with self._lock:
            self._found = found

    def _ask(self, rows: AnyRows) -> Matrix:
        if _distinct(rows) < LEAST:
            raise UmapFailed(f"it needs at least {LEAST} different images.")
        self._folder.mkdir(parents=True, exist_ok=True)
        given, done, log = self._folder / "rows.npy", self._folder / "positions.npy", self._log
        _save(given, rows)
        with log.open("wb") as stream, self._lock:
            if self._closed:
                raise UmapFailed("the trainer is stopping.")
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "trainer.explore.umap_layout",
                    str(self._folder),
                    str(self._seed),
                    str(os.getpid()),
                ],
                env=child_environment() | ONE_CORE,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        with self._process as process:
            try:
                code = process.wait(DEADLINE_SECONDS)
            finally:
                process.kill()
                given.unlink(missing_ok=True)
        if code:
            said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise UmapFailed(f"{said[-1] if said else f'its process ended with {code}'} (see {log}).")
        found: Matrix = np.load(done, allow_pickle=False)
        if found.shape != (len(rows), 2) or not np.isfinite(found).all():
            raise UmapFailed("it returned no valid positions.")
        return found


def _distinct(rows: AnyRows) -> int:
    """Count different rows, at most up to LEAST."""
    seen: set[bytes] = set()
    for _, some in parts(rows):
        for row in some:
            seen.add(row.tobytes())
            if len(seen) >= LEAST:
                return LEAST
    return len(seen)


def _save(path: Path, rows: AnyRows) -> None:
    kept = np.lib.format.open_memmap(path, "w+", np.float32, rows.shape)
    for start, some in parts(rows):
        kept[start : start + len(some)] = some
    kept.flush()


def layout(rows: Matrix, *, seed: int) -> Matrix:
    """Positions (N, 2) in −1 … 1 of unit rows (N, D), computed by umap-learn."""
    from umap import UMAP  # the extra `umap`

    fitted = np.arange(len(rows))
    if len(rows) > FIT_SAMPLE:
        fitted = np.sort(np.random.default_rng(seed).choice(len(rows), FIT_SAMPLE, replace=False))
    sample = np.ascontiguousarray(rows[fitted])
    around = min(15, len(sample) - 1)
    told = {"verbose": True, "tqdm_kwds": {"bar_format": FAR}}
    umap = UMAP(n_neighbors=around, random_state=seed, n_jobs=1, **told)
    flat = np.asarray(umap.fit_transform(sample), np.float32)
    found = flat
    if len(sample) < len(rows):
        found = np.concatenate(
            [amid(flat, sample, rows[start : start + BLOCK]) for start in range(0, len(rows), BLOCK)]
        )
        found[fitted] = flat
    low, high = found.min(axis=0), found.max(axis=0)
    scaled: Matrix = (2 * found - low - high) / max(float((high - low).max()), 1e-12)
    return scaled


def far(log: str) -> tuple[float | None, float | None]:
    """Parse the last progress line of the log, in the format `FAR`: the share done and the seconds left; None without
    any.
    """
    told = re.findall(r"(\d+)% done, (\d+) s left", log)
    return (int(told[-1][0]) / 100, float(told[-1][1])) if told else (None, None)


def amid(flat: Matrix, sample: Matrix, rows: Matrix) -> Matrix:
    """Place rows (n, D) at the mean position of their `NEAREST` rows in the sample (M, D), whose positions are `flat`
    (M, 2).
    """
    middle: Matrix = flat[nearest(rows, sample, NEAREST)[0]].mean(axis=1)
    return middle


def main(argv: Sequence[str]) -> int:
    """Lay out the rows in the folder; returns the exit code."""
    lower_priority()
    folder, seed, trainer = Path(argv[0]), int(argv[1]), int(argv[2])
    when_orphaned(trainer, lambda: os._exit(1))
    np.save(folder / "positions.npy", layout(np.load(folder / "rows.npy", allow_pickle=False), seed=seed))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
