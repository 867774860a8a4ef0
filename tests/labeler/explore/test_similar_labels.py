from collections.abc import Iterator
from pathlib import Path

import pytest

from labeler.service import Service
from tests.labeler.followers import Follower, following
from tests.labeler.projects import answer, labeler, photos


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Service, Follower]]:
    photos(tmp_path / "photos", 20)
    with following() as (follower, url), labeler(tmp_path, trainer_url=url, trainer_poll_seconds=3_600) as service:
        yield service, follower


def test_the_nearest_labeled_images_with_the_names_of_now(pair: tuple[Service, Follower]) -> None:
    service, follower = pair
    follower.groups = [[7, 3, 5, 9, 2, 4]]
    service.annotate([answer(7), answer(5, "dog"), answer(3, None, action="skip"), answer(2)])
    cat = service.classes.entries()[0].id
    found = service.reminder.of(1)
    assert [(each.image_id, each.name) for each in found] == [(7, "cat"), (5, "dog"), (2, "cat")]
    assert found[0].label == cat
    assert all(service.thumbnail(each.image_id, 160) for each in found)


def test_four_at_most(pair: tuple[Service, Follower]) -> None:
    service, follower = pair
    follower.groups = [list(range(2, 20))]
    service.annotate([answer(image) for image in follower.groups[0]])
    assert [each.image_id for each in service.reminder.of(1)] == [2, 3, 4, 5]


def test_nothing_for_and_nothing_of_held_out_images(pair: tuple[Service, Follower]) -> None:
    service, follower = pair
    follower.groups = [[2, 3]]
    service.annotate([answer(2), answer(3)])
    service.catalog.move([1, 2], "test")
    assert service.reminder.of(1) == []
    assert [each.image_id for each in service.reminder.of(4)] == [3]


def test_nothing_in_blind_mode_and_nothing_while_the_trainer_fails(pair: tuple[Service, Follower]) -> None:
    service, follower = pair
    follower.groups = [[2]]
    service.annotate([answer(2)])
    assert len(service.reminder.of(1)) == 1
    service.running.change({"blind_mode": True})
    assert service.reminder.of(1) == []
    service.running.change({"blind_mode": False})
    follower.failing = True
    assert service.reminder.of(1) == []
