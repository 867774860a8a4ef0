import re
from pathlib import Path

import pytest

from labeler.errors import AnnotationRefused, Conflict, Invalid, Missing
from labeler.labeling import classes as labeler_classes
from labeler.labeling.classes import PAGES_OWN, hotkeys
from labeler.transfer.rows.exported import Wanted
from shared.settings.services import SettingsError
from shared.wire.project import ClassPatch
from tests.labeler.projects import answer, asked, labeler, photos, settings

pytestmark = pytest.mark.usefixtures("both_stores")


def names(service: object) -> list[str]:
    return [entry.name for entry in service.classes.entries()]  # type: ignore[attr-defined]


def test_the_first_ten_have_a_key(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path, classes=list("abcdefghijk")) as service:
        assert [entry.hotkey for entry in service.classes.entries()] == [*"1234567890", None]


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        ([], []),
        (["cat", "dog"], ["1", "2"]),
        ([*"0123456789"], [*"0123456789"]),  # whoever sees a three presses 3
        (["one", "1", "two"], ["2", "1", "3"]),
        (["10", "3"], ["1", "3"]),
        ([*"abcdefghij", "1"], [*"1234567890", None]),
    ],
)
def test_a_class_that_is_a_digit_has_that_key(names: list[str], keys: list[str | None]) -> None:
    assert hotkeys(names) == keys


