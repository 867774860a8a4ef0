from pathlib import Path
from uuid import uuid4

from labeler.progress import labels_over_time
from shared.wire.log import Undo
from shared.wire.project import ClassPatch
from tests.labeler.projects import answer, labeler, photos


def test_labels_by_class_and_stretch(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 60)
    with labeler(tmp_path) as service:
        assert service.history() == []
        for image_id in range(1, 61):
            service.annotate([answer(image_id, "cat" if image_id <= 30 else "dog")])
        stretches = service.history()
        assert len(stretches) <= labels_over_time.MOST
        assert stretches[-1].labels == 60
        assert [each.labels for each in stretches] == sorted({each.labels for each in stretches})
        assert [each.until for each in stretches] == sorted(each.until for each in stretches)
        assert set(stretches[0].classes) == {"cat"}
        assert set(stretches[-1].classes) == {"dog"}
        assert sum(each.classes.get("cat", 0) for each in stretches) == 30


def test_a_correction_moves_a_label_and_the_sum_is_that_of_all_pages(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 5)
    with labeler(tmp_path) as service:
        service.annotate([answer(image_id) for image_id in range(1, 6)])
        service.annotate([answer(1, "dog"), answer(2, "dog", action="settle", annotator="bob")])
        service.annotate(
            [answer(3, None, action="skip"), answer(4, None, action="skip", source="review", reason="unsure")]
        )
        found = service.history()
        assert found[-1].labels == service.progress().labels == 4
        per_class = [sum(each.classes.get(name, 0) for each in found) for name in ("cat", "dog")]
        assert per_class == list(service.progress().labels_per_class.values()) == [2, 2]


def test_people_who_disagree_give_no_label(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path, overlap=2) as service:
        service.annotate([answer(image_id) for image_id in (1, 2, 3)])
        service.annotate([answer(1, "dog", annotator="bob"), answer(2, annotator="bob")])
        assert service.history()[-1].labels == service.progress().labels == 2  # the first is a tie


def test_undone_and_imported_labels_are_left_out(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 4)
    with labeler(tmp_path) as service:
        service.annotate([answer(1), answer(2, source="import"), answer(3, None, action="skip"), answer(4, "dog")])
        service.undo(Undo(id=uuid4(), annotator="ann"))
        assert [each.classes for each in service.history()] == [{"cat": 1}]
        ids = {entry.name: entry.id for entry in service.classes.entries()}
        service.annotate([answer(4, "dog")])
        service.classes.change(ids["dog"], ClassPatch(into=ids["cat"]))
        assert sum(each.classes["cat"] for each in service.history()) == 2
        service.classes.delete(ids["cat"])
        assert service.history() == []
