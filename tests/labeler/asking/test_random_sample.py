"""The labeler knows whether the test images asked so far are a random sample of all test images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from labeler.errors import Conflict
from labeler.service import Service
from shared.wire.dataset import SplitPost
from shared.wire.imports import ImportPost, ImportRow
from shared.wire.log import Undo
from shared.wire.queries import TestRate, TestRates
from tests.labeler.projects import answer, labeler, photos

IMAGES = 24


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    photos(tmp_path / "photos", IMAGES)
    with labeler(tmp_path, test_set_frac=0.7) as service:
        assert len(open_test_images(service)) >= 6
        yield service


def open_test_images(service: Service) -> list[int]:
    """In the order in which the queue asks them."""
    return list(service.queue.held_out("test"))


def test_images_asked_in_turn_are_one_whatever_the_answers(service: Service) -> None:
    assert service.sample.holds
    first, second, third, *_ = open_test_images(service)
    given = answer(second)
    service.annotate([answer(first), given, answer(third, None, action="skip")])
    assert service.sample.holds
    service.undo(Undo(id=uuid4(), annotator="ann", target=given.id))
    assert service.sample.holds  # it was asked, and its answer did not decide that


def test_an_image_asked_out_of_turn_ends_it_until_those_before_it_are_asked(service: Service) -> None:
    first, *between, last = open_test_images(service)
    service.annotate([answer(first), answer(last)])
    assert not service.sample.holds
    service.annotate([answer(image_id) for image_id in between])
    assert service.sample.holds


def test_a_page_that_holds_an_image_passes_none_over(service: Service) -> None:
    first, second, *_ = open_test_images(service)
    with service.store.lock:
        service.queue.lease(first, "bob", "tab")
    service.annotate([answer(second)])
    assert service.sample.holds
    with service.store.lock:
        service.leases.free("tab")
    assert not service.sample.holds


def test_photos_added_later_are_asked_before_it_holds_again(service: Service, tmp_path: Path) -> None:
    asked = open_test_images(service)[:-1]
    service.annotate([answer(image_id) for image_id in asked])
    assert service.sample.holds
    photos(tmp_path / "more", 3 * IMAGES)  # other photos: the first ones are copies of those that are here
    for number, file in enumerate(sorted((tmp_path / "more").iterdir())):
        file.rename(tmp_path / "photos" / f"later{number}.png")
    service.scanner.start()
    service.scanner.wait(30)
    assert not service.sample.holds
    last = max(service.present.place(image_id) for image_id in asked)
    service.annotate([answer(each) for each in open_test_images(service) if service.present.place(each) < last])
    assert service.sample.holds


def test_splits_that_were_drawn_again_end_it(service: Service) -> None:
    service.annotate([answer(open_test_images(service)[0])])
    service.splitting.draw(SplitPost(test=0.3, seed=1))
    assert not service.sample.holds


def test_an_imported_label_of_a_test_image_ends_it_also_after_a_restart(service: Service, tmp_path: Path) -> None:
    image_id = open_test_images(service)[-1]
    uri = service.catalog.some([image_id])[image_id].uri
    service.imports.take(ImportPost(rows=[ImportRow(line=1, uri=uri, label="cat", split="test")]))
    assert service.log.fold.state(image_id).label is not None
    assert not service.sample.holds
    service.close()
    with labeler(tmp_path, test_set_frac=0.7) as again:
        assert not again.sample.holds


def rates(service: Service, hard: list[int]) -> TestRates:
    """Images of which some are to come sooner than all others, also than those that have come."""
    found = [TestRate(image_id=each, rate=1_000.0 if each in hard else 0.01) for each in service.sample.images]
    return TestRates(log_id=service.log.log_id, model_version="head", rates=found)


def test_an_active_test_asks_hard_images_first_and_tells_their_chances_over_a_restart(tmp_path: Path) -> None:
    photos(tmp_path / "photos", IMAGES)
    with labeler(tmp_path, test_set_frac=0.7, test_order="active") as service:
        first, *others = open_test_images(service)
        service.annotate([answer(first)])
        assert service.active_test.chances() == []  # all have the same
        hard = others[-2:]
        service.suggest_tests(rates(service, hard))
        assert set(open_test_images(service)[:2]) == set(hard)
        service.annotate([answer(open_test_images(service)[0]), answer(open_test_images(service)[1])])
        assert service.sample.holds
        chances = {each.image_id: each.chance for each in service.active_test.chances()}
        assert chances.keys() == {first, *hard}
        assert chances[hard[0]] > chances[first]
        line = open_test_images(service)
    with labeler(tmp_path, test_set_frac=0.7, test_order="active") as service:
        assert open_test_images(service) == line
        assert {each.image_id: each.chance for each in service.active_test.chances()} == chances
        assert service.sample.holds
        service.annotate([answer(line[2])])
        assert not service.sample.holds  # asked out of turn


def test_at_random_again_the_chances_so_far_are_kept_and_suggestions_refused(tmp_path: Path) -> None:
    photos(tmp_path / "photos", IMAGES)
    with labeler(tmp_path, test_set_frac=0.7) as service:
        with pytest.raises(Conflict, match="set test_order to active"):
            service.suggest_tests(rates(service, []))
        line = open_test_images(service)
        service.running.change({"test_order": "active"})
        service.suggest_tests(rates(service, line[-1:]))
        service.annotate([answer(line[-1])])
        service.running.change({"test_order": "random"})
        assert open_test_images(service) == line[:-1]  # the order of the hashes again
        service.annotate([answer(line[0])])
        before = {each.image_id: each.chance for each in service.active_test.chances()}
        assert before[line[-1]] > before[line[0]]
        assert service.sample.holds
