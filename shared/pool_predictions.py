"""The predictions for a pool as columns, and as bytes: 16 per image, which need no JSON parser.

JSON is sent unless the request asks for this form, because trainers of earlier versions know only JSON, and other
programs may prefer it.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

MEDIA_TYPE = "application/x-npz"
_COLUMNS = {"image_ids": np.int64, "labels": np.int32, "confidences": np.float32}


@dataclass(frozen=True)
class PredictionColumns:
    """The most probable class of each image (n,), and its probability (n,), by the model `model_version`."""

    model_version: str
    image_ids: NDArray[np.int64]
    labels: NDArray[np.int32]
    confidences: NDArray[np.float32]

    def to_bytes(self) -> bytes:
        """Encode the columns as an .npz file."""
        stream = io.BytesIO()
        columns: dict[str, Any] = {name: np.asarray(getattr(self, name), kind) for name, kind in _COLUMNS.items()}
        np.savez(stream, model_version=np.array(self.model_version), **columns)
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode what `to_bytes` returned. Raises ValueError."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                columns = {name: np.asarray(file[name], kind) for name, kind in _COLUMNS.items()}
                version = str(file["model_version"])
        except (KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(f"it contains no predictions ({error})") from None
        if len({column.shape for column in columns.values()}) > 1 or columns["labels"].ndim != 1:
            raise ValueError("its columns have different lengths")
        return cls(version, **columns)
