from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image
from starlette.testclient import TestClient

from labeler.service import Service
from labeler.web.api import create_api
from tests.disks import no_more_files
from tests.labeler.projects import labeler, photo, photos
from tests.standing import api_of, refusals_by_route, refusals_by_schema

CONTRACT = {
    "/health": {"get"},
    "/metrics": {"get"},
    "/project": {"get"},
    "/project/guidelines": {"get", "patch"},
    "/classes": {"post"},
    "/classes/{class_id}": {"patch", "delete"},
    "/images": {"get", "post"},
    "/images/{image_id}/content": {"get"},
    "/images/{image_id}/thumbnail": {"get"},
    "/images/{image_id}/question": {"get"},
    "/queue": {"get"},
    "/annotations": {"get", "post"},
    "/undo": {"post"},
    "/people": {"get"},
    "/agreement": {"get"},
    "/disagreements": {"get"},
    "/queries": {"post"},
    "/evaluations": {"post"},
    "/progress": {"get"},
    "/history": {"get"},
    "/settings": {"get", "patch"},
    "/export": {"get"},
    "/snapshots": {"get", "post"},
    "/snapshots/{name}/diff": {"get"},
    "/snapshots/{name}/restore": {"post"},
    "/splits": {"post"},
    "/review": {"get"},
    "/review/accept": {"post"},
    "/oddities": {"get"},
    "/grid": {"get"},
    "/grid/images": {"get"},
    "/clusters": {"get"},
    "/map": {"get"},
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path) as service:
        yield service


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    with api_of(create_api, service) as api, TestClient(api) as client:
        yield client


def test_without_a_file_more_to_open_an_image_is_late_and_not_missing(service: Service) -> None:
    with TestClient(create_api(service), raise_server_exceptions=False) as client:
        image = client.get("/images").json()["images"][0]["id"]
        with no_more_files():
            answer = client.get(f"/images/{image}/content")
        assert answer.status_code == 503
        assert "too many files open" in answer.json()["detail"]
        assert client.get(f"/images/{image}/content").status_code == 200


def label(image_id: int, **values: Any) -> dict[str, Any]:
    return {"id": str(uuid4()), "image_id": image_id, "action": "label", "label": "cat", "annotator": "ann"} | values


def png(shade: int) -> bytes:
    data = BytesIO()
    Image.new("RGB", (9, 9), (shade, 1, 2)).save(data, "PNG")
    return data.getvalue()