def test_add_and_refuse(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        assert service.classes.add("  bird ").name == "bird"
        with pytest.raises(Conflict, match="'bird'"):
            service.classes.add("bird")
        with pytest.raises(Invalid):
            service.classes.add("   ")
        service.classes.add("x" * 100)
        with pytest.raises(Invalid, match="A class name has at most 100 characters, and this one has 101"):
            service.classes.add("x" * 101)
        with pytest.raises(Missing):
            service.classes.delete(99)
        assert names(service) == ["cat", "dog", "bird", "x" * 100]


def test_one_class_has_one_spelling_and_an_old_name_is_not_given_again(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 4)
    with labeler(tmp_path, classes=["Coat", "dog"]) as service:
        coat, dog = (entry.id for entry in service.classes.entries())
        for taken in ("coat", " COAT "):
            with pytest.raises(Conflict, match="already a class 'Coat'"):
                service.classes.add(taken)
            with pytest.raises(Conflict, match="already a class 'Coat'"):
                service.classes.change(dog, ClassPatch(name=taken))
        assert service.classes.change(coat, ClassPatch(name="coat")).name == "coat"
        service.classes.change(coat, ClassPatch(name="jacket"))
        with pytest.raises(Conflict, match="'Coat' is another name of the class 'jacket'"):
            service.classes.add("Coat")
        assert {entry.name: entry.aliases for entry in service.classes.entries()} == {
            "jacket": ["Coat", "coat"],
            "dog": [],
        }
        service.annotate([answer(1, "COAT"), answer(2, "Dog")])
        assert service.progress().labels_per_class == {"jacket": 1, "dog": 1}
        with pytest.raises(AnnotationRefused) as refused:
            service.annotate([answer(3, "dogg")])
        assert refused.value.fields["invalid"][0]["reason"] == (
            "there is no class 'dogg': add it first, or did you mean 'dog'?"
        )
        with pytest.raises(Invalid, match="no class 'dogg', or did you mean 'dog'"):
            service.exports.begin("csv", wanted=Wanted(label="dogg"))
        exported = b"".join(service.exports.begin("csv", wanted=Wanted(label="DOG"))[0])
        assert exported.decode().count("dog") == 1
        service.classes.change(dog, ClassPatch(into=coat))
        with pytest.raises(Conflict, match="another name of the class 'jacket'"):
            service.classes.add("dog")
        service.classes.delete(coat)
        assert service.classes.add("dog").name == "dog"  # nothing goes by that name any more
    with pytest.raises(SettingsError, match="'hat' and 'Hat', which are the same class"):
        settings(tmp_path, classes=["hat", "Hat"])


def test_merge_moves_the_labels(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        service.annotate([answer(1, "cat"), answer(2, "dog")])
        cat, dog = (entry.id for entry in service.classes.entries())
        assert service.classes.change(dog, ClassPatch(into=cat)).name == "cat"
        assert service.progress().labels_per_class == {"cat": 2}
        with pytest.raises(Invalid):
            service.classes.change(cat, ClassPatch(into=cat))
        with pytest.raises(Missing):
            service.classes.change(dog, ClassPatch(into=cat))
        with pytest.raises(Invalid, match="either"):
            service.classes.change(cat, ClassPatch())


def test_images_of_a_deleted_class_are_asked_again(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        service.annotate([answer(1, "cat"), answer(2, "dog")])
        assert asked(service) == []
        service.classes.delete(service.classes.entries()[0].id)
        assert asked(service) == [1]
        assert service.project().images.labeled == 1


def test_the_classes_to_begin_with_do_not_come_back(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    first = ["cat", "dog", "cow", "pig"]
    with labeler(tmp_path, classes=first) as service:
        cat, dog, cow, _ = (entry.id for entry in service.classes.entries())
        service.classes.change(cat, ClassPatch(name="kitten"))
        service.classes.change(dog, ClassPatch(into=cow))
        service.classes.delete(cow)
        assert names(service) == ["kitten", "pig"]
    with labeler(tmp_path, classes=[*first, "hen"]) as service:
        assert names(service) == ["kitten", "pig", "hen"]


def test_a_key_of_its_own_frees_a_digit_for_the_others() -> None:
    assert hotkeys(["a", "b", "c"], [None, "q", None]) == ["1", "q", "2"]
    assert hotkeys(["a", "b"], [None, "1"]) == ["2", "1"]
    assert hotkeys(["1", "b"], [None, "1"]) == ["2", "1"]
    assert hotkeys([*"abcdefghijkl"], ["q", *[None] * 11]) == ["q", *"1234567890", None]


def test_colour_description_key_and_place_are_kept_and_bring_no_row(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path, classes=["cat", "dog", "cow"]) as service:
        cat, dog, cow = (entry.id for entry in service.classes.entries())
        rows, mark = service.log.last_seq, service.state.change_markers()
        patch = ClassPatch(colour="#12aBcd", description=" With whiskers. ", hotkey="Q")
        assert service.classes.change(cat, patch).hotkey == "q"
        service.classes.change(cow, ClassPatch(place=0))
        assert service.log.last_seq == rows
        assert service.state.change_markers()["classes"] != mark["classes"]
        assert [entry.id for entry in service.classes.entries()] == [cow, cat, dog]
        service.classes.add("hen")  # behind the others
        before = service.classes.entries()
    with labeler(tmp_path) as service:
        assert service.classes.entries() == before
        looks = [(each.name, each.hotkey, each.own_hotkey, each.colour, each.description) for each in before]
        assert looks == [
            ("cow", "1", False, None, None),
            ("cat", "q", True, "#12aBcd", "With whiskers."),
            ("dog", "2", False, None, None),
            ("hen", "3", False, None, None),
        ]
        plain = service.classes.change(cat, ClassPatch(colour="", description="", hotkey="", place=99))
        assert (plain.hotkey, plain.own_hotkey, plain.colour, plain.description) == ("4", False, None, None)
        assert names(service) == ["cow", "dog", "hen", "cat"]
        assert list(service.progress().labels_per_class) == names(service)


def test_a_key_that_is_taken_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        cat, dog = (entry.id for entry in service.classes.entries())
        service.classes.change(cat, ClassPatch(hotkey="q"))
        before = service.classes.entries()
        with pytest.raises(Conflict, match="already belongs to 'cat'"):
            service.classes.change(dog, ClassPatch(name="wolf", hotkey="Q"))
        for key in "sSgx":  # skip, guidelines, and what only another page has
            with pytest.raises(Invalid, match="already in use on the pages"):
                service.classes.change(dog, ClassPatch(hotkey=key))
        for key in "+?":
            with pytest.raises(Invalid, match="one letter or one digit"):
                service.classes.change(dog, ClassPatch(hotkey=key))
        with pytest.raises(Invalid, match="either"):
            service.classes.change(dog, ClassPatch(into=cat, colour="#000000"))
        assert service.classes.entries() == before
        assert service.classes.change(cat, ClassPatch(hotkey="q")).hotkey == "q"  # its own stays free for it


def test_the_letters_of_the_pages_are_no_class_s() -> None:
    pages = Path(labeler_classes.__file__).parents[1] / "ui"
    tables: dict[str, list[str]] = {}
    for script in pages.rglob("*.js"):
        text = script.read_text(encoding="utf-8")
        found = re.findall(r"\b(?:const LETTERS =|const ACTS =|letters =|letters:) {(.*?)}", text, re.DOTALL)
        tables |= {script.relative_to(pages).as_posix(): found} if found else {}
    assert {"card/card.js", "gallery/gallery.js", "tasks/multilabel/multilabel.js"} <= tables.keys()
    used = {letter for found in tables.values() for letter in re.findall(r"\b([A-Z]): ", " ".join(found))}
    assert used == set(PAGES_OWN.upper())
