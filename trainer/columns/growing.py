"""An array that grows at its end, at amortised cost."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

T = TypeVar("T", bound=np.generic)


class Growing(Generic[T]):
    """Rows of one type and shape. One thread appends. Any thread may read `values`; arrays that it read stay valid."""

    def __init__(self, dtype: DTypeLike, *shape: int) -> None:
        self._data: NDArray[T] = np.empty((0, *shape), dtype)
        self._size = 0

    @property
    def values(self) -> NDArray[T]:
        """The rows so far, as a view."""
        size = self._size  # before the data, which is at least as new
        return self._data[:size]

    def __len__(self) -> int:
        return self._size

    def append(self, rows: Any) -> None:
        """Append rows (n, …)."""
        start, end = self._size, self._size + len(rows)
        if end > len(self._data):
            grown = np.empty((max(end, start + start // 2, 16), *self._data.shape[1:]), self._data.dtype)
            grown[:start] = self._data[:start]
            self._data = grown
        self._data[start:end] = rows
        self._size = end
