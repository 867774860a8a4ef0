"""Predictions of a pool as bytes."""

import io

import numpy as np
import pytest

from shared.pool_predictions import PredictionColumns

SAID = PredictionColumns("head-1", np.array([3, 2**40]), np.array([7, 1], np.int32), np.array([0.5, 0.25], np.float32))


def test_what_was_written_is_read():
    read = PredictionColumns.from_bytes(SAID.to_bytes())
    assert (read.model_version, read.image_ids.tolist(), read.labels.tolist()) == ("head-1", [3, 2**40], [7, 1])
    assert read.confidences.tolist() == [0.5, 0.25]


def test_anything_else_is_refused():
    other, uneven = io.BytesIO(), io.BytesIO()
    np.savez(other, image_ids=np.arange(3))
    np.savez(uneven, model_version="m", image_ids=np.arange(3), labels=np.arange(3), confidences=np.ones(2))
    for data in (b"", b"{}", SAID.to_bytes()[:100], other.getvalue(), uneven.getvalue()):
        with pytest.raises(ValueError, match=r"."):
            PredictionColumns.from_bytes(data)
