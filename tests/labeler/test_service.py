from pathlib import Path
from uuid import uuid4

import pytest

from labeler.service import current
from shared.wire.log import Undo
from shared.wire.queries import Query, Suggestion
from tests.labeler.projects import answer, asked, labeler, photos, pushed


def test_there_is_one_service_while_it_runs(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        assert current() is service
    with pytest.raises(RuntimeError):
        current()


def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 30)
    shares = {"test_set_frac": 0.2, "test_free_labels": 2}
    with labeler(tmp_path, **shares) as service:
        service.annotate([answer(item.image_id, "dog") for item in service.serve("ann", None, 8).items])
        service.undo(Undo(id=uuid4(), annotator="ann"))
        service.leases.free("ann")
        service.push(pushed(service, [9, 4, 28, 17]))
        before = (asked(service), service.project(), service.progress().labels_per_class)
    with labeler(tmp_path, **shares) as service:
        assert asked(service) == before[0]
        after = service.project()
        for name in ("log_id", "last_seq", "classes", "images", "splits", "query_version", "catalog_version"):
            assert getattr(after, name) == getattr(before[1], name), name
        assert service.progress().labels_per_class == before[2]


def test_suggestions_go_by_the_names_of_now(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        cat, dog = (entry.id for entry in service.classes.entries())
        said = [Suggestion(label=cat, confidence=0.6), Suggestion(label=dog, confidence=0.4)]
        service.push(pushed(service, [], queries=[Query(image_id=1, suggestions=said)]))
        service.classes.delete(dog)
        item = service.serve("ann", None, 1).items[0]
        assert [(each.name, each.confidence) for each in item.suggestions] == [("cat", 0.6)]


def test_in_blind_mode_nobody_sees_what_the_model_thinks(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        cat = service.classes.entries()[0].id
        said = Query(image_id=1, reason="perhaps cat", suggestions=[Suggestion(label=cat, confidence=0.6)])
        service.push(pushed(service, [], queries=[said]))
        service.running.change({"blind_mode": True})
        item = service.serve("ann", None, 1).items[0]
        assert (item.suggestions, item.reason, service.project().blind_mode) == ([], None, True)
        service.running.change({"blind_mode": False})
        assert service.serve("ann", None, 1).items[0].reason == "perhaps cat"


def test_the_log_is_the_only_truth_about_labels(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 4)
    with labeler(tmp_path) as service:
        service.annotate([answer(1), answer(2, "dog"), answer(3, None, action="skip"), answer(4, None, action="flag")])
        counts = service.project().images
        assert (counts.labeled, counts.skipped, counts.flagged, counts.unlabeled) == (2, 1, 1, 0)
        assert service.serve("ann", None, 5).remaining == 0
