import json
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save, save_file

from trainer.embeddings.backbones.safe_weights import MAX_HEADER_BYTES, ModelFileError, read_arrays, shapes_in

ARRAYS = {"weights": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.zeros(3, np.float32)}


class Bomb:
    """Unpickling it has a visible effect."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('it ran')",))


def written(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    return path


def test_arrays_are_read_when_they_are_the_expected_ones(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(ARRAYS, path)
    assert shapes_in(path) == {"weights": (2, 3), "bias": (3,)}
    read = read_arrays(path, {"weights": (None, 3), "bias": (3,)})
    np.testing.assert_array_equal(read["weights"], ARRAYS["weights"])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_and_nothing_of_it_runs(tmp_path, protocol):
    with pytest.raises(ModelFileError, match=r"is a pickle|is not a safetensors|header of"):
        shapes_in(written(tmp_path, pickle.dumps(Bomb(), protocol)))


def test_what_torch_save_writes_is_refused(tmp_path):
    import torch

    path = tmp_path / "model.safetensors"
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(ModelFileError, match="pickle"):
        shapes_in(path)


@pytest.mark.parametrize("length", [10 * 2**30, 2**63, MAX_HEADER_BYTES + 1])
def test_an_enormous_header_is_refused_before_it_is_read(tmp_path, length):
    with pytest.raises(ModelFileError, match="header of"):
        shapes_in(written(tmp_path, struct.pack("<Q", length) + b"{" + b" " * 100))


def test_a_header_longer_than_the_file_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match="cut off"):
        shapes_in(written(tmp_path, struct.pack("<Q", 5_000) + b"{" + b" " * 100))


@given(st.data())
def test_no_truncated_file_is_accepted(tmp_path_factory, data):
    content = save(ARRAYS)
    cut = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(ModelFileError):
        shapes_in(written(tmp_path_factory.mktemp("cut"), content[:cut]))


@pytest.mark.parametrize(
    "header",
    [
        {"weights": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 10**12]}},
        {"weights": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 24]}},
        {"weights": {"dtype": "F32", "shape": [2, 3], "data_offsets": [24, 0]}},
        {"weights": {"dtype": "code", "shape": [2, 3], "data_offsets": [0, 24]}},
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, header):
    text = json.dumps(header).encode()
    with pytest.raises(ModelFileError, match="damaged"):
        shapes_in(written(tmp_path, struct.pack("<Q", len(text)) + text + bytes(24)))


@pytest.mark.parametrize(
    ("expected", "named"),
    [
        ({"weights": (2, 3)}, "'bias', which does not belong"),
        ({"weights": (2, 3), "bias": (3,), "mean": (3,)}, "lacks the tensor 'mean'"),
        ({"weights": (3, 2), "bias": (3,)}, r"\(2, 3\) instead of \(3, 2\)"),
        ({"weights": (2, 3, None), "bias": (3,)}, r"instead of \(2, 3, any\)"),
    ],
)
def test_other_shapes_than_expected_are_refused(tmp_path, expected, named):
    path = tmp_path / "model.safetensors"
    save_file(ARRAYS, path)
    with pytest.raises(ModelFileError, match=named):
        read_arrays(path, expected)


def test_a_missing_file_gives_one_sentence(tmp_path):
    with pytest.raises(ModelFileError, match="cannot be read"):
        shapes_in(tmp_path / "gone.safetensors")
