from pathlib import Path
from uuid import uuid4

import pytest

from labeler.errors import Forbidden
from labeler.service import Service
from shared.wire.log import Undo
from shared.wire.project import ClassPatch
from shared.wire.queries import Suggestion
from tests.labeler.projects import answer, labeler, photos, pushed

pytestmark = pytest.mark.usefixtures("both_stores")


def say(service: Service, image_id: int, **labels: str) -> None:
    """Each annotator's label, in the order given."""
    service.annotate([answer(image_id, label, annotator=who) for who, label in labels.items()])


def listed(service: Service) -> list[int]:
    return [each.image_id for each in service.disagreements.page().items]


def test_ties_come_first_and_what_everybody_agrees_on_never(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 4)
    with labeler(tmp_path, overlap=2) as service:
        say(service, 1, ann="cat", bob="cat")
        service.annotate(
            [
                answer(2, "cat", annotator="ann", note="the left one"),
                answer(2, "dog", annotator="bob"),
                answer(2, "dog", annotator="eve", source="import"),
            ]
        )
        say(service, 3, ann="cat", bob="dog")
        page = service.disagreements.page()
        assert (page.open, page.settled) == (2, 0)
        tie, majority = page.items
        assert (tie.image_id, tie.label) == (3, None)
        assert [(each.annotator, each.name) for each in tie.opinions] == [("ann", "cat"), ("bob", "dog")]
        assert (majority.image_id, majority.name) == (2, "dog")
        assert majority.opinions[0].note == "the left one"
        assert tie.opinions[0].at <= tie.opinions[1].at
        assert service.content(tie.image_id)
        assert f"/images/{tie.image_id}/thumbnail" in tie.url


def test_an_image_that_others_will_be_asked_about_is_not_listed_yet(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path, overlap=3) as service:
        say(service, 1, ann="cat", bob="dog")
        assert listed(service) == []
        say(service, 1, eve="dog")
        assert listed(service) == [1]
        service.running.change({"overlap": 4})
        assert listed(service) == []


def test_settled_and_taken_back(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path, overlap=2) as service:
        for image_id in (1, 2):
            say(service, image_id, ann="cat", bob="dog")
        for image_id, label in ((2, "dog"), (1, "cat")):
            service.annotate([answer(image_id, label, action="settle", annotator="boss")])
        assert listed(service) == []
        first, second = service.disagreements.page("settled").items
        assert [(each.image_id, each.name, len(each.opinions)) for each in (first, second)] == [
            (1, "cat", 2),
            (2, "dog", 2),
        ]
        assert first.settled
        assert first.settled.annotator == "boss"
        with pytest.raises(Forbidden):
            service.undo(Undo(id=uuid4(), annotator="ann", target=first.settled.id))
        service.undo(Undo(id=uuid4(), annotator="boss", target=first.settled.id))
        assert listed(service) == [1]
        assert [each.image_id for each in service.disagreements.page("settled").items] == [2]
        assert service.log.fold.state(1).label is None


def test_the_last_settle_wins(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path, overlap=2) as service:
        say(service, 1, ann="cat", bob="dog")
        for label in ("cat", "dog"):
            service.annotate([answer(1, label, action="settle", annotator="boss")])
        (settled,) = service.disagreements.page("settled").items
        assert settled.name == "dog"
        assert settled.settled
        assert settled.settled.name == "dog"


def test_classes_that_were_merged_differ_no_more(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path, overlap=2) as service:
        say(service, 1, ann="cat", bob="dog")
        ids = {entry.name: entry.id for entry in service.classes.entries()}
        service.classes.change(ids["dog"], ClassPatch(into=ids["cat"]))
        assert listed(service) == []
        assert service.disagreements.agreement().agreed == 1


def test_a_test_image_is_listed_and_nothing_says_what_the_model_thinks(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 40)  # so that hardly ever all fall into one split
    with labeler(tmp_path, overlap=2, test_set_frac=0.5) as service:
        cat = service.classes.entries()[0].id
        push = pushed(service, list(range(1, 41)))
        suggested = {"suggestions": [Suggestion(label=cat, confidence=0.9)]}
        push.queries = [each.model_copy(update=suggested) for each in push.queries]
        service.push(push)
        for image_id in range(1, 41):
            say(service, image_id, ann="cat", bob="dog")
        page = service.disagreements.page()
        assert {each.split for each in page.items} == {"train", "test"}
        assert all({"ann", "bob"} == {opinion.annotator for opinion in each.opinions} for each in page.items)
        assert "confidence" not in page.model_dump_json()
        assert "suggestion" not in page.model_dump_json()
