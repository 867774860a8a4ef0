"""The page Disagreements as Streamlit runs it, over a real labeler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from labeler.service import Service
from labeler.ui import disagreements
from labeler.ui.parts import components
from labeler.ui.parts.wording import plain
from shared.tasks.detection import Box, Boxes
from shared.tasks.multilabel import Classes
from tests.labeler.projects import answer, boxes, classes, labeler, photos


def script() -> None:
    from labeler.ui import disagreements
    from labeler.ui.parts import components

    components.bar(asks=True)
    disagreements.page()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path, overlap=2) as service:
        yield service


def opened(annotator: str = "boss") -> AppTest:
    page = AppTest.from_function(script, default_timeout=60)
    page.session_state[components.BAR] = {"annotator": annotator}
    page.run()
    assert not page.exception
    return page


def disagree(service: Service, *image_ids: int) -> None:
    for image_id in image_ids:
        service.annotate([answer(image_id, "cat", annotator="ann"), answer(image_id, "dog", annotator="bob")])


def buttons(page: AppTest) -> dict[str, str]:
    return {str(button.key): button.label for button in page.button}


def label_of(service: Service, image_id: int) -> str | None:
    label = service.log.fold.state(image_id).label
    return None if label is None else service.classes.name(label)


def test_one_press_settles_with_its_note_and_the_next_comes(service: Service) -> None:
    disagree(service, 1, 2)
    page = opened()
    assert "2 to settle" in page.subheader[0].value
    ids = {entry.name: entry.id for entry in service.classes.entries()}
    page.text_input("note-1").set_value(" the tail shows it ")
    page.button(f"settle-1-{ids['dog']}").click().run()
    assert label_of(service, 1) == "dog"
    row = service.log.latest("settle", 1)[0]
    assert (row.annotator, row.note) == ("boss", "the tail shows it")
    assert page.subheader[0].value == "One to settle"
    assert f"settle-2-{ids['cat']}" in buttons(page)


def test_a_second_press_on_the_same_image_changes_nothing(service: Service) -> None:
    disagree(service, 1)
    first, second = opened(), opened("other")
    ids = {entry.name: entry.id for entry in service.classes.entries()}
    first.button(f"settle-1-{ids['dog']}").click().run()
    second.button(f"settle-1-{ids['cat']}").click().run()
    assert label_of(service, 1) == "dog"
    assert len(service.log.latest("settle", 10)) == 1


def test_a_button_that_still_stands_settles_no_image_that_was_passed_over(service: Service) -> None:
    disagree(service, 1, 2)
    page = opened()
    page.text_input("note-1").set_value("")
    left_standing = page.button(f"settle-1-{service.classes.entries()[0].id}")
    page.run().button("later-1").click().run()
    left_standing.click().run()
    assert service.log.latest("settle", 10) == []


def test_a_key_pressed_twice_does_not_settle_the_next_image_unseen(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    disagree(service, 1, 2)
    page = opened()
    label = service.classes.entries()[0].id
    monkeypatch.setattr(disagreements, "UNSEEN_SECONDS", 60)
    page.button(f"settle-1-{label}").click().run()
    page.button(f"settle-2-{label}").click().run()
    assert [row.image_id for row in service.log.latest("settle", 10)] == [1]
    assert [each.value for each in page.error] == [plain(disagreements.UNSEEN)]
    monkeypatch.setattr(disagreements, "UNSEEN_SECONDS", 0)
    page.button(f"settle-2-{label}").click().run()
    assert label_of(service, 2) == service.classes.name(label)


def test_a_name_that_comes_with_the_press_is_whose_press_it_is(service: Service) -> None:
    disagree(service, 1)
    page = opened("ann")
    page.session_state[components.BAR] = {"annotator": "eve"}
    page.button(f"settle-1-{service.classes.entries()[0].id}").click().run()
    assert [row.annotator for row in service.log.latest("settle", 1)] == ["eve"]


def test_a_settle_is_taken_back_by_whoever_settled(service: Service) -> None:
    disagree(service, 1)
    page = opened()
    ids = {entry.name: entry.id for entry in service.classes.entries()}
    page.button(f"settle-1-{ids['dog']}").click().run()
    undo = next(key for key, label in buttons(page).items() if label == "Undo")
    other = opened("other")
    other.button(undo).click().run()
    assert ["can undo it" in each.value for each in other.error] == [True]
    page.button(undo).click().run()
    assert label_of(service, 1) is None
    assert not page.error
    assert page.subheader[0].value == "One to settle"


def test_later_goes_on_and_comes_round_again(service: Service) -> None:
    disagree(service, 1, 2)
    page = opened()
    page.button("later-1").click().run()
    page.button("later-2").click().run()
    assert "later-1" in buttons(page)


def test_agreement_is_shown(service: Service) -> None:
    disagree(service, 1)
    service.annotate([answer(2, "cat", annotator="ann"), answer(2, "cat", annotator="bob")])
    page = opened()
    words = " ".join(each.value for each in page.markdown)
    assert "On **50%** of 2 images" in words
    assert "Cohen's kappa is **0.00**" in words
    assert any("ann and bob" in str(table.value) for table in page.table)


@pytest.mark.parametrize(
    ("overlap", "answers", "words"),
    [
        (1, [], "asked of **one person**"),
        (2, [(1, "ann", "cat")], "No image has been answered by two people yet"),
        (2, [(1, "ann", "cat"), (1, "bob", "cat")], "Nobody disagrees"),
    ],
)
def test_nothing_to_settle_says_why(
    service: Service, overlap: int, answers: list[tuple[int, str, str]], words: str
) -> None:
    service.running.change({"overlap": overlap})
    service.annotate([answer(image_id, label, annotator=who) for image_id, who, label in answers])
    (said,) = opened().info
    assert words in said.value


def test_the_page_says_when_all_is_settled(service: Service) -> None:
    disagree(service, 1)
    service.annotate([answer(1, "cat", action="settle", annotator="boss")])
    assert [each.value for each in opened().info] == ["Every disagreement is settled."]


def test_with_several_classes_each_class_in_question_is_settled_and_the_others_stay(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path, task="multilabel", overlap=2, classes=["cat", "dog", "hen"]) as service:
        cat, dog, hen = (entry.id for entry in service.classes.entries())
        service.annotate(
            [classes(1, [cat, dog], [hen], annotator="ann"), classes(1, [cat], [dog, hen], annotator="bob")]
        )
        page = opened()
        assert any("A tie on **dog**" in each.value for each in page.markdown)
        (question,) = page.button_group
        assert (question.label, question.options) == ("dog", ["Yes: ann", "No: bob"])
        page.button("settle-1").click().run()
        assert "Choose Yes or No for dog" in page.error[0].value
        page.button_group[0].set_value("No").run()
        page.button("settle-1").click().run()
        assert service.log.fold.labels[1] == Classes({cat}, {dog, hen})
        assert [each.value for each in page.info] == ["Every disagreement is settled."]
        words = " ".join(each.value for each in page.markdown)
        assert "nobody says yes to a class where another says no" in words
        assert "Image 1 is **cat**" in words


def test_with_boxes_everybodys_are_over_the_image_and_one_press_settles(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path, task="detection", overlap=2, classes=["cat", "dog"]) as service:
        cat, dog = (entry.id for entry in service.classes.entries())
        service.annotate([boxes(1, (cat, 1, 1, 4, 4), (dog, 8, 2, 5, 5), annotator="ann")])
        service.annotate([boxes(1, (cat, 1, 1, 4, 5), annotator="bob"), boxes(2, annotator="bob")])
        service.annotate([boxes(2, annotator="ann")])
        page = opened()
        assert any("A tie on **dog**" in each.value for each in page.markdown)
        assert buttons(page) == {
            "settle-1-1": "ann: 1 cat, 1 dog",
            "settle-1-2": "bob: 1 cat",
            "settle-1-3": "All boxes: 1 cat, 1 dog",
            "settle-1-4": "Only boxes that everyone drew: 1 cat",
            "later-1": "Later",
        }
        (picture,) = [each.proto.body for each in page.get("html") if "to be settled" in each.proto.body]
        assert picture.count("border:1px solid") == 2
        assert picture.count("border:3px solid") == 1
        assert ">dog</span>" in picture
        page.button("settle-1-3").click().run()
        assert service.log.fold.labels[1] == Boxes([Box(cat, 1, 1, 4, 4.5), Box(dog, 8, 2, 5, 5)])
        assert [each.value for each in page.info] == ["Every disagreement is settled."]
        words = " ".join(each.value for each in page.markdown)
        assert "On **50%** of 2 images labeled by several people, all drew the same boxes" in words
        assert "**83%** of their boxes in common" in words
        assert "Image 1 is **1 cat, 1 dog**" in words
