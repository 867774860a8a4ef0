"""Label files given on a page: checked, imported, removed."""

from io import BytesIO
from pathlib import Path
from time import monotonic, sleep
from zipfile import ZipFile

import pytest
from starlette.testclient import TestClient

from labeler.errors import Conflict, Invalid, Missing
from labeler.service import Service
from labeler.web.api import create_api
from shared.wire.imports import BUSY, LabelFile
from tests.labeler.projects import labeler, photo, photos


def settled(service: Service, file_id: str) -> LabelFile:
    deadline = monotonic() + 60
    while (view := service.label_files.get(file_id)).state in BUSY and monotonic() < deadline:
        sleep(0.01)
    return view


def given(service: Service, name: str, text: str) -> LabelFile:
    return settled(service, service.label_files.add(name, BytesIO(text.encode())).id)


def test_a_file_is_looked_at_and_then_imported(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path) as service:
        end = service.log.last_seq
        text = "filename,label\n0000.png,cat\n0001.png,bird\nnone.png,cat\n"
        looked = given(service, "labels.csv", text)
        assert (looked.state, looked.rows, looked.labels, looked.rejected) == ("looked", 3, 2, 1)
        assert looked.new_classes == {"bird": 1}
        assert [each.line for each in looked.issues] == [4]
        assert service.log.last_seq == end
        service.label_files.take(looked.id, add_classes=True)
        done = settled(service, looked.id)
        assert (done.state, done.labels, service.tally.counts().labeled) == ("imported", 2, 2)
        assert [each.name for each in service.classes.entries()] == ["cat", "dog", "bird"]
        with pytest.raises(Conflict):
            service.label_files.take(looked.id, add_classes=True)
        again = given(service, "labels.csv", text)
        assert (again.labels, again.known) == (0, 2)


def test_a_new_class_that_may_be_a_misspelled_one_is_said_to_be(tmp_path: Path) -> None:
    with labeler(tmp_path, images=str(photos(tmp_path / "photos", 3)), classes=["shirt", "dress"]) as service:
        view = given(service, "labels.csv", "filename,label\n0000.png,drss\n0001.png,kettle\n0002.png,shirt\n")
        assert view.new_classes == {"drss": 1, "kettle": 1}
        assert view.misspelled == {"drss": ["dress"]}


