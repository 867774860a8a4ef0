"""Contents of the grid and the map; no held-out image is ever among them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.testclient import TestClient

from labeler.errors import Conflict, Missing, Unreachable
from labeler.service import Service
from labeler.trainer_link import predictions
from labeler.web.api import create_api
from shared.wire.images import View
from shared.wire.project import ClassPatch
from tests.labeler.galleries import CAT, DOG, gallery, listed
from tests.labeler.projects import answer, labeler, photo, photos, pushed
from tests.services import wait_for


def test_unlabeled_images_come_in_the_order_of_the_queue(tmp_path: Path) -> None:
    with gallery(tmp_path, 6) as (service, _):
        service.push(pushed(service, [4, 2]))
        assert listed(service)[:2] == [4, 2]
        service.annotate([answer(4)])
        assert listed(service)[0] == 2
        assert sorted(listed(service)) == [1, 2, 3, 5, 6]
        assert listed(service, status="any")[-1] == 4


def test_by_predicted_class_and_confidence_the_surest_first(tmp_path: Path) -> None:
    with gallery(tmp_path, 9) as (service, _):
        assert listed(service, predicted=CAT) == [9, 7, 5, 3, 1]
        assert listed(service, predicted=CAT, by="uncertainty") == [1, 3, 5, 7, 9]
        assert listed(service, predicted=DOG, min_confidence=0.53) == [8, 6, 4]
        assert sorted(listed(service, max_confidence=0.52)) == [1, 2]
        service.classes.change(DOG, ClassPatch(into=CAT))
        assert len(listed(service, predicted=CAT)) == 9


def test_by_what_was_given_and_what_is_predicted(tmp_path: Path) -> None:
    with gallery(tmp_path, 8) as (service, _):
        service.annotate([answer(1), answer(2), answer(3, "dog"), answer(4, None, action="skip")])
        service.annotate([answer(5, None, action="flag")])
        assert sorted(listed(service, label=CAT)) == [1, 2]
        assert listed(service, label=CAT, predicted=DOG) == [2]  # a cell of the confusion matrix
        assert listed(service, status="skipped") == [4]
        assert listed(service, status="flagged") == [5]
        assert listed(service, status="labeled") == [3, 2, 1]  # the latest first


def test_by_group_by_likeness_by_name_and_by_hand(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "hats" / "Red_100%.png", 700)
    with gallery(tmp_path, 9) as (service, follower):
        follower.groups = [[5, 1, 9], [2, 3]]
        assert listed(service, cluster=0) == [5, 1, 9]
        assert listed(service, similar_to=3) == [3, 5, 1, 9, 2]
        assert listed(service, words="0") == [5, 1, 9]
        assert listed(service, words="0", by="confidence") == [9, 5, 1]
        with pytest.raises(Conflict, match="no text network"):
            listed(service, words="a red hat")
        assert listed(service, images="7,2,7,99") == [7, 2]
        assert listed(service, cluster=0, images=[9, 5, 2]) == [5, 9]
        (hat,) = listed(service, search="red_")
        assert service.gallery.tiles([hat], "ann").images[0].name == "hats/Red_100%.png"
        assert listed(service, search="100%") == [hat]
        assert listed(service, search="%") == [hat]  # no wildcard
        assert len(listed(service, search=".PNG")) == 10
        with pytest.raises(Missing, match="no group 7"):
            listed(service, cluster=7)


def test_no_held_out_image_is_in_any_answer(tmp_path: Path) -> None:
    with gallery(tmp_path, 60, test_set_frac=0.3, validation_set_frac=0.2) as (service, follower):
        everything = list(service.tally.splits)
        train = {each for each, split in service.tally.splits.items() if split == "train"}
        held_out = sorted(set(everything) - train)
        assert 10 < len(held_out) < 50
        service.annotate([answer(each) for each in everything])  # also those that are labeled
        follower.groups = [everything, held_out]
        any_status: dict[str, Any] = {"status": "any"}
        for view in (
            any_status,
            {"label": CAT},
            {"label": CAT, "predicted": CAT},
            {"by": "uncertainty"} | any_status,
            {"cluster": 0} | any_status,
            {"similar_to": min(train)} | any_status,
            {"words": "0"} | any_status,
            {"search": "png"},
            {"images": everything},
        ):
            found = listed(service, **view)
            assert found, view
            assert set(found) <= train, view
        assert listed(service, images=held_out) == listed(service, cluster=1, status="any") == []
        assert {tile.image_id for tile in service.gallery.tiles(everything, "ann").images} == train
        assert set(service.gallery.map().image_ids) == train
        assert [group.size for group in service.gallery.groups(9).clusters] == [len(train)]
        for image_id in (held_out[0], 9_999):  # the answer does not tell a held-out image from none
            with pytest.raises(Missing, match=f"no image {image_id} that the grid can show"):
                listed(service, similar_to=image_id)


@given(
    status=st.sampled_from([None, "any", "labeled", "unlabeled", "skipped", "flagged"]),
    label=st.sampled_from([None, CAT, 77]),
    predicted=st.sampled_from([None, DOG, 77]),
    low=st.sampled_from([0.0, 0.6]),
    cluster=st.sampled_from([None, 0, 1]),
    images=st.none() | st.lists(st.integers(0, 70) | st.just(2**63 - 1), max_size=40),
    search=st.sampled_from([None, "0", "%", "_", "'; --"]),
    by=st.sampled_from([None, "confidence", "uncertainty"]),
)
def test_no_combination_of_filters_shows_a_held_out_image(
    crowd: Service,
    status: Any,
    label: int | None,
    predicted: int | None,
    low: float,
    cluster: int | None,
    images: list[int] | None,
    search: str | None,
    by: Any,
) -> None:
    view = View(
        status=status,
        label=label,
        predicted=predicted,
        min_confidence=low,
        cluster=cluster,
        images=images,
        search=search,
        by=by,
    )
    found = crowd.gallery.listing(view)
    assert len(found.image_ids) == len(set(found.image_ids)) == found.total
    assert all(crowd.tally.splits[image_id] == "train" for image_id in found.image_ids)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """60 images, of which half are held out and two thirds answered."""
    with gallery(tmp_path_factory.mktemp("crowd"), 60, test_set_frac=0.3, validation_set_frac=0.2) as (service, _):
        service.annotate([answer(each) for each in range(1, 30)])
        service.annotate([answer(each, None, action="skip") for each in range(30, 40)])
        yield service


def test_an_image_that_becomes_a_test_image_leaves_the_grid(tmp_path: Path) -> None:
    with gallery(tmp_path, 4) as (service, _):
        assert len(listed(service)) == len(service.gallery.map().image_ids) == 4
        service.catalog.move([2], "test")
        assert sorted(listed(service)) == sorted(service.gallery.map().image_ids) == [1, 3, 4]
        assert service.gallery.tiles([2], "ann").images == []


def test_a_tile_says_what_the_image_is_now(tmp_path: Path) -> None:
    with gallery(tmp_path, 4) as (service, _):
        listed(service)
        bobs = service.serve("bob", "his tab", 1).items[0].image_id
        mine, his, theirs = (each for each in range(1, 5) if each != bobs)
        service.annotate([answer(mine), answer(his, "dog", annotator="bob"), answer(theirs, annotator="bob")])
        tiles = {tile.image_id: tile for tile in service.gallery.tiles([1, 2, 3, 4, 99], "ann").images}
        assert (tiles[bobs].held, tiles[mine].held) == (True, False)
        assert (tiles[mine].settles, tiles[his].settles, tiles[bobs].settles) == (False, True, False)
        assert (tiles[his].status, tiles[his].label) == ("labeled", DOG)
        assert tiles[mine].predicted == (CAT if mine % 2 else DOG)
        assert tiles[mine].confidence == 0.5 + mine / 100
        assert tiles[mine].url.startswith(f"/api/images/{mine}/thumbnail?v=")


def test_groups_say_what_is_open(tmp_path: Path) -> None:
    with gallery(tmp_path, 9) as (service, _):
        service.annotate([answer(1), answer(4, None, action="skip")])
        first, second, _third = service.gallery.groups(20).clusters
        assert (first.size, first.open, first.image_ids) == (3, 1, [1, 4, 7])
        assert (second.size, second.open) == (3, 3)


def test_the_map_has_a_point_an_image(tmp_path: Path) -> None:
    with gallery(tmp_path, 5) as (service, _):
        service.annotate([answer(2, "dog")])
        service.push(pushed(service, [3]))
        seen = service.gallery.map()
        assert sorted(seen.image_ids) == [1, 2, 3, 4, 5]
        at = seen.image_ids.index(2)
        assert (seen.labels[at], seen.predicted[at], seen.confidences[at]) == (DOG, DOG, 0.52)
        assert (seen.x[at], seen.y[at], sum(seen.labels)) == (0.25, -0.5, DOG)
        assert seen.next[0] == 3
        assert 2 not in seen.next
        assert (seen.layout, service.gallery.map("umap").layout) == ("pca", "umap")


def test_the_map_marks_a_tenth_of_a_small_project_at_most(tmp_path: Path) -> None:
    with gallery(tmp_path, 21) as (service, _):
        service.push(pushed(service, [3, 9, 5, 7]))
        assert service.gallery.map().next == [3, 9, 5]


def test_without_a_model_what_needs_none_is_shown(tmp_path: Path) -> None:
    with gallery(tmp_path, 5, model=False) as (service, _):
        assert len(listed(service)) == 5
        assert service.gallery.tiles([1], "ann").images[0].predicted is None
        assert service.gallery.map().model_version is None
        with pytest.raises(Conflict, match="There is no model yet"):
            listed(service, predicted=CAT)


def test_without_a_trainer_what_needs_none_is_shown(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 5)
    with labeler(tmp_path) as service:
        assert len(listed(service)) == len(listed(service, search="000")) == 5
        for ask in (lambda: listed(service, cluster=1), lambda: listed(service, by="confidence"), service.gallery.map):
            with pytest.raises(Unreachable, match="flywheel trainer"):
                ask()


def test_in_blind_mode_nothing_of_the_model_is_shown(tmp_path: Path) -> None:
    with gallery(tmp_path, 5, blind_mode=True) as (service, _):
        assert len(listed(service)) == 5
        assert service.gallery.tiles([1], "ann").images[0].predicted is None
        assert set(service.gallery.map().predicted) == {0}
        with pytest.raises(Conflict, match="Blind mode"):
            listed(service, predicted=CAT)


def test_predictions_are_fetched_once_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "KEPT_SECONDS", 0.0)
    with gallery(tmp_path, 5) as (service, follower):
        for _ in range(3):
            listed(service, predicted=CAT)
        assert len(follower.asked) == 1
        follower.model_version = "m2"
        wait_for(lambda: (status := service.trainer.status()) and status.model_version == "m2")
        assert service.gallery.listing(View()).model_version == "m2"
        assert len(follower.asked) == 2


def test_a_trainer_of_an_earlier_version_sends_predictions_as_json(tmp_path: Path) -> None:
    with gallery(tmp_path, 9) as (service, follower):
        follower.earlier = True
        assert listed(service, predicted=CAT) == [9, 7, 5, 3, 1]


def test_a_view_is_checked() -> None:
    assert View(images=["3,4", "5"]).images == [3, 4, 5]
    wrong: list[dict[str, Any]] = [
        {"lable": 3},
        {"min_confidence": 1.5},
        {"images": "3,x"},
        {"images": list(range(5_001))},
        *(
            {name: number}
            for name in ("images", "label", "predicted", "similar_to", "cluster")
            for number in ("-5", 2**63)
        ),
        {"search": ""},
        {"clusters": 501},
        {"status": "test"},
    ]
    for values in wrong:
        with pytest.raises(ValidationError):
            View(**values)


def test_the_routes(tmp_path: Path) -> None:
    with gallery(tmp_path, 6) as (service, _), TestClient(create_api(service)) as client:
        page = client.get("/grid", params={"predicted": CAT, "min_confidence": 0.52}).json()
        assert page == {"total": 2, "image_ids": [5, 3], "next": None, "status": "unlabeled", "model_version": "m1"}
        assert client.get("/grid?images=3,1").json()["image_ids"] == [3, 1]
        many = ",".join(map(str, range(1, 5_001)))
        assert client.get(f"/grid?images={many}").json()["total"] == 6
        for ids in (2**63, -1, "3,x", "9" * 5_000):
            refused = client.get(f"/grid/images?ids={ids}")
            assert (refused.status_code, list(refused.json())) == (422, ["detail"])
        tiles = client.get("/grid/images?ids=3,4&annotator=ann").json()
        assert [tile["image_id"] for tile in tiles["images"]] == [3, 4]
        assert tiles["last_seq"] == service.log.last_seq
        assert client.get(tiles["images"][0]["url"].removeprefix("/api")).headers["cache-control"].endswith("immutable")
        assert client.get("/grid/images?ids=" + ",".join(map(str, range(501)))).status_code == 422
        assert "lable" in client.get("/grid?lable=3").json()["detail"]
        assert "search" in client.get("/grid?search=").json()["detail"]
        assert client.get("/grid?similar_to=99").status_code == 404
        assert len(client.get("/clusters?count=2").json()["clusters"]) == 2
        assert client.get("/map").json()["total"] == 6