def test_every_route_of_the_contract(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {path: set(paths.get(path, {})) & methods for path, methods in CONTRACT.items()} == CONTRACT


def test_a_route_knows_the_refusals_that_its_schema_names(service: Service) -> None:
    with api_of(create_api, service) as api:
        assert refusals_by_route(api) == refusals_by_schema(api)


def test_project(client: TestClient) -> None:
    project = client.get("/project").json()
    assert [entry["name"] for entry in project["classes"]] == ["cat", "dog"]
    assert project["images"] == {"total": 3, "labeled": 0, "skipped": 0, "flagged": 0, "unlabeled": 3}
    assert project["trainer"]["state"] == "absent"
    assert client.get("/health").json()["status"] == "ok"


def test_ask_answer_and_take_back(client: TestClient) -> None:
    page = client.get("/queue", params={"annotator": "ann", "session": "tab", "limit": 2}).json()
    first, second = page["items"]
    assert first["url"].startswith(f"/api/images/{first['image_id']}/thumbnail?size=1280&v=")
    receipt = client.post("/annotations", json={"annotations": [label(first["image_id"])]}).json()
    assert receipt == {"last_seq": 3, "accepted": 1, "duplicates": 0, "answered": [], "held": []}
    kept = client.get(f"/queue?annotator=ann&session=tab&limit=2&keep={second['image_id']}").json()["items"]
    assert kept[0]["image_id"] == second["image_id"]
    back = client.post("/undo", json={"id": str(uuid4()), "annotator": "ann", "session": "tab"}).json()
    assert back["image_id"] == first["image_id"]
    log = client.get("/annotations", params={"after": 2, "limit": 1}).json()
    assert (log["annotations"][0]["action"], log["last_seq"]) == ("label", 4)


def test_refusals_say_what_to_do(client: TestClient) -> None:
    bad = label(99)
    refused = client.post("/annotations", json={"annotations": [label(1), bad]})
    assert refused.status_code == 422
    assert refused.json()["invalid"] == [{"id": bad["id"], "reason": "there is no image 99"}]
    nothing = client.post("/undo", json={"id": str(uuid4()), "annotator": "bob"})
    assert (nothing.status_code, nothing.json()["detail"]) == (404, "There is no answer of 'bob' left to undo.")
    assert "annotator" in client.get("/queue").json()["detail"]
    assert "ids like 3,17,4" in client.get("/queue?annotator=a&keep=x").json()["detail"]
    assert client.get("/nowhere").json() == {"detail": "There is nothing at this address."}
    typo = client.post("/annotations", json={"annotations": [label(1, lable="x")]})
    assert "lable" in typo.json()["detail"]
    assert client.post("/annotations", content=b"{").status_code == 422


@pytest.mark.parametrize("number", [-1, 2**63, 2**70])
def test_numbers_that_nothing_can_hold_are_refused(client: TestClient, number: int) -> None:
    def post(path: str, **body: Any) -> Any:
        return client.post(path, json=body)

    named = {"id": str(uuid4()), "log_id": client.get("/project").json()["log_id"], "model_version": "m"}
    answers = [
        *(
            post("/annotations", annotations=[label(1) | {field: number}])
            for field in ("image_id", "label", "query_version", "as_of", "proposed")
        ),
        post("/queries", **named, strategy="margin", acked_seq=0, queries=[{"image_id": number}]),
        post("/queries", **named, strategy="margin", acked_seq=number, queries=[]),
        client.patch("/classes/1", json={"into": number}),
        *(client.get(f"/images/{number}/{part}") for part in ("content", "thumbnail", "similar")),
        *(client.get(f"/{part}?after={number}") for part in ("images", "annotations")),
    ]
    assert [answer.status_code for answer in answers] == [422] * len(answers)
    assert all(answer.json()["detail"] for answer in answers)
    assert client.get("/project").json()["last_seq"] == 2  # the classes


def test_classes(client: TestClient) -> None:
    bird = client.post("/classes", json={"name": "bird"})
    assert bird.status_code == 201
    assert client.post("/classes", json={"name": "bird"}).status_code == 409
    path = f"/classes/{bird.json()['id']}"
    assert client.patch(path, json={"name": "hen"}).json()["name"] == "hen"
    assert client.delete(path).status_code == 204
    assert client.delete(path).status_code == 404


def test_lists_of_the_trainer(client: TestClient, service: Service) -> None:
    push = {
        "id": str(uuid4()),
        "log_id": str(service.log.log_id),
        "model_version": "m1",
        "acked_seq": 2,
        "strategy": "margin",
        "queries": [{"image_id": 3, "score": 0.9, "reason": "new", "suggestions": [{"label": 2, "confidence": 0.6}]}],
    }
    assert client.post("/queries", json=push).json() == {"query_version": 1}
    item = client.get("/queue?annotator=ann").json()["items"][0]
    assert item["suggestions"] == [{"label": 2, "name": "dog", "confidence": 0.6, "chosen": None}]
    assert (item["image_id"], item["score"], item["reason"], item["query_version"]) == (3, 0.9, "new", 1)
    client.post("/annotations", json={"annotations": [label(3)]})
    assert client.post("/queries", json=push | {"id": str(uuid4()), "acked_seq": 3}).status_code == 200
    less = client.post("/queries", json=push | {"id": str(uuid4())})
    assert (less.status_code, less.json()["acked_seq"], less.json()["query_version"]) == (409, 3, 2)


def test_images_by_uri_and_by_upload(client: TestClient, service: Service, tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "late.png", 500)
    photo(tmp_path / "secret.png", 600)
    outside = ["../secret.png", str(tmp_path / "secret.png"), "http://example.org/a.png", "none.png"]
    receipt = client.post(
        "/images", json={"uris": ["late.png", str(tmp_path / "photos" / "0000.png"), *outside]}
    ).json()
    assert receipt["added"] == 1
    assert [each["uri"] for each in receipt["rejected"]] == outside
    files = [("images", ("a.png", png(1))), ("images", ("b.png", png(1))), ("images", ("c.txt", b"no"))]
    receipt = client.post("/images", files=files).json()
    assert (receipt["added"], receipt["duplicates"], [each["uri"] for each in receipt["rejected"]]) == (1, 1, ["c.txt"])
    images = client.get("/images").json()["images"]
    assert client.get(f"/images/{images[-1]['id']}/content").content == png(1)
    assert client.post("/images", json={"uri": []}).status_code == 422


def test_bytes_of_an_image(client: TestClient, tmp_path: Path) -> None:
    path = tmp_path / "photos" / client.get("/images").json()["images"][0]["uri"]
    answer = client.get("/images/1/content")
    assert (answer.content, answer.headers["content-type"]) == (path.read_bytes(), "image/png")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/images/1/content", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    small = client.get("/images/1/thumbnail?size=160")
    assert Image.open(BytesIO(small.content)).size == (16, 12)
    assert "immutable" in small.headers["cache-control"]
    assert client.get("/images/1/thumbnail?size=161").status_code == 422
    assert client.get("/images/99/content").status_code == 404
    photo(path, 900)
    assert client.get("/images/1/content").status_code == 410
    path.unlink()
    assert client.get("/images/1/content").status_code == 404


def test_settings(client: TestClient) -> None:
    assert client.patch("/settings", json={"buffer_size": 3}).json()["buffer_size"]["value"] == 3
    refused = client.patch("/settings", json={"buffer_size": 0})
    assert (refused.status_code, "buffer_size" in refused.json()["detail"]) == (422, True)


def test_export(client: TestClient) -> None:
    client.post("/annotations", json={"annotations": [label(1)]})
    answer = client.get("/export?format=csv")
    assert "attachment" in answer.headers["content-disposition"]
    assert len(answer.text.splitlines()) == 4
    assert len(client.get("/export?format=csv&split=train&label=cat&annotator=ann").text.splitlines()) == 2
    assert "annotators" not in client.get("/export?format=csv&include=").text.splitlines()[0]
    assert "it can be coco, csv" in client.get("/export?format=xml").json()["detail"]
    for wrong in ("include=all", "split=dev", "status=good"):
        assert client.get(f"/export?format=csv&{wrong}").status_code == 422


def test_evaluations_and_progress(client: TestClient, service: Service) -> None:
    interval = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 50}
    evaluation = {
        "id": str(uuid4()),
        "log_id": str(service.log.log_id),
        "acked_seq": 2,
        "model_version": "m1",
        "round": 1,
        "labels": 10,
        "spent": 12,
        "created_at": "2026-01-01T00:00:00Z",
        "accuracy": interval,
        "macro_f1": None,
        "log_loss": None,
    }
    assert [client.post("/evaluations", json=evaluation).status_code for _ in range(2)] == [201, 201]
    other = evaluation | {"id": str(uuid4()), "log_id": str(uuid4())}
    assert client.post("/evaluations", json=other).status_code == 409
    assert [each["id"] for each in client.get("/progress").json()["evaluations"]] == [evaluation["id"]]
    bounds = {"macro_f1": 0.7, "macro_f1_low": 0.6, "macro_f1_high": 0.8}
    assert client.get("/project").json()["macro_f1"] is None
    client.post("/evaluations", json=evaluation | bounds | {"id": str(uuid4()), "round": 2})
    shown = client.get("/project").json()["macro_f1"]
    assert {key: shown[key] for key in interval} == {"value": 0.7, "low": 0.6, "high": 0.8, "n": 50}


