import random
from pathlib import Path
from uuid import uuid4

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.images.opening import ImageProblem
from shared.images.sources import tables
from shared.images.sources.source import ImageAway
from tests.shared.images.sources.places import LIMITS, picture, source, uris, write_objects

PICTURES = [picture(number) for number in range(100)]


def write(path: Path, column: list[object], names: list[str | None] | None = None, **options: object) -> Path:
    table = pa.table({"image": column} | ({"file_name": names} if names is not None else {}))
    pq.write_table(table, path, **options)
    return path


def test_each_row_is_an_image_in_any_order(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", PICTURES, [f"d/{row}.png" for row in range(100)], row_group_size=40)
    table = source(path)
    found = uris(table)
    assert found == [f"d/{row}.png" for row in range(100)]
    for row in [*range(100), 99, 0, 50, 49, 85, 3]:
        assert table.read(found[row], LIMITS) == PICTURES[row]
    assert len({table.stamp(uri) for uri in found}) == 100
    assert source(path).stamp(found[7]) == table.stamp(found[7])
    assert table.stamp("d/100.png") == (0, 0)


def test_images_as_datasets_of_the_hub_store_them(tmp_path: Path) -> None:
    column = [{"bytes": data, "path": f"{row % 50}.png"} for row, data in enumerate(PICTURES)]
    table = source(write(tmp_path / "a.parquet", column))
    assert uris(table)[:2] == ["00000000.png", "00000001.png"]  # its paths name two rows each
    assert table.read("00000099.png", LIMITS) == PICTURES[99]
    missing = source(write(tmp_path / "b.parquet", [{"bytes": None, "path": "x.png"}, *column[:1]]))
    with pytest.raises(ImageProblem, match="has no bytes in its table"):
        missing.read("x.png", LIMITS)


def test_names_that_no_file_could_have_become_numbers(tmp_path: Path) -> None:
    for names in (["../a.png", "b.png"], ["a.png", None], ["a", "a"]):
        assert uris(source(write(tmp_path / "a.parquet", PICTURES[:2], names)))[1].startswith("00000001")


def test_a_table_that_changed_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", PICTURES[:3])
    table = source(path)
    before = [table.stamp(uri) for uri in uris(table)]
    write(path, PICTURES[3:8])
    assert table.stamp("00000000") not in before
    assert table.read("00000004", LIMITS) == PICTURES[7]


def test_a_value_that_many_rows_share_is_held_once(tmp_path: Path) -> None:
    large = bytes(2_000_000)
    table = source(write(tmp_path / "a.parquet", [large] * 200, row_group_size=200))  # stored once, in some bytes
    before, most = pa.total_allocated_bytes(), 0
    for uri in uris(table)[:150]:
        with pytest.raises(ImageProblem, match="max_image_bytes"):
            table.read(uri, LIMITS)
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 100_000_000
    named = source(write(tmp_path / "b.parquet", PICTURES[:50], ["n" * 2_000_000] * 50))
    assert uris(named)[0] == "00000000"


def test_a_row_group_that_its_store_did_not_give_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = [random.Random(row).randbytes(90_000) for row in range(60)]
    data = write(tmp_path / "a.parquet", noise, row_group_size=30).read_bytes()
    table = source(f"{write_objects(uuid4().hex, {'a.parquet': data})}/a.parquet")
    found = uris(table)
    assert table.read(found[0], LIMITS) == noise[0]
    with monkeypatch.context() as patch:
        patch.setattr(type(fsspec.filesystem("memory")), "cat_file", refuse)
        for _ in range(2):
            with pytest.raises(ImageAway):
                table.read(found[30], LIMITS)
    for row in (30, 59, 0):
        assert table.read(found[row], LIMITS) == noise[row]


def refuse(*_: object, **__: object) -> bytes:
    raise ConnectionError


def test_each_problem_of_a_table_has_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ImageProblem, match="has no column of images: name one of its columns"):
        uris(source(tmp_path / "a.parquet"))
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and nothing else PAR1")
    with pytest.raises(ImageProblem, match="is not a parquet file that can be read"):
        source(tmp_path / "b.parquet")
    monkeypatch.setattr(tables, "MOST_GROUP", 1_000)
    with pytest.raises(ImageProblem, match="row_group_size=100"):
        uris(source(write(tmp_path / "c.parquet", PICTURES)))
