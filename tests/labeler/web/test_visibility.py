"""Every route, by what it may show: no held-out image in a list, and no hint of the model in blind mode."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from labeler.service import Service
from labeler.web.api import create_api
from shared.wire.queries import Query, Suggestion
from tests.labeler.followers import following
from tests.labeler.projects import answer, labeler, photos, pushed
from tests.services import wait_for

CAT, DOG = 1, 2
COUNT = 40
EVERY = ",".join(map(str, range(1, COUNT + 1)))
LISTS: dict[str, list[dict[str, Any]]] = {
    "/grid": [
        {"status": "any"},
        {"images": EVERY},
        {"search": "png"},
        {"label": CAT},
        {"cluster": 0, "status": "any"},
        {"similar_to": "TRAIN", "status": "any"},
        {"words": "0", "status": "any"},
        {"by": "confidence", "status": "any"},
        {"predicted": CAT, "status": "any"},
    ],
    "/grid/images": [{"ids": EVERY}],
    "/clusters": [{}],
    "/map": [{}],
    "/review": [{"limit": 200}],
    "/oddities": [{}],
    "/images/{image_id}/similar": [{}],
}
"""Routes that show many images to people, with what they are asked."""
QUESTIONS = {"/queue", "/images/{image_id}/question"}
"""Routes that ask about images, held-out ones too."""
RECORDS = {"/images", "/images/missing", "/annotations", "/export", "/snapshots/{name}/diff", "/disagreements"}
"""Routes that name every image, because they are the dataset itself, or what people said of it."""
BYTES = {"/images/{image_id}/content", "/images/{image_id}/thumbnail"}
NO_IMAGES = {
    *("/health", "/metrics", "/project", "/project/guidelines", "/settings", "/progress", "/history", "/people"),
    *("/agreement", "/export/count", "/downloads", "/snapshots", "/images/rejected", "/models/{version}/export"),
    *("/label-files", "/label-files/{file_id}"),
}
ONLY_HINTS = [("/review", {"limit": 200}), ("/grid", {"by": "confidence"}), ("/grid", {"predicted": CAT})]
IDS = {"image_id", "image_ids", "next", "differing", "across", "dark", "blurred", "tiny", "extreme"}
HINTS = {"suggestions", "reason", "score", "predicted", "confidence", "confidences", "proposed", "model_version"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, TestClient]]:
    """A labeler of which half the images are held out, and a trainer that names all of them everywhere."""
    folder = tmp_path_factory.mktemp("visibility")
    photos(folder / "photos", COUNT)
    values = {"trainer_poll_seconds": 0.05, "test_set_frac": 0.3, "validation_set_frac": 0.2}
    with following() as (follower, url), labeler(folder, trainer_url=url, **values) as service:
        ids = list(service.tally.splits)
        follower.said = {each: (CAT if each % 2 else DOG, 0.9) for each in ids}
        follower.groups = [ids]
        held = [each for each in ids if service.tally.splits[each] != "train"]
        # The trainer is asked for 200 pairs: neighbours come first, so that whatever is held out, some pair is not.
        pairs = [[one, one + apart] for apart in range(1, COUNT) for one in ids[:-apart]]
        follower.copies = {"differing": pairs, "across": dict.fromkeys(ids, "test")}
        follower.issues = [doubt(each, held) for each in ids]
        follower.model_version = "m1"
        wait_for(lambda: (status := service.trainer.status()) and status.log_id and status.model_version)
        said = [Suggestion(label=CAT, confidence=0.9)]
        queries = [Query(image_id=each, score=0.7, reason="perhaps cat", suggestions=said) for each in ids]
        service.push(pushed(service, [], queries=queries))
        wait_for(lambda: (found := service.oddities.lists()).measured == found.total)
        service.catalog.move([train(service)[-1]], "test")  # named by a list while it was a train image
        service.annotate([answer(each) for each in ids[: COUNT // 2]])
        with TestClient(create_api(service)) as client:
            yield service, client


def doubt(image_id: int, evidence: list[int]) -> dict[str, Any]:
    return {
        **{"image_id": image_id, "label": CAT, "label_name": "cat", "proposed": DOG, "proposed_name": "dog"},
        **{"quality": 0.1, "confidence": 0.9, "confident": True, "agreeing": 3, "neighbours": 10},
        "evidence": [{"image_id": each, "similarity": 0.5} for each in evidence],
    }


def train(service: Service) -> list[int]:
    return [image_id for image_id, split in service.tally.splits.items() if split == "train"]


def values(found: Any, keys: set[str], within: bool = False) -> Iterator[Any]:
    """Everything that stands under one of these keys, however deep."""
    if isinstance(found, dict):
        for key, each in found.items():
            yield from values(each, keys, within or key in keys)
    elif isinstance(found, list):
        for each in found:
            yield from values(each, keys, within)
    elif within:
        yield found


def test_every_route_is_known_by_what_it_shows(pair: tuple[Service, TestClient]) -> None:
    _, client = pair
    paths = client.get("/openapi.json").json()["paths"]
    reading = {path for path, operations in paths.items() if "get" in operations}
    assert reading == {*LISTS, *QUESTIONS, *RECORDS, *BYTES, *NO_IMAGES}


@pytest.mark.parametrize(("route", "params"), [(route, each) for route, asked in LISTS.items() for each in asked])
def test_no_list_holds_a_held_out_image(pair: tuple[Service, TestClient], route: str, params: dict[str, Any]) -> None:
    service, client = pair
    there = train(service)
    asked = {name: there[0] if value == "TRAIN" else value for name, value in params.items()}
    reply = client.get(route.format(image_id=there[0]), params=asked)
    assert reply.status_code == 200
    named = {each for each in values(reply.json(), IDS) if isinstance(each, int)}
    assert named
    assert named <= set(there)
    if route == "/oddities":
        assert all(reply.json()[each] for each in ("differing", "across", "dark"))


def test_held_out_images_are_asked_without_a_hint(pair: tuple[Service, TestClient]) -> None:
    service, client = pair
    items = client.get("/queue", params={"annotator": "bob", "limit": 200}).json()["items"]
    held_out = [item for item in items if item["purpose"] != "query"]
    assert held_out
    assert not any(values(held_out, HINTS))
    assert any(values(items, HINTS))
    answered = next(each for each in range(1, COUNT) if service.tally.splits[each] != "train")
    opened = client.get(f"/images/{answered}/question", params={"annotator": "ann"})
    assert opened.status_code == 200
    assert not any(values(opened.json(), HINTS))
    assert client.get(f"/images/{answered}/question", params={"annotator": "eve"}).status_code == 409
    assert client.get(f"/images/{answered}/similar").json() == {"images": []}


def test_exports_hold_predictions_of_train_images_alone(pair: tuple[Service, TestClient]) -> None:
    service, client = pair
    rows = client.get("/export", params={"format": "jsonl", "include": "predictions"}).text.splitlines()
    assert len(rows) == COUNT
    told = {row["id"] for row in map(json.loads, rows) if row["prediction"] is not None}
    assert told == set(train(service))


def test_in_blind_mode_no_route_gives_a_hint(pair: tuple[Service, TestClient]) -> None:
    service, client = pair
    there = train(service)[0]
    views = [(route, each) for route, several in LISTS.items() for each in several if route != "/review"]
    asked = [(route, each) for route, each in views if not {"by", "predicted"} & each.keys()]
    asked += [("/queue", {"annotator": "bob", "limit": 200})]
    asked += [("/images/{image_id}/question", {"annotator": "eve"})]

    def telling() -> set[str]:
        """The routes that hint at what the model thinks."""
        found = set()
        for route, params in asked:
            given = {name: there if value == "TRAIN" else value for name, value in params.items()}
            reply = client.get(route.format(image_id=there), params=given)
            assert reply.status_code == 200, route
            if any(values(reply.json(), HINTS)):
                found.add(route)
        return found

    assert telling() == {"/grid", "/grid/images", "/map", "/queue", "/images/{image_id}/question"}
    assert client.get(f"/images/{there}/similar").json()["images"]
    service.running.change({"blind_mode": True})
    try:
        for route, params in ONLY_HINTS:
            refused = client.get(route, params=params)
            assert (refused.status_code, "Blind mode" in refused.json()["detail"]) == (409, True)
        assert client.get("/export", params={"format": "csv", "include": "predictions"}).status_code == 409
        assert telling() == set()
        assert client.get("/queue", params={"annotator": "bob", "limit": 200}).json()["items"]
        assert client.get(f"/images/{there}/similar").json() == {"images": []}
    finally:
        service.running.change({"blind_mode": False})
