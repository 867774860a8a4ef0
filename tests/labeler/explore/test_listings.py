"""A long view of the grid in parts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labeler.errors import Missing
from labeler.explore import listings
from labeler.service import Service
from labeler.trainer_link import predictions
from shared.log import ImageState
from shared.wire.images import View
from tests.labeler.galleries import CAT, DOG, gallery, listed
from tests.labeler.projects import answer, pushed
from tests.services import wait_for


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """60 images, of which half are held out and two thirds answered."""
    with gallery(tmp_path_factory.mktemp("crowd"), 60, test_set_frac=0.3, validation_set_frac=0.2) as (service, _):
        service.annotate([answer(each) for each in range(1, 30)])
        service.annotate([answer(each, None, action="skip") for each in range(30, 40)])
        yield service


def parts(service: Service, size: int, **view: Any) -> list[int]:
    """A whole view, `size` images at a time."""
    found, after = list[int](), None
    while True:
        part = service.gallery.listing(View(**view, limit=size, after=after))
        assert len(part.image_ids) <= size
        found, after = found + part.image_ids, part.next
        if after is None:
            assert part.total == len(found)
            return found


@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize(
    "view",
    [
        {"status": "any"},
        {},
        {"status": "labeled"},
        {"label": CAT},
        {"by": "confidence"},
        {"search": "1", "predicted": DOG},
    ],
    ids=str,
)
def test_a_view_can_be_read_in_parts(crowd: Service, view: dict[str, Any], size: int) -> None:
    whole = listed(crowd, **view)
    assert whole
    assert parts(crowd, size, **view) == whole


def test_no_image_is_lost_between_two_parts_while_people_answer(tmp_path: Path) -> None:
    with gallery(tmp_path, 30) as (service, _):
        service.push(pushed(service, [4, 2, 9, 11]))
        everything, found, after = set(listed(service, status="any")), list[int](), None
        for number in range(1, 100):
            part = service.gallery.listing(View(status="any", limit=4, after=after))
            found += part.image_ids
            after = part.next
            if after is None:
                break
            if number == 2:
                service.push(pushed(service, [20, 21, 11]))
            service.annotate([answer(found[-1]), *[answer(each) for each in sorted(everything.difference(found))[-1:]]])
        assert set(found) == everything


@pytest.mark.parametrize(
    "view", [{"search": ".png", "status": "unlabeled"}, {"by": "confidence"}, {"predicted": CAT}], ids=str
)
def test_images_that_leave_a_view_between_two_parts_shift_no_place(tmp_path: Path, view: dict[str, Any]) -> None:
    """Images of the first part get a label, and the model predicts otherwise, before the second part is asked for."""
    with gallery(tmp_path, 12) as (service, follower):
        whole = listed(service, **view)
        first = service.gallery.listing(View(**view, limit=2))
        service.annotate([answer(each) for each in first.image_ids])
        follower.said = {each: (label, 1 - sure) for each, (label, sure) in follower.said.items()}
        follower.model_version = "m2"
        wait_for(lambda: (status := service.trainer.status()) and status.model_version == "m2")
        second = service.gallery.listing(View(**view, limit=100, after=first.next))
        assert first.image_ids + second.image_ids == whole
        assert second.next is None


def test_a_list_that_is_kept_no_longer_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "KEPT", 1)
    with gallery(tmp_path, 9) as (service, _):
        first = service.gallery.listing(View(by="confidence", limit=4))
        service.gallery.listing(View(by="uncertainty", limit=4))
        second = service.gallery.listing(View(by="confidence", limit=5, after=first.next))
        assert first.image_ids + second.image_ids == [9, 8, 7, 6, 5, 4, 3, 2, 1]


def test_a_part_costs_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many images there are, only those of the part are looked at."""
    with gallery(tmp_path, 60) as (service, _):
        service.annotate([answer(each) for each in range(1, 20)])
        looked_at: list[int] = []

        class Counted(dict[int, ImageState]):
            def get(self, image_id: int, default: Any = None) -> Any:
                looked_at.append(image_id)
                return super().get(image_id, default)

        monkeypatch.setattr(service.log.fold, "images", Counted(service.log.fold.images))
        first = service.gallery.listing(View(status="any", limit=5))
        second = service.gallery.listing(View(status="any", limit=5, after=first.next))
        assert (first.total, len(looked_at)) == (60, 10)
        assert looked_at == [*first.image_ids, *second.image_ids]


@pytest.mark.parametrize(
    ("view", "after"), [({}, "queue x"), ({"status": "any"}, "answered 99"), ({"label": CAT}, "x")]
)
def test_a_place_that_no_part_named_is_refused(crowd: Service, view: dict[str, Any], after: str) -> None:
    with pytest.raises(Missing, match="from the start"):
        listed(crowd, **view, after=after)


def test_a_list_does_not_wait_for_predictions_that_take_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "SOON", 0.01)
    with gallery(tmp_path, 5) as (service, follower):
        told = threading.Event()
        answering = follower.said
        monkeypatch.setattr(follower, "said", Waits(told, answering))
        page = service.gallery.listing(View())
        assert (page.total, page.model_version) == (5, None)
        assert service.gallery.listing(View(status="any")).total == 5  # the first request is still under way
        told.set()
        wait_for(lambda: service.gallery.listing(View()).model_version == "m1")
        assert service.gallery.tiles([1], "ann").images[0].predicted == CAT
        assert follower.asked.count("predictions") == 1


class Waits(dict[int, Any]):
    """Predictions that are not there before the event."""

    def __init__(self, told: threading.Event, said: dict[int, Any]) -> None:
        super().__init__(said)
        self._told = told

    def values(self) -> Any:
        assert self._told.wait(20)
        return super().values()
