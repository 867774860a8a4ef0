import json
import pickle
import resource
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from trainer.embeddings.backbones.vector_file import VectorFileError, Vectors, read_vectors

MOST = 1_000_000
NAMES = ["b.png", "a/c.png", "é.png"]
MATRIX = np.arange(6, dtype=np.float32).reshape(3, 2)
EACH = dict(zip(NAMES, MATRIX, strict=True))


def frame() -> pd.DataFrame:
    return pd.DataFrame(MATRIX, columns=["x", "y"])


def lists(**columns: list[object]) -> pa.Table:
    return pa.table({**columns, "embedding": MATRIX.tolist()})


NAMED = {
    "named.npz": lambda path: np.savez(path, vectors=MATRIX, filename=np.array(NAMES)),
    "each.npz": lambda path: np.savez(path, allow_pickle=False, **EACH),
    "named.pth": lambda path: torch.save({"embeddings": torch.from_numpy(MATRIX), "filenames": NAMES}, path),
    "each.pth": lambda path: torch.save({name: torch.from_numpy(row) for name, row in EACH.items()}, path),
    "named.safetensors": lambda path: save_file({"vectors": MATRIX}, path, {"filename": json.dumps(NAMES)}),
    "each.safetensors": lambda path: save_file(EACH, path),
    "column.parquet": lambda path: frame().assign(filename=NAMES).to_parquet(path),
    "lists.parquet": lambda path: pq.write_table(lists(uri=[*NAMES]), path),
    "index.parquet": lambda path: frame().set_index(pd.Index(NAMES)).to_parquet(path),
    "named_index.parquet": lambda path: frame().set_index(pd.Index(NAMES, name="file")).to_parquet(path),
}
NAMELESS = {
    "bare.npy": lambda path: np.save(path, MATRIX),
    "bare.NPY": lambda path: np.save(path.open("wb"), MATRIX.astype(np.int16)),
    "bare.npz": lambda path: np.savez(path, MATRIX),
    "bare.pth": lambda path: torch.save(torch.from_numpy(MATRIX), path),
    "half.safetensors": lambda path: save_torch({"v": torch.from_numpy(MATRIX).bfloat16()}, path),
    "numbers.parquet": lambda path: frame().to_parquet(path),
    "lists.parquet": lambda path: pq.write_table(lists(), path),
}


def written(path: Path, write) -> Vectors:
    write(path)
    return read_vectors(path, MOST)


@pytest.mark.parametrize("name", NAMED)
def test_rows_and_their_names_are_found_in_every_format(tmp_path, name):
    vectors = written(tmp_path / name, NAMED[name])
    assert vectors.names is not None
    found = dict(zip(vectors.names, vectors.matrix.tolist(), strict=True))
    assert found == {name: row.tolist() for name, row in EACH.items()}


def test_an_npz_may_say_of_which_blocks_its_vectors_are(tmp_path):
    vectors = written(tmp_path / "v.npz", lambda path: np.savez(path, vectors=MATRIX, blocks=np.array([1, 1])))
    assert vectors.matrix.tolist() == MATRIX.tolist()
    assert vectors.blocks == (1, 1)
    assert written(tmp_path / "w.npz", NAMELESS["bare.npz"]).blocks == ()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", NAMELESS)
def test_without_names_the_rows_keep_their_order(tmp_path, name):
    vectors = written(tmp_path / name, NAMELESS[name])
    assert vectors.names is None
    assert vectors.matrix.tolist() == MATRIX.tolist()


def test_a_bare_matrix_is_mapped_and_not_read(tmp_path):
    assert isinstance(written(tmp_path / "bare.npy", NAMELESS["bare.npy"]).matrix, np.memmap)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('code in a file of vectors was run')",))


