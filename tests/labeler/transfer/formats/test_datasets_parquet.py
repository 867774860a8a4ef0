"""Parquet as Hugging Face `datasets` writes it: classes by number, pictures inside, several shards."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labeler.service import Service
from labeler.transfer.sources import open_source
from shared.importing import Outcome, take_rows
from shared.wire.imports import ImportIssue, ImportRow
from tests.labeler.projects import labeler, photo, photos
from tests.labeler.transfer.test_importing import labels
from tests.labeler.transfer.test_sources import rows

datasets = pytest.importorskip("datasets")
embed_table_storage = pytest.importorskip("datasets.table").embed_table_storage
NAMES = ["cat", "dog"]


def written(path: Path, images: list[Any], numbers: list[int | None], **more: Any) -> Path:
    """The parquet file that `datasets` itself writes of these images and classes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)}
    features = datasets.Features(kinds | dict.fromkeys(more, datasets.Value("int64")))
    datasets.Dataset.from_dict({"image": images, "label": numbers, **more}, features=features).to_parquet(path)
    return path


def bring(service: Service, path: Path, **choices: Any) -> Outcome:
    source = open_source(path)
    return take_rows(source.rows(), source.folder, service.imports.take, **choices)


def struct(path: Path, name: str | None = "") -> dict[str, Any]:
    return {"bytes": path.read_bytes(), "path": path.name if name == "" else name}


def test_pictures_in_the_file_are_those_of_the_project_by_content_or_by_path(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 4)
    other = photo(tmp_path / "other.png", 900)
    here = [tmp_path / "photos" / f"{n:04d}.png" for n in range(4)]
    images = [
        struct(here[0], "renamed-elsewhere.png"),
        struct(here[1], None),
        str(here[2]),
        struct(other, "0003.png"),
        struct(other, "/somewhere/other.png"),
        struct(other, None),
    ]
    table = written(tmp_path / "train.parquet", images, [0, 1, 1, 0, 1, 1])
    with labeler(tmp_path, watch=False) as service:
        looked = bring(service, table, dry_run=True)
        done = bring(service, table)
        assert (looked.counts, looked.issues) == (done.counts, done.issues)
        assert labels(service) == {"0000.png": "cat", "0001.png": "dog", "0002.png": "dog", "0003.png": "cat"}
        assert [issue.line for issue in done.issues["rejected"]] == [5, 6]
        said = str(done.issues["rejected"])
        assert "flywheel fetch FOLDER NEW" in said
        assert not {"\\x", "PNG", "bytes"} & set(said)
        assert "IHDR" not in said
        assert bring(service, table).counts["known"] == 4