def test_new_classes_may_be_left_out(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        looked = given(service, "labels.csv", "filename,label\n0000.png,cat\n0001.png,bird\n")
        service.label_files.take(looked.id, add_classes=False)
        done = settled(service, looked.id)
        assert (done.labels, done.rejected, len(service.classes.entries())) == (1, 1, 2)


def test_names_are_relative_to_the_folder_that_the_file_was_uploaded_in(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    data = [photo(tmp_path / f"{shade}.png", shade).read_bytes() for shade in (500, 501)]
    with labeler(tmp_path) as service:
        service.arrivals.add_uploads(zip(("trip/a.png", "party/a.png"), data, strict=True))
        looked = given(service, "trip/labels.csv", "filename,label\na.png,dog\n")
        assert (looked.labels, looked.rejected) == (1, 0)
        service.label_files.take(looked.id, add_classes=True)
        settled(service, looked.id)
        names = {each.id: each.uri for each in service.catalog.entries(0, 10)}
        assert [names[image] for image in service.log.fold.labels] == ["trip/a.png"]


def test_folders_of_uploads_are_classes(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    names = ["mine/cat/1.png", "mine/cat/2.png", "mine/dog/3.png"]
    with labeler(tmp_path) as service:
        uploads = [(name, photo(tmp_path / "x.png", 600 + n).read_bytes()) for n, name in enumerate(names)]
        service.arrivals.add_uploads(uploads)
        looked = settled(service, service.label_files.add_folder("mine").id)
        assert (looked.state, looked.labels, looked.rejected) == ("looked", 3, 0)
        assert (looked.folder, looked.told) == (True, [])
        every = service.label_files.add_folder("").id
        assert "Everything is in the folder mine" in settled(service, every).told[0]
        service.label_files.look_again(every, "class")
        assert settled(service, every).new_classes == {"mine": 3}
        service.label_files.look_again(every, "classes")
        assert "A layout is one of class" in (settled(service, every).error or "")
        for outside in ("..", "none", "/etc"):
            with pytest.raises(Invalid):
                service.label_files.add_folder(outside)


def test_a_file_without_labels_says_what_is_missing(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        for name, text, said in [
            ("notes.txt", "hello", "notes.txt is neither a folder nor a file that labels can be read from"),
            ("labels.csv", "filename,label\n", "labels.csv has no label"),
            ("labels.json", "{", "labels.json"),
            ("labels.parquet", "no parquet", "labels.parquet"),
        ]:
            view = given(service, name, text)
            assert view.state == "failed", name
            assert said in (view.error or "")
            assert str(tmp_path) not in (view.error or "")


def test_a_dropped_file_is_gone_and_only_the_last_are_remembered(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        first = given(service, "labels.csv", "filename,label\n0000.png,cat\n")
        service.label_files.drop(first.id)
        assert service.label_files.list() == []
        with pytest.raises(Missing):
            service.label_files.get(first.id)
        for _ in range(22):
            given(service, "labels.csv", "filename,label\n0000.png,cat\n")
        assert len(service.label_files.list()) == 20
        assert len(list((tmp_path / "workspace" / "label-files").iterdir())) == 20


def test_the_routes(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        client = TestClient(create_api(service))
        posted = client.post("/label-files", files={"file": ("labels.csv", b"filename,label\n0000.png,cat\n")})
        assert posted.status_code == 202
        file_id = posted.json()["id"]
        settled(service, file_id)
        assert client.get(f"/label-files/{file_id}").json()["labels"] == 1
        assert client.post(f"/label-files/{file_id}/import", json={}).status_code == 202
        assert settled(service, file_id).state == "imported"
        assert client.delete(f"/label-files/{file_id}").status_code == 204
        assert client.get("/label-files").json() == {"files": []}
        assert client.get(f"/label-files/{file_id}").status_code == 404
        for post in ({"json": {"folder": "none"}}, {"json": {"folder": 3}}, {"files": {"other": b""}}):
            assert client.post("/label-files", **post).status_code == 422


def test_the_columns_of_a_table_are_named_where_nothing_tells_them(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    text = "foto;art;score\n0000.png;cat;0,9\n0001.png;dog;high\n"
    with labeler(tmp_path) as service, TestClient(create_api(service)) as http:
        failed = given(service, "labels.csv", text)
        assert failed.state == "failed"
        assert "labels.csv does not say which columns are image and label" in (failed.error or "")
        named = http.post(f"/label-files/{failed.id}/columns", json={"columns": "image=foto,label=art"})
        assert named.status_code == 202
        looked = settled(service, failed.id)
        assert (looked.state, looked.labels, looked.cells, looked.rejected) == ("looked", 2, 1, 0)
        assert "separator semicolon, encoding utf-8, image from 'foto', label from 'art'" in looked.told[0]
        assert [(each.line, each.reason.split(":")[0]) for each in looked.issues] == [
            (3, "has a confidence that cannot be read")
        ]
        sent = http.post("/label-files", files={"file": ("x.csv", text)}, data={"columns": "image=foto,label=art"})
        assert settled(service, sent.json()["id"]).labels == 2
        assert http.post(f"/label-files/{failed.id}/columns", json={"columns": "picture=foto"}).status_code == 422
        service.label_files.take(failed.id, add_classes=False)
        assert settled(service, failed.id).told == looked.told
        with pytest.raises(Conflict):
            service.label_files.look_again(failed.id, "")


def zipped(files: dict[str, str | bytes]) -> BytesIO:
    stream = BytesIO()
    with ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    stream.seek(0)
    return stream


def test_a_zip_of_yolo_brings_photos_and_boxes(tmp_path: Path) -> None:
    data = [photo(tmp_path / f"{shade}.png", shade).read_bytes() for shade in (500, 501)]
    files: dict[str, str | bytes] = {
        "birds/data.yaml": "names: [gull, tern]\ntrain: images/train\nval: images/train\n",
        "birds/images/train/a.png": data[0],
        "birds/images/train/b.png": data[1],
        "birds/labels/train/a.txt": "1 0.5 0.5 0.5 0.5\n",
        "birds/labels/train/b.txt": "",
        "__MACOSX/birds/._data.yaml": "nothing",
    }
    (tmp_path / "photos").mkdir()
    with labeler(tmp_path, task="detection", classes=["gull", "tern"]) as service:
        looked = settled(service, service.label_files.add("birds.zip", zipped(files)).id)
        assert (looked.state, looked.labels, looked.rejected) == ("looked", 2, 0), looked.error
        assert "2 photos in the zip were added" in looked.told
        assert service.tally.counts().labeled == 0
        service.label_files.take(looked.id, add_classes=False)
        assert settled(service, looked.id).labels == 2
        names = sorted(service.log.fold.text(label) or "" for label in service.log.fold.labels.values())
        assert "tern" in "".join(names)
        again = settled(service, service.label_files.add("birds.zip", zipped(files)).id)
        assert (again.labels, again.known) == (0, 2)
        service.label_files.drop(again.id)
        service.label_files.drop(looked.id)
        assert not list((tmp_path / "workspace" / "label-files").glob("*"))


def test_a_zip_of_annotations_alone_means_the_photos_that_are_here(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>6</xmax><ymax>6</ymax></bndbox>"
    about = "<annotation><filename>000{}.png</filename><object><name>gull</name>{}</object></annotation>"
    files: dict[str, str | bytes] = {f"Annotations/000{n}.xml": about.format(n, box) for n in range(2)}
    with labeler(tmp_path, task="detection", classes=["gull"]) as service:
        looked = settled(service, service.label_files.add("voc.zip", zipped(files)).id)
        assert (looked.state, looked.labels, looked.rejected) == ("looked", 2, 0), (looked.error, looked.issues)


@pytest.mark.parametrize("data", [b"no zip", b"PK\x03\x04 cut off"])
def test_a_damaged_zip_is_refused_with_a_sentence(tmp_path: Path, data: bytes) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        view = settled(service, service.label_files.add("labels.zip", BytesIO(data)).id)
        assert view.state == "failed"
        assert "labels.zip cannot be unpacked" in (view.error or "")


def test_no_name_in_a_zip_leads_out_of_its_folder(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        before = {path for path in tmp_path.rglob("*") if "workspace" not in path.parts}
        files: dict[str, str | bytes] = {"../../../escaped.csv": "a", "/etc/absolute.csv": "b", "C:\\x\\w.csv": "c"}
        assert settled(service, service.label_files.add("bad.zip", zipped(files)).id).state == "failed"
        assert {path for path in tmp_path.rglob("*") if "workspace" not in path.parts} == before
        assert not Path("/etc/absolute.csv").exists()
