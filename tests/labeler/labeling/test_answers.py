from datetime import datetime, tzinfo
from pathlib import Path
from typing import Self
from uuid import uuid4

import pytest

from labeler.errors import AnnotationRefused, Conflict, Forbidden, Missing
from labeler.service import Service
from shared.web.parts import PART_BYTES
from shared.wire.imports import ImportPost, ImportRow
from shared.wire.log import AnnotationReceipt, Undo
from shared.wire.project import ClassPatch
from tests.labeler.projects import answer, asked, labeler, photos

pytestmark = pytest.mark.usefixtures("both_stores")


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
        service.classes.change(ids["cat"], ClassPatch(name="kitten"))
        service.classes.change(ids["dog"], ClassPatch(into=ids["cat"]))
        assert service.annotate([cat, dog]).duplicates == 2
        service.classes.delete(ids["cat"])
        assert service.annotate([cat, dog]).duplicates == 2


def test_a_label_may_be_an_id_a_name_or_an_old_name(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path) as service:
        cat = service.classes.entries()[0].id
        service.classes.change(cat, ClassPatch(name="kitten"))
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


def test_a_repeated_undo_names_all_images_however_long_their_rows_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labeler.store.annotation_log._ROW_BYTES", PART_BYTES)  # a message holds one row
    photos(tmp_path / "photos", 4)
    with labeler(tmp_path) as service:
        service.annotate([answer(image, source="grid") for image in (1, 2, 3)])
        first = undo(page="grid")
        assert service.undo(first).undone == service.undo(first).undone == 3


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


def bulk(service: Service, image_ids: list[int], label: str = "cat", **values: object) -> AnnotationReceipt:
    """A request of the grid: one answer for many images, in their current state."""
    given = {"source": "grid", "as_of": service.log.last_seq} | values
    return service.annotate([answer(image_id, label, **given) for image_id in image_ids])


def test_answers_from_the_grid_are_one_step_of_undo(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 6)
    with labeler(tmp_path) as service:
        service.annotate([answer(1, "dog")])
        assert bulk(service, [2, 3, 4]).accepted == 3
        bulk(service, [5])
        assert service.undo(undo()).undone == 1
        back = service.undo(undo(session="tab"))
        assert (back.image_id, back.undone) == (2, 3)
        assert [label_of(service, image_id) for image_id in range(1, 6)] == ["dog", None, None, None, None]
        assert service.undo(undo()).image_id == 1


def test_undo_of_one_page_leaves_what_another_did_and_names_much_before_it_goes(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 6)
    with labeler(tmp_path) as service:
        bulk(service, [1, 2, 3])
        service.annotate([answer(4), answer(5, action="settle", source="review", reason="fix")])
        with pytest.raises(Conflict, match="an answer given on the page Review") as named:
            service.undo(undo(ask=True))
        assert named.value.fields["undone"] == 1
        with pytest.raises(Conflict, match="3 answers given at once on the page Grid") as named:
            service.undo(undo(ask=True, page="grid"))
        assert [label_of(service, image_id) for image_id in range(1, 6)] == ["cat"] * 5
        assert service.undo(undo(target=named.value.fields["target"])).undone == 3
        with pytest.raises(Missing, match="of the page Grid left"):
            service.undo(undo(page="grid"))
        assert service.undo(undo(ask=True, page="review")).image_id == 5
        assert service.undo(undo(ask=True)).image_id == 4
        row = ImportRow(line=1, uri="0005.png", label="cat", annotator="ann")
        service.imports.take(ImportPost(rows=[row]))
        with pytest.raises(Missing, match="no answer of 'ann' left"):
            service.undo(undo())  # what was brought along is no step of hers


def test_a_step_is_one_step_after_a_restart_and_by_any_of_its_answers(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 5)
    with labeler(tmp_path) as service:
        bulk(service, [1, 2])
        bulk(service, [3, 4])
    with labeler(tmp_path) as service:
        rows = service.log.page(0, 100).annotations
        assert [row.source for row in rows if row.action == "label"] == ["grid"] * 4
        second = next(row for row in rows if row.image_id == 2)
        assert service.undo(undo(target=second.id)).undone == 2
        again = undo()
        assert [service.undo(again).undone for _ in range(2)] == [2, 2]
        assert service.log.fold.labels == {}


def test_an_answer_undone_before_is_not_undone_again_with_its_step(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path) as service:
        bulk(service, [1, 2, 3])
        row = next(row for row in service.log.page(0, 100).annotations if row.image_id == 2)
        service.annotate([answer(2, None, action="undo", target=row.id)])
        assert service.undo(undo()).undone == 2


def test_images_that_others_answered_meanwhile_are_left_out_and_reported(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 5)
    with labeler(tmp_path) as service:
        bulk(service, [5], "dog", annotator="bob")
        seen = service.log.last_seq
        service.annotate([answer(1, "dog", annotator="bob"), answer(2, "dog")])
        receipt = bulk(service, [1, 2, 3], as_of=seen)
        assert (receipt.accepted, receipt.answered, receipt.held) == (2, [1], [])
        assert [label_of(service, image_id) for image_id in (1, 2, 3)] == ["dog", "cat", "cat"]
        assert bulk(service, [5], as_of=seen, action="settle").accepted == 1  # was to be seen
        assert label_of(service, 5) == "cat"


def test_images_on_another_screen_are_left_out_and_reported(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path) as service:
        shown = service.serve("bob", "his tab", 1).items[0].image_id
        own = service.serve("ann", "another tab of mine", 1).items[0].image_id
        receipt = bulk(service, [1, 2, 3])
        assert (receipt.held, receipt.accepted) == ([shown], 2)
        assert label_of(service, own) == "cat"


def test_sent_again_says_the_same_and_writes_nothing_twice(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path) as service:
        seen = service.log.last_seq
        service.annotate([answer(1, "dog", annotator="bob")])
        answers = [answer(image_id, "cat", source="grid", as_of=seen) for image_id in (1, 2)]
        first, second = service.annotate(answers), service.annotate(answers)
        assert (first.accepted, first.answered) == (1, [1])
        assert (second.accepted, second.duplicates, second.answered) == (0, 1, [1])


def test_with_overlap_a_second_opinion_is_wanted_and_a_third_is_not(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path, overlap=2) as service:
        seen = service.log.last_seq
        service.annotate([answer(1, "dog", annotator="bob")])
        assert bulk(service, [1], as_of=seen).accepted == 1
        assert bulk(service, [1], as_of=seen, annotator="eve").answered == [1]


def test_the_grid_answers_no_held_out_image(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 40)
    with labeler(tmp_path, test_set_frac=0.3, validation_set_frac=0.2) as service:
        for split in ("test", "validation"):
            held_out = next(image_id for image_id, each in service.tally.splits.items() if each == split)
            with pytest.raises(AnnotationRefused, match="held out for measuring"):
                bulk(service, [held_out])


class _Stopped(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls(2026, 1, 1, tzinfo=tz)


def test_two_posts_from_the_grid_in_one_instant_are_two_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labeler.store.annotation_log.datetime", _Stopped)
    photos(tmp_path / "photos", 6)
    with labeler(tmp_path) as service:
        bulk(service, [1, 2])
        bulk(service, [3, 4])
        assert service.undo(undo()).undone == 2
        assert [label_of(service, image_id) for image_id in range(1, 5)] == ["cat", "cat", None, None]
    with labeler(tmp_path) as again:
        assert again.undo(undo()).undone == 2
        assert not again.log.fold.labels