def test_classes_are_named_by_the_schema_and_minus_one_is_none(tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{n}.png", n) for n in range(3)]
    table = written(tmp_path / "labels.parquet", [struct(path) for path in paths], [1, -1, 0])
    assert rows(table) == [("0.png", "dog"), ("2.png", "cat")]
    assert next(iter(pq.ParquetFile(table).schema_arrow.metadata)) == b"huggingface"
    again = pq.read_table(table)
    again = again.set_column(1, "label", pa.array([1, 7, None], pa.int64())).replace_schema_metadata(
        pq.read_schema(table).metadata
    )
    pq.write_table(again, tmp_path / "bad.parquet")
    found = list(open_source(tmp_path / "bad.parquet").rows())
    assert [(row.line, isinstance(row, ImportIssue)) for row in found] == [(1, False), (2, True)]


def test_the_image_and_the_class_are_found_whatever_their_columns_are_called(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png", 1)
    table = pq.read_table(written(tmp_path / "x.parquet", [struct(path)], [1]))
    features = table.schema.metadata[b"huggingface"].replace(b'"image"', b'"scan"').replace(b'"label"', b'"fine"')
    renamed = table.rename_columns(["scan", "fine"]).replace_schema_metadata({b"huggingface": features})
    pq.write_table(renamed, tmp_path / "renamed.parquet")
    assert rows(tmp_path / "renamed.parquet") == [("a.png", "dog")]


def test_shards_are_one_data_set_each_in_its_split(tmp_path: Path) -> None:
    paths = [photo(tmp_path / "photos" / f"{n}.png", n) for n in range(3)]
    data = tmp_path / "set" / "data"
    written(data / "train-00000-of-00002.parquet", [struct(paths[0])], [0])
    written(data / "train-00001-of-00002.parquet", [struct(paths[1], None)], [1])
    written(
        data / "test-00000-of-00001.parquet", [struct(paths[2]), struct(photo(tmp_path / "x.png", 99), None)], [1, 1]
    )
    source = open_source(tmp_path / "set")
    found = [(row.label, row.split) for row in source.rows() if isinstance(row, ImportRow)]
    assert (sorted(map(str, found)), source.total) == (
        ["('cat', 'train')", "('dog', 'test')", "('dog', 'test')", "('dog', 'train')"],
        4,
    )
    with labeler(tmp_path) as service:
        done = bring(service, tmp_path / "set")
        assert (done.counts["labels"], done.counts["rejected"]) == (3, 1)
        assert sorted(service.tally.splits.values()) == ["test", "train", "train"]


def test_a_column_of_plain_bytes_is_a_picture_and_one_without_any_is_named(tmp_path: Path) -> None:
    path = photo(tmp_path / "photos" / "a.png", 1)
    table = pa.table({"image": pa.array([path.read_bytes(), b"\xff\xfe"], pa.binary()), "label": ["cat", "dog"]})
    pq.write_table(table, tmp_path / "bytes.parquet")
    empty = pa.table({"image": [{"bytes": None, "path": None}, {"bytes": None, "path": "a.png"}], "label": ["cat"] * 2})
    pq.write_table(empty, tmp_path / "empty.parquet")
    with labeler(tmp_path) as service:
        done = bring(service, tmp_path / "bytes.parquet")
        assert (labels(service), done.counts["rejected"]) == ({"a.png": "cat"}, 1)
        done = bring(service, tmp_path / "empty.parquet")
        assert done.counts["known"] == 1
        (issue,) = done.issues["rejected"]
        assert issue.reason == "has an image object without bytes and path: give a path"


def test_datasets_and_pandas_read_what_flywheel_exports(tmp_path: Path) -> None:
    import pandas as pd

    photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        take_rows([ImportRow(line=1, uri="0000.png", label="cat")], tmp_path, service.imports.take)
        data = b"".join(service.exports.begin("parquet")[0])
    (tmp_path / "labels.parquet").write_bytes(data)
    frame = pd.read_parquet(io.BytesIO(data))
    loaded = datasets.Dataset.from_parquet(str(tmp_path / "labels.parquet"), cache_dir=str(tmp_path / "cache"))
    assert frame["label"].to_list()[:1] == ["cat"]
    assert list(loaded["label"]) == ["cat", None]
    loaded.to_csv(tmp_path / "again.csv")
    loaded.to_json(tmp_path / "again.jsonl")
    loaded.to_parquet(tmp_path / "again.parquet")
    frame.to_csv(tmp_path / "pandas.csv", index=False)
    for name in ("again.csv", "again.jsonl", "again.parquet", "pandas.csv"):
        assert rows(tmp_path / name) == [("0000.png", "cat")], name


def test_there_and_back_through_datasets(tmp_path: Path) -> None:
    """An exported zip is loaded by `datasets`, written as what it pushes to the Hub, and read where the photos are."""
    photos(tmp_path / "photos", 3)
    given = [ImportRow(line=n, uri=f"{n:04d}.png", label=name) for n, name in enumerate(("cat", "dog"))]
    with labeler(tmp_path) as service:
        take_rows(given, tmp_path, service.imports.take)
        before = labels(service)
        zipped = b"".join(service.exports.begin("datasets")[0])
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        archive.extractall(tmp_path / "zip")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "zip"), cache_dir=str(tmp_path / "cache"))
    assert list(loaded["train"]["label"]) == ["cat", "dog"]
    whole = loaded["train"].with_format("arrow").map(embed_table_storage, batched=True)
    whole.to_parquet(str(tmp_path / "train-00000-of-00001.parquet"))
    with labeler(tmp_path, workspace=tmp_path / "other") as service:
        done = bring(service, tmp_path / "train-00000-of-00001.parquet")
        assert done.issues["rejected"] == []
        assert (done.counts["labels"], labels(service)) == (2, before)
