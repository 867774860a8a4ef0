from pathlib import Path
from uuid import uuid4

import pytest

from labeler.problems import AnnotationRefused, Conflict, Forbidden, Missing
from labeler.service import Service
from shared.messages import ClassPatch, Undo
from tests.labeler.projects import answer, asked, labeler, photos


def undo(annotator: str = "ann", **values: object) -> Undo:
    return Undo.model_validate({"id": uuid4(), "annotator": annotator} | values)


def label_of(service: Service, image_id: int) -> str | None:
    label = service.log.fold.state(image_id).label
    return None if label is None else service.classes.name(label)


def test_all_or_nothing(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path) as service:
        before = service.log.last_seq
        good = answer(1)
        bad = [
            answer(99),
            answer(2, "bird"),
            answer(2, None),
            answer(2, "cat", action="skip"),
            answer(2, 77),
            answer(3, "dog", id=good.id),
        ]
        with pytest.raises(AnnotationRefused) as refused:
            service.annotate([good, *bad])
        assert [each["id"] for each in refused.value.invalid] == [str(each.id) for each in bad]
        assert refused.value.invalid[1]["reason"] == "there is no class 'bird': add it first"
        assert service.log.last_seq == before
        assert service.annotate([good]).accepted == 1


def test_sent_again_changes_nothing(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        first, second = answer(1), answer(2, "dog")
        assert service.annotate([first, first]).duplicates == 1
        again = service.annotate([first, second])
        assert (again.accepted, again.duplicates) == (1, 1)
        with pytest.raises(AnnotationRefused, match="another annotation has this id"):
            service.annotate([answer(1, "dog", id=first.id)])


def test_sent_again_after_its_class_was_renamed_or_merged(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        cat, dog = answer(1, "cat"), answer(2, "dog")
        service.annotate([cat, dog])
        ids = {entry.name: entry.id for entry in service.classes.entries()}
        service.change_class(ids["cat"], ClassPatch(name="kitten"))
        service.change_class(ids["dog"], ClassPatch(into=ids["cat"]))
        assert service.annotate([cat, dog]).duplicates == 2
        service.delete_class(ids["cat"])
        assert service.annotate([cat, dog]).duplicates == 2


def test_a_label_may_be_an_id_a_name_or_an_old_name(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path) as service:
        cat = service.classes.entries()[0].id
        service.change_class(cat, ClassPatch(name="kitten"))
        service.annotate([answer(1, cat), answer(2, "cat"), answer(3, "kitten")])
        assert [label_of(service, image_id) for image_id in (1, 2, 3)] == ["kitten"] * 3


def test_a_late_answer_never_overrides(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        service.serve("slow", None, 1)
        service.leases.free("slow")  # expired
        service.annotate([answer(1, "dog", annotator="quick")])
        service.annotate([answer(1, "cat", annotator="slow")])
        assert label_of(service, 1) == "dog"
        assert service.log.page(0, 100).annotations[-1].source == "late"


def test_a_held_image_is_never_late(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path, overlap=2) as service:
        for who in ("ann", "bob"):
            service.serve(who, None, 1)
        service.annotate([answer(1, "dog", annotator="ann"), answer(1, "dog", annotator="bob")])
        assert [row.source for row in service.log.page(0, 100).annotations][-2:] == [None, None]


def test_anyone_may_answer_without_a_lease(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        service.serve("ann", None, 1)
        service.annotate([answer(1, "dog", annotator="script")])
        assert label_of(service, 1) == "dog"


def test_a_settle_decides_over_answers(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        service.annotate([answer(1, "dog")])
        service.annotate([answer(1, "cat", action="settle", annotator="boss")])
        assert label_of(service, 1) == "cat"


def test_an_answer_ends_its_lease(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        service.serve("ann", "tab", 1)
        held = service.leases.leased()
        service.annotate([answer(held[0], session="tab")])
        assert service.leases.leased() == []


def test_undo_takes_answers_back_one_after_the_other(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path) as service:
        service.annotate([answer(1), answer(2, annotator="bob"), answer(3, None, action="skip")])
        assert service.undo(undo(session="tab")).image_id == 3
        assert service.leases.holds(3, "tab")
        assert service.undo(undo(session="tab")).image_id == 1
        with pytest.raises(Missing, match="no answer of 'ann' left"):
            service.undo(undo())
        assert label_of(service, 2) == "cat"


def test_answers_for_another_project_are_refused(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        with pytest.raises(Conflict, match="another project"):
            service.annotate([answer(1)], uuid4())
        assert service.annotate([answer(1)], service.log.log_id).accepted == 1


def test_an_undo_may_come_as_an_annotation(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        given = answer(1)
        service.annotate([given, answer(2)])
        back = answer(1, None, action="undo", target=given.id)
        assert service.annotate([back]).accepted == 1
        assert service.annotate([back]).duplicates == 1
        assert service.log.fold.state(1).label is None
        for wrong in (
            answer(1, None, action="undo"),
            answer(1, None, action="undo", target=given.id),  # taken back already
            answer(2, None, action="undo", target=uuid4()),
        ):
            with pytest.raises(AnnotationRefused):
                service.annotate([wrong])


def test_undo_is_idempotent_by_id(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        given = answer(1)
        service.annotate([given, answer(2)])
        first = undo()
        assert service.undo(first).image_id == service.undo(first).image_id == 2
        assert label_of(service, 1) == "cat"
        with pytest.raises(Conflict):
            service.undo(undo(id=given.id))


def test_an_undone_image_is_not_asked_of_others_meanwhile(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        service.annotate([answer(1)])
        assert asked(service, "bob") == []
        service.undo(undo(session="tab"))
        assert asked(service, "bob") == []
        service.leases.free("tab")
        assert asked(service, "bob") == [1]


def test_only_the_annotator_takes_an_answer_back(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        given = answer(1)
        service.annotate([given])
        with pytest.raises(Forbidden, match="'ann'"):
            service.undo(undo("bob", target=given.id))
        assert service.undo(undo("ann", target=given.id)).image_id == 1
        with pytest.raises(Missing):
            service.undo(undo("ann", target=given.id))


def test_undo_after_a_restart(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        service.annotate([answer(1), answer(2)])
        service.undo(undo())
    with labeler(tmp_path) as service:
        assert service.undo(undo()).image_id == 1