BAD = {
    "bomb.npy": (lambda path: np.save(path, np.array([Bomb()]), allow_pickle=True), "without pickled code"),
    "bomb.npz": (lambda path: np.savez(path, v=np.array([Bomb()])), "without pickled code"),
    "bomb.pth": (lambda path: path.write_bytes(pickle.dumps({"a.png": Bomb()})), "without pickled code"),
    "text.npy": (lambda path: path.write_text("no numbers"), "cannot be read as .npy"),
    "text.safetensors": (lambda path: path.write_text("no numbers"), "cannot be read as .safetensors"),
    "text.parquet": (lambda path: path.write_text("no numbers"), "cannot be read as .parquet"),
    "vectors.csv": (lambda path: path.write_text("a,1"), "must end in .npy, .npz, .pth, .safetensors, .parquet"),
    "folder.npy": (lambda path: path.mkdir(), "does not exist"),
    "flat.npy": (lambda path: np.save(path, MATRIX[0]), r"float32 of shape \(2,\)"),
    "empty.npy": (lambda path: np.save(path, MATRIX[:0]), r"shape \(0, 2\)"),
    "words.npy": (lambda path: np.save(path, np.array([["a"]])), "instead of real numbers"),
    "complex.npy": (lambda path: np.save(path, MATRIX.astype(complex)), "instead of real numbers"),
    "short.npz": (lambda path: np.savez(path, v=MATRIX, filename=np.array(NAMES[:2])), "2 names but 3 vectors"),
    "numbered.npz": (lambda path: np.savez(path, v=MATRIX, filename=np.arange(3)), "names that are not strings"),
    "two.npz": (lambda path: np.savez(path, v=MATRIX, w=MATRIX), "must hold one matrix"),
    "blocks.npz": (lambda path: np.savez(path, v=MATRIX, blocks=np.array([1, 2])), "blocks of 1, 2 numbers"),
    "halves.npz": (lambda path: np.savez(path, v=MATRIX, blocks=np.array([0.5])), "'blocks' as whole numbers"),
    "ragged.npz": (lambda path: np.savez(path, a=np.ones(2), b=np.ones(3)), "vectors of one length"),
    "number.pth": (lambda path: torch.save({"a.png": 3}, path), "contains int instead of a tensor"),
    "ragged.parquet": (lambda path: pq.write_table(pa.table({"v": [[1.0], [1.0, 2.0]]}), path), "one length"),
    "two.parquet": (lambda path: pq.write_table(lists(more=[["a"]] * 3), path), "one column of lists"),
    "text_only.parquet": (lambda path: pq.write_table(pa.table({"filename": NAMES}), path), "one column of lists"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_invalid_file_is_refused_with_a_reason_and_runs_no_code(tmp_path, name):
    write, sentence = BAD[name]
    with pytest.raises(VectorFileError, match=sentence) as told:
        written(tmp_path / name, write)
    assert "\n" not in str(told.value)


def sparse_npz(path: Path) -> None:
    """A few hundred bytes whose header promises 80 GB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("v.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (10**7, 1_000)})


def packed_pth(path: Path) -> None:
    torch.save(torch.zeros(1_000, 1_000), path)
    with (
        zipfile.ZipFile(path) as stored,
        zipfile.ZipFile(path.with_suffix(".part"), "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in stored.infolist():
            packed.writestr(member.filename, stored.read(member))
    path.with_suffix(".part").replace(path)


LARGE = {
    "zeros.npz": lambda path: np.savez_compressed(path, v=np.zeros((1_000, 1_000), np.float32)),
    "sparse.npz": sparse_npz,
    "names.npz": lambda path: np.savez_compressed(path, v=MATRIX, filename=np.array(["a" * 1_000_000] * 3)),
    "packed.pth": packed_pth,
    "shown.pth": lambda path: torch.save(torch.zeros(1).bfloat16().expand(1_000_000, 1_000), path),
    "large.safetensors": lambda path: save_file({"v": np.zeros((1_000, 1_000), np.float32)}, path),
    "same.parquet": lambda path: pq.write_table(pa.table({"x": np.zeros(10_000_000, np.float32)}), path),
    "lists.parquet": lambda path: pq.write_table(pa.table({"v": [[0.0] * 1_000] * 1_000}), path),
    "names.parquet": lambda path: pq.write_table(pa.table({"filename": ["a" * 900_000] * 20, "x": np.zeros(20)}), path),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_file_that_needs_too_much_memory_is_refused_before_it_is_read(tmp_path: Path, name: str) -> None:
    LARGE[name](tmp_path / name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(VectorFileError, match="MB of memory, more than this project's limit of 1 MB: save only"):
        read_vectors(tmp_path / name, MOST)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


def test_a_vector_has_a_maximum_length(tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.zeros((1, 70_000), np.float32))
    with pytest.raises(VectorFileError, match="vectors of 70,000 numbers, more than the limit of 65,536"):
        read_vectors(tmp_path / "wide.npy", MOST)
