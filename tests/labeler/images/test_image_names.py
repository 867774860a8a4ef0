"""Table names that differ from file names: every import applies and reports the same rule."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from labeler.service import Service
from labeler.transfer.sources import open_source
from labeler.web.api import create_api
from shared.importing import Outcome, take_rows
from tests.labeler.projects import labeler, photo

NAMES = {
    "café/été.png": unicodedata.normalize("NFD", "café/été.png"),
    "sub\\p.png": "sub/p.png",
    " lead.png": "lead.png",
    "with%20space.png": "with space.png",
    "C:\\old\\photos\\deep\\er.png": "deep/er.png",
    "ID_17": "ID_17.png",
}


def bring(service: Service, path: Path, **more: Any) -> Outcome:
    source = open_source(path)
    return take_rows(source.rows(), source.folder, service.imports.take, **more)


def labels(service: Service) -> dict[str, str | None]:
    uris = {entry.id: entry.uri for entry in service.catalog.entries(0, 1_000)}
    return {uris[image]: service.classes.name(label) for image, label in service.log.fold.labels.items()}


def given(tmp_path: Path, name: str) -> Path:
    """The names in a file of labels that lies beside no image, in one of the formats."""
    path = tmp_path / "labels" / name
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".csv":
        path.write_text("filename,label\n" + "".join(f"{each},cat\n" for each in NAMES), encoding="utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"uri": each, "label": "cat"}) + "\n" for each in NAMES), encoding="utf-8")
    elif path.suffix == ".xml":
        tags = "".join(f'<image id="1" name="{each}"><tag label="cat"/></image>' for each in NAMES)
        path.write_text(f"<annotations>{tags}</annotations>", encoding="utf-8")
    else:
        images = [{"id": at, "file_name": each} for at, each in enumerate(NAMES)]
        said = [{"image_id": at, "category_id": 1} for at in range(len(NAMES))]
        path.write_text(json.dumps({"images": images, "annotations": said, "categories": [{"id": 1, "name": "cat"}]}))
    return path


@pytest.mark.parametrize("name", ["labels.csv", "labels.jsonl", "labels.xml", "coco.json"])
def test_the_image_is_found_in_every_format_and_it_is_told(tmp_path: Path, name: str) -> None:
    for shade, file in enumerate(NAMES.values()):
        photo(tmp_path / "photos" / file, shade)
    path = given(tmp_path, name)
    with labeler(tmp_path) as service:
        looked = bring(service, path, dry_run=True)
        assert (looked.counts["labels"], looked.counts["rejected"], looked.counts["images"]) == (6, 0, 0)
        done = bring(service, path)
        assert done.names == looked.names
        assert done.matched == {
            "Unicode form": 1,
            "separators": 1,
            "white space": 1,
            "URL encoding": 1,
            "leading folders": 1,
            "endings": 1,
        }
        assert "1 name matched by ignoring separators: sub\\p.png is sub/p.png" in done.names
        assert labels(service) == dict.fromkeys(NAMES.values(), "cat")
        assert bring(service, path).counts["known"] == 6


def test_label_studio_addresses(tmp_path: Path) -> None:
    for shade, file in enumerate(["sub/p.png", "cat+dog.png", "one two.png", "a#b&c.png", "100%25.png"]):
        photo(tmp_path / "photos" / file, shade)
    addresses = ["sub%5Cp.png", "cat+dog.png", "one+two.png", "a%23b%26c.png", "100%2525.png"]
    tasks = [{"image": f"/data/local-files/?d={each}", "choice": "cat"} for each in addresses]
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps(tasks))
    with labeler(tmp_path) as service:
        done = bring(service, path)
        assert (done.counts["labels"], done.counts["rejected"]) == (5, 0)
        assert done.matched_as == {
            "separators": ("sub\\p.png", "sub/p.png"),
            "URL encoding": ("one+two.png", "one two.png"),
        }


def test_a_name_that_may_be_several_images_is_rejected_with_them(tmp_path: Path) -> None:
    for shade, file in enumerate(["cat/1.png", "dog/1.png", "train/2.png", "only.png"]):
        photo(tmp_path / "photos" / file, shade)
    photo(tmp_path / "photos" / "copies" / "only.png", 3)  # one image, though two files
    path = tmp_path / "labels.csv"
    path.write_text("filename,label\n1.png,cat\ntest/2.png,dog\nONLY.PNG,cat\nonly,dog\n")
    with labeler(tmp_path) as service:
        done = bring(service, path, dry_run=True)
        assert [(each.line, each.reason) for each in done.issues["rejected"]] == [
            (2, "may mean cat/1.png, dog/1.png: give the exact path of the file"),
            (3, "does not exist"),
        ]
        assert done.matched == {"capital letters": 1, "endings": 1}


def test_another_file_of_this_machine_is_not_the_image_of_its_name(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "cat" / "1.png", 1)
    photo(tmp_path / "others" / "cat" / "1.png", 2)
    path = tmp_path / "others" / "labels.csv"
    path.write_text("filename,label\ncat/1.png,cat\n")
    with labeler(tmp_path) as service:
        (issue,) = bring(service, path).issues["rejected"]
        assert "is outside" in issue.reason
        path.unlink()
        (tmp_path / "others" / "cat" / "1.png").unlink()  # now it is the name alone
        table = tmp_path / "labels.csv"
        table.write_text(f"filename,label\n{tmp_path}/others/cat/1.png,cat\n")
        assert bring(service, table).matched == {"leading folders": 1}


def test_files_that_come_later_are_found_too(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "a b.png", 1)
    path = tmp_path / "labels.csv"
    path.write_text("filename,label\na%20b.png,cat\nc%20d.png,cat\n")
    with labeler(tmp_path) as service:
        assert bring(service, path).counts["rejected"] == 1
        photo(tmp_path / "photos" / "c d.png", 2)
        service.arrivals.add_uris(["c d.png"])
        again = bring(service, path)
        assert (again.counts["rejected"], again.counts["labels"], again.counts["known"]) == (0, 1, 1)


def test_names_over_http_and_in_a_search(tmp_path: Path) -> None:
    files = [unicodedata.normalize("NFD", "café/é.png"), "cat/1.png", "dog/1.png", "b.webp.png"]
    for shade, file in enumerate(files):
        photo(tmp_path / "photos" / file, shade)
    with labeler(tmp_path) as service, TestClient(create_api(service)) as http:
        ids = {entry.uri: entry.id for entry in service.catalog.entries(0, 10)}
        names = ["café/é.png", "cat\\1.png", "1.png", "none.png", "dog/1.png"]
        told = http.post("/images/named", json={"names": names}).json()
        assert told["images"] == {names[0]: ids[files[0]], names[1]: ids["cat/1.png"], names[4]: ids["dog/1.png"]}
        assert told["unclear"] == {
            "1.png": "may mean cat/1.png, dog/1.png: give the exact path of the file",
            "none.png": "matches no image here",
        }
        assert told["matched"] == {"Unicode form": 1, "separators": 1}
        for text in ("café", unicodedata.normalize("NFD", "café"), "CAFé", "café\\é"):
            assert service.catalog.files.search(text) == [ids[files[0]]]


def test_a_table_of_test_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for shade, file in enumerate([unicodedata.normalize("NFD", "é.png"), "s/p.png", "t/q.png", "u/q.png", "r.png"]):
        photo(tmp_path / "photos" / file, shade)
    (tmp_path / "truth.csv").write_text("image_id;class\né.png;cat\ns\\p.png;dog\nq.png;cat\nr;dog\n", encoding="utf-8")
    with labeler(tmp_path, test_set=str(tmp_path / "truth.csv")) as service:
        assert labels(service) == {unicodedata.normalize("NFD", "é.png"): "cat", "s/p.png": "dog", "r.png": "dog"}
        assert {entry.uri for entry in service.catalog.entries(0, 10) if entry.split == "test"} == set(labels(service))
    assert "1 name matched by ignoring separators: s\\p.png is s/p.png" in caplog.text
    assert "q.png may mean t/q.png, u/q.png" in caplog.text


def test_a_file_is_taken_by_another_spelling_of_its_name(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "first.png", 1)
    with labeler(tmp_path) as service:
        for shade, file in enumerate([unicodedata.normalize("NFD", "é.png"), "s/p.png", "a b.png"], 2):
            photo(tmp_path / "photos" / file, shade)
        assert service.arrivals.add_uris(["é.png", "s\\p.png", "a%20b.png", "none.png"]).added == 3


def test_names_beside_a_table_that_lies_elsewhere_in_the_image_folder(tmp_path: Path) -> None:
    for at, folder in enumerate(["one", "two"]):
        photo(tmp_path / "photos" / folder / unicodedata.normalize("NFD", "é.png"), at)
        photo(tmp_path / "photos" / folder / "a b.png", at + 2)
    path = tmp_path / "photos" / "one" / "labels.csv"
    path.write_text("filename,label\né.png,cat\na%20b.png,dog\n", encoding="utf-8")
    with labeler(tmp_path) as service:
        done = bring(service, path)
        assert done.matched == {"Unicode form": 1, "URL encoding": 1}
        assert labels(service) == {f"one/{unicodedata.normalize('NFD', 'é.png')}": "cat", "one/a b.png": "dog"}
