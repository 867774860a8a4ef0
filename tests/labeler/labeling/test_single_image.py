"""An image opened by its own address: who sees it, and what may then be done."""

from pathlib import Path

import pytest

from labeler.errors import Conflict, Missing
from shared.wire.queries import Suggestion
from tests.labeler.projects import answer, asked, labeler, photos, pushed


def test_an_open_image_is_leased_and_asked_as_the_queue_would(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path) as service:
        push = pushed(service, [2, 3])
        push.queries[1].suggestions.append(Suggestion(label=1, confidence=0.7))
        service.push(push)
        opened = service.addresses.open(3, "ann", "tab")
        assert opened.uri == "0002.png"
        assert [each.name for each in opened.suggestions] == ["cat"]
        assert (opened.given, opened.settles, opened.held, opened.status) == (None, False, False, "unlabeled")
        assert asked(service, "bob") == [2, 1]  # it is on ann's screen
        page = service.serve("ann", "tab", 2, keep=[3])
        assert [each.image_id for each in page.items] == [3, 2]
        assert page.items[0].uri == "0002.png"


def test_an_image_on_another_screen_stays_there(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        service.serve("bob", "his", 1)
        opened = service.addresses.open(1, "ann", "tab")
        assert (opened.held, opened.settles) == (True, False)
        assert service.leases.holds(1, "his")
        assert not service.leases.holds(1, "tab")


def test_an_answer_of_ones_own_comes_back_and_anothers_is_settled(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        service.annotate([answer(1, "cat", note="blurred"), answer(2, "cat", annotator="bob")])
        opened = service.addresses.open(1, "ann", "tab")
        assert opened.given is not None
        assert (opened.given.action, opened.given.label, opened.given.note) == ("label", 1, "blurred")
        assert (opened.settles, opened.held) == (False, False)
        others = service.addresses.open(2, "ann", "tab")
        assert (others.given, others.settles, others.label, others.status) == (None, True, 1, "labeled")
        service.annotate([answer(2, "dog", action="settle", session="tab")])
        assert service.log.fold.labels[2] == 2
        service.classes.delete(1)
        assert service.addresses.open(1, "ann", "tab").given is None  # asked again


def test_a_held_out_image_is_opened_by_whoever_has_answered_it_and_by_nobody_else(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 8)
    with labeler(tmp_path, test_set_frac=0.9, test_free_labels=0) as service:
        held_out = [image_id for image_id, split in service.tally.splits.items() if split == "test"]
        with pytest.raises(Conflict, match="held out for measuring"):
            service.addresses.open(held_out[0], "ann", "tab")
        assert service.leases.leased() == []
        service.annotate([answer(held_out[0], "cat", annotator="bob")])
        with pytest.raises(Conflict, match="held out for measuring"):
            service.addresses.open(held_out[0], "ann", "tab")
        opened = service.addresses.open(held_out[0], "bob", "his")
        assert opened.given is not None
        assert (opened.purpose, opened.suggestions, opened.reason, opened.settles) == ("test", [], None, False)


def test_no_image(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service, pytest.raises(Missing, match="no image 9"):
        service.addresses.open(9, "ann", "tab")
