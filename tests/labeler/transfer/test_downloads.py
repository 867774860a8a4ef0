"""Downloads: their size beforehand, their progress, and files passed through from the trainer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.testclient import TestClient

from labeler.errors import Invalid
from labeler.service import Service
from labeler.transfer.downloads import Downloads
from labeler.transfer.rows.exported import Wanted
from labeler.web.api import create_api
from tests.labeler.followers import Follower, following
from tests.labeler.projects import answer, labeler, photos


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Eight images with labels of two people, a skip, a flag, one settled, one of a class that is gone."""
    photos(tmp_path / "photos", 8)
    with labeler(tmp_path, overlap=2, validation_set_frac=0.4) as service:
        bird = service.classes.add("bird", "ann")
        answers = [answer(1, annotator="ann"), answer(2, "dog", annotator="ann"), answer(2, "cat", annotator="bob")]
        answers += [answer(3, None, action="skip", annotator="ann"), answer(4, None, action="flag", annotator="bob")]
        answers += [answer(5, bird.id, annotator="ann")]
        service.annotate(answers)
        service.classes.delete(bird.id, "ann")
        yield service


def test_as_many_images_are_told_as_are_exported(service: Service) -> None:
    splits, statuses = (None, "train", "validation", "test"), (None, "labeled", "unlabeled", "skipped", "flagged")
    for split, label, who, status in product(splits, (None, "cat", "DOG"), (None, "ann", "bob"), statuses):
        wanted = Wanted(split=split, label=label, annotator=who, status=status)
        stream, _ = service.exports.begin("jsonl", wanted=wanted)
        rows = [json.loads(line) for line in b"".join(stream).splitlines()]
        counted = service.exports.count(wanted)
        assert (counted.images, counted.labeled) == (len(rows), sum(row["label"] is not None for row in rows)), wanted


def test_an_unknown_class_is_reported(service: Service) -> None:
    with pytest.raises(Invalid, match="There is no class 'bear'"):
        service.exports.count(Wanted(label="bear"))


def test_how_far_an_export_is(service: Service) -> None:
    client = TestClient(create_api(service))
    assert client.get("/export/count", params={"label": "cat"}).json() == {"images": 1, "labeled": 1}
    stream, _ = service.exports.begin("csv")
    next(stream)
    (now,) = service.downloads.list()
    assert (now.name, now.state, now.unit, now.total) == ("flywheel-labels.csv", "writing", "image", 8)
    b"".join(stream)
    (now,) = client.get("/downloads").json()["downloads"]
    assert (now["state"], now["done"]) == ("done", 8)


def test_a_broken_download_is_reported() -> None:
    downloads = Downloads()

    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("the disk is gone")

    with pytest.raises(ValueError, match="gone"):
        list(downloads.counted(failing(), downloads.begin("a", "image", 2)))
    left = downloads.counted(iter([b"12", b"3"]), downloads.begin("b", "byte", 3))
    assert isinstance(left, Iterator)
    assert [next(left), next(left)] == [b"12", b"3"]
    assert [(each.name, each.state, each.done) for each in downloads.list()] == [
        ("b", "writing", 2),
        ("a", "failed", 1),
    ]
    del left  # whoever read it went away
    assert downloads.list()[0].state == "failed"
    for number in range(50):
        downloads.begin(str(number), "byte")
    assert len(downloads.list()) < 30


def test_models_pass_through(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    data = bytes(range(256)) * 5_000
    (tmp_path / "model.onnx").write_bytes(data)

    def exported(version: str, format: str) -> Response:
        if format == "fastai":
            return JSONResponse({"detail": f"{version} is no fastai Learner."}, 422)
        return FileResponse(tmp_path / "model.onnx", filename=f"{version}.{format}")

    with following() as (follower, url):
        assert isinstance(follower, Follower)
        follower.api.get("/models/{version}/export")(exported)
        with labeler(tmp_path, trainer_url=url) as service:
            client = TestClient(create_api(service))
            assert client.post("/models/v1/export?format=onnx").json() == {"name": "v1.onnx", "bytes": len(data)}
            answered = client.get("/models/v1/export?format=onnx")
            assert answered.content == data
            assert answered.headers["content-disposition"] == 'attachment; filename="v1.onnx"'
            assert answered.headers["content-length"] == str(len(data))
            refused = client.post("/models/v1/export?format=fastai")
            assert (refused.status_code, refused.json()["detail"]) == (422, "v1 is no fastai Learner.")
            assert client.get("/models/v1/export?format=fastai").status_code == 422
            told = [(each.state, each.done, each.error) for each in service.downloads.list()]
            assert told == [("failed", 0, "v1 is no fastai Learner."), ("done", len(data), None), ("done", 0, None)]
    with labeler(tmp_path) as service:
        assert TestClient(create_api(service)).get("/models/v1/export").status_code == 503
