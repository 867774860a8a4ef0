"""Exports read by the tools that people read them with, and what those tools write read by us."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pycocotools.coco import COCO

from labeler.transfer.files import parquet
from labeler.transfer.files.whole_files import LARGEST_JSON
from labeler.transfer.formats.parquet import read
from labeler.transfer.rows.imported import Chosen
from labeler.transfer.sources import open_source
from shared.settings.services import SettingsError
from shared.wire.imports import ImportRow
from tests.labeler.projects import answer, labeler, photo

NAMES = ["a b.png", "sub/ü.png", "c;d.png", "e,f.png", "写真.png", "007.png"]
LABELS = ['dog, "big"', "Größe", "7", "Größe", "NA", "7"]


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project's labels in every format, unpacked where it is a zip."""
    tmp = tmp_path_factory.mktemp("project")
    for shade, name in enumerate(NAMES):
        photo(tmp / "photos" / name, shade)
    with labeler(tmp, classes=sorted(set(LABELS))) as service:
        ids = {entry.uri: entry.id for entry in service.catalog.entries(0, 10)}
        service.annotate([answer(ids[name], label) for name, label in zip(NAMES, LABELS, strict=True)])
        for name, suffix in {"csv": "csv", "jsonl": "jsonl", "parquet": "parquet", "coco": "json"}.items():
            (tmp / f"{name}.{suffix}").write_bytes(b"".join(service.exports.begin(name)[0]))
        for name in ("imagefolder", "datasets"):
            with zipfile.ZipFile(io.BytesIO(b"".join(service.exports.begin(name)[0]))) as archive:
                archive.extractall(tmp / name)
    return tmp


def said(table: pd.DataFrame) -> dict[str, str]:
    return dict(zip(table["uri"], table["label"], strict=True))


def taken(path: Path, columns: dict[str, str] | None = None) -> dict[str, str | None]:
    rows = list(open_source(path, Chosen.of(columns) if columns else None).rows())
    assert all(isinstance(row, ImportRow) for row in rows)
    return {row.uri: row.label for row in rows}


TRUTH = dict(zip(NAMES, LABELS, strict=True))


def test_pandas_reads_tables_as_they_are_meant(exports: Path) -> None:
    assert said(pd.read_csv(exports / "csv.csv", dtype=str, keep_default_na=False)) == TRUTH
    assert said(pd.read_json(exports / "jsonl.jsonl", lines=True, dtype=False)) == TRUTH
    assert said(pd.read_parquet(exports / "parquet.parquet")) == TRUTH
    assert said(pq.read_table(exports / "parquet.parquet").to_pandas()) == TRUTH


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("plain.csv", {}),
        ("excel.csv", {"sep": ";", "decimal": ",", "encoding": "utf-8-sig"}),
        ("tabs.csv", {"sep": "\t", "encoding": "utf-16"}),
        ("tabs.tsv", {"sep": "\t"}),
        ("numbered.csv", {"index": True}),
        ("quoted.csv", {"quoting": 1, "sep": "|"}),
    ],
)
def test_tables_that_pandas_writes(tmp_path: Path, name: str, how: dict[str, Any]) -> None:
    table = pd.DataFrame({"filename": NAMES, "label": LABELS, "score": [0.5] * len(NAMES)})
    table.to_csv(tmp_path / name, **({"index": False} | how))
    rows = [row for row in open_source(tmp_path / name).rows() if isinstance(row, ImportRow)]
    assert {row.uri: row.label for row in rows} == TRUTH
    assert {row.confidence for row in rows} == {0.5}


def test_json_lines_and_parquet_that_pandas_writes(tmp_path: Path) -> None:
    table = pd.DataFrame({"foto": NAMES, "art": pd.Categorical(LABELS), "score": 0.5, "split": None})
    table.to_json(tmp_path / "labels.jsonl", orient="records", lines=True)
    table.to_parquet(tmp_path / "labels.parquet")
    for name in ("labels.jsonl", "labels.parquet"):
        assert taken(tmp_path / name, {"image": "foto", "label": "art"}) == TRUTH


def test_pycocotools_reads_our_coco_and_we_read_it_again(exports: Path, tmp_path: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(exports / "coco.json"))
    found = {
        image["file_name"]: coco.loadCats(annotation["category_id"])[0]["name"]
        for image in coco.loadImgs(coco.getImgIds())
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
    }
    assert found == TRUTH
    (tmp_path / "again.json").write_text(json.dumps(coco.dataset))
    assert taken(tmp_path / "again.json") == TRUTH


def test_torchvision_reads_the_folder_of_classes(exports: Path) -> None:
    folder = pytest.importorskip("torchvision.datasets").ImageFolder(exports / "imagefolder" / "train")
    found = {Path(file).name.partition("-")[2]: folder.classes[label] for file, label in folder.samples}
    assert found == {
        name.rpartition("/")[2]: label.replace('"', "%22")
        for name, label in TRUTH.items()  # as no folder has it
    }


def test_datasets_reads_its_folder(exports: Path, tmp_path: Path) -> None:
    load = pytest.importorskip("datasets").load_dataset
    rows = load("imagefolder", data_dir=str(exports / "datasets"), cache_dir=str(tmp_path))["train"]
    assert dict(zip(rows["original"], rows["label"], strict=True)) == TRUTH


def test_a_text_that_every_row_of_a_parquet_repeats_is_refused(tmp_path: Path) -> None:
    count = 500
    long = pa.array(["a" * 300_000]).dictionary_encode().take(pa.array([0] * count))  # in memory once, as in the file
    table = pa.table({"uri": [f"{number}.png" for number in range(count)], "label": long})
    pq.write_table(table.replace_schema_metadata(), tmp_path / "labels.parquet", store_schema=False)
    assert (tmp_path / "labels.parquet").stat().st_size < 200_000
    with pytest.raises(
        SettingsError, match="300,000 bytes in one cell of its column label, but the limit is 64,000: remove"
    ):
        list(read(tmp_path / "labels.parquet"))
    assert [line for line, _ in parquet.records(tmp_path / "labels.parquet")][-1] == count


@pytest.mark.parametrize("begin", ['{"images": []', '{"samples": []'])
def test_a_json_file_that_would_fill_the_memory_is_refused(begin: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(begin)
    with path.open("ab") as stream:
        stream.truncate(LARGEST_JSON + 1)  # it takes no room on the disk
    with pytest.raises(SettingsError, match="the limit is 536,870,912: split it"):
        list(open_source(path).rows())