def test_several_people(client: TestClient, service: Service) -> None:
    service.running.change({"overlap": 2})
    said = [label(1), label(1, annotator="bob", label="dog"), label(2), label(2, annotator="bob")]
    client.post("/annotations", json={"annotations": said})
    assert [(each["name"], each["answers"]) for each in client.get("/people").json()] == [("ann", 2), ("bob", 2)]
    agreement = client.get("/agreement").json()
    assert (agreement["measure"], agreement["images"], agreement["agreed"]) == ("cohen", 2, 0.5)
    (open_,) = client.get("/disagreements").json()["items"]
    assert (open_["image_id"], [each["name"] for each in open_["opinions"]]) == (1, ["cat", "dog"])
    client.post("/annotations", json={"annotations": [label(1, action="settle", label="dog", annotator="boss")]})
    page = client.get("/disagreements", params={"kind": "settled"}).json()
    assert (page["open"], page["settled"], page["items"][0]["settled"]["annotator"]) == (0, 1, "boss")
    assert client.get("/disagreements", params={"kind": "all"}).status_code == 422


def test_events(client: TestClient) -> None:
    with client.websocket_connect("/events") as page:
        assert page.receive_json()["last_seq"] == 2
        client.post("/annotations", json={"annotations": [label(1)]})
        while (snapshot := page.receive_json())["last_seq"] < 3:
            pass
        assert snapshot["images"]["labeled"] == 1


def test_snapshots_and_splits(client: TestClient) -> None:
    assert client.post("/snapshots", json={"name": "a b"}).status_code == 200
    assert client.post("/snapshots", json={"name": "a b"}).status_code == 409
    assert client.post("/snapshots", json={"name": "a/b"}).status_code == 422
    client.post("/annotations", json={"annotations": [label(1)]})
    assert client.get("/snapshots/a%20b/diff").json()["labels"] == 1
    assert client.post("/snapshots/a%20b/restore", json={}).json()["undone"] == 1
    assert client.get("/snapshots/none/diff").status_code == 404
    assert client.post("/splits", json={"test": 0.6, "validation": 0.4}).status_code == 422
    assert client.post("/splits", json={"test": 0.34}).json() == {
        "splits": {"train": 2, "validation": 0, "test": 1},
        "moved": 1,
        "kept": 1,
        "torn": 0,
        "groups_id": None,
    }
