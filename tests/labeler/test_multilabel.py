"""A project whose images have several classes: answers to the log and back, by one person and by several."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from labeler.errors import AnnotationRefused
from labeler.service import Service
from shared.log import Fold
from shared.tasks.multilabel import MULTILABEL, Classes
from shared.wire.dataset import SnapshotPost
from shared.wire.log import Undo
from tests.labeler.projects import answer, classes, labeler, photos, pushed

CAT, DOG, HEN = 1, 2, 3


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with six photos."""
    photos(tmp_path / "photos", 6)
    return tmp_path


@pytest.fixture
def service(project: Path) -> Iterator[Service]:
    with animals(project) as opened:
        yield opened


def animals(project: Path, **values: Any) -> AbstractContextManager[Service]:
    return labeler(project, task="multilabel", classes=["cat", "dog", "hen"], **values)


def labels(service: Service) -> dict[int, Classes]:
    return service.log.fold.labels


def test_an_answer_is_checked_kept_undone_and_brought_back(project: Path) -> None:
    with animals(project) as service:
        assert service.project().task == "multilabel"
        first = classes(1, [CAT, "dog"], ["hen"])
        service.annotate([first, classes(2, [], [CAT, DOG, HEN]), answer(3, None, action="skip")])
        assert service.annotate([first]).duplicates == 1
        assert service.project().images.labeled == 2
        assert service.progress().labels_per_class == {"cat": 1, "dog": 1, "hen": 0}
        assert labels(service) == {1: Classes({CAT, DOG}, {HEN}), 2: Classes((), {CAT, DOG, HEN})}
        service.snapshots.save(SnapshotPost(name="two"))
        undo = Undo(id=answer(1).id, annotator="ann", target=first.id)
        service.undo(undo)
        assert labels(service) == {2: Classes((), {CAT, DOG, HEN})}
        service.snapshots.restore("two", "ann")
        assert labels(service)[1] == Classes({CAT, DOG}, {HEN})
        page = service.log.page(0, 100)
        assert page.task == "multilabel"
        assert [(row.label, row.answer) for row in page.annotations if row.id == first.id] == [
            (None, {"yes": [CAT, DOG], "no": [HEN]})
        ]
        assert Fold(page.annotations, MULTILABEL).labels == labels(service)
    with animals(project) as again:
        assert labels(again)[1] == Classes({CAT, DOG}, {HEN})


def test_of_a_post_with_a_bad_answer_nothing_is_written_and_each_bad_one_is_named(service: Service) -> None:
    before, good = service.log.last_seq, classes(1, [CAT])
    bad = [
        answer(2, "cat"),
        answer(2, None),
        classes(2),
        classes(2, [CAT], [CAT]),
        classes(2, [99]),
        answer(2, None, action="skip", answer={"yes": [CAT], "no": []}),
        classes(1, [DOG], id=good.id),
    ]
    with pytest.raises(AnnotationRefused) as refused:
        service.annotate([good, *bad])
    assert [each["id"] for each in refused.value.invalid] == [str(each.id) for each in bad]
    assert all(" " in each["reason"] for each in refused.value.invalid)
    assert service.log.last_seq == before
    assert service.annotate([good]).accepted == 1


def test_the_grid_changes_one_class_of_many_answers_and_one_undo_takes_it_back(service: Service) -> None:
    service.annotate([classes(1, [CAT], [DOG]), classes(2, [], [CAT, DOG, HEN])])
    before = dict(labels(service))
    post = [classes(image, [HEN], merge=True, source="grid") for image in (1, 2, 3)]
    service.annotate(post)
    assert labels(service) == {
        1: Classes({CAT, HEN}, {DOG}), 2: Classes({HEN}, {CAT, DOG}), 3: Classes({HEN})
    }  # fmt: skip
    assert service.annotate(post).duplicates == 3
    more = [classes(1, [], [HEN], merge=True, source="grid"), classes(1, [DOG], merge=True, source="grid")]
    service.annotate(more)
    assert labels(service)[1] == Classes({CAT, DOG}, {HEN})
    assert service.annotate(more).duplicates == 2
    tiles = {tile.image_id: tile for tile in service.gallery.tiles([1, 2, 4], "ann").images}
    assert tiles[2].answer == {"yes": [HEN], "no": [CAT, DOG]}
    assert tiles[4].answer is None
    for step in (more, post):
        service.undo(Undo(id=answer(1).id, annotator="ann", target=step[0].id))
    assert labels(service) == before


def test_a_settle_changes_one_class_of_the_images_label(service: Service) -> None:
    service.annotate([classes(1, [CAT], [DOG], annotator="bob")])
    service.annotate([classes(1, [HEN], merge=True, source="grid", action="settle")])
    assert labels(service)[1] == Classes({CAT, HEN}, {DOG})
    assert service.addresses.open(1, "bob", "tab").answer == {"yes": [CAT, HEN], "no": [DOG]}
    assert service.addresses.open(1, "bob", "tab").given.answer == {"yes": [CAT], "no": [DOG]}


def test_a_suggestion_says_whether_the_model_chose_it(service: Service) -> None:
    suggestions = [{"label": CAT, "confidence": 0.9, "chosen": True}, {"label": DOG, "confidence": 0.2}]
    queries = [{"image_id": 4, "suggestions": suggestions}]
    service.push(pushed(service, [], queries=queries))
    (item,) = service.serve("ann", "tab", 1).items
    assert [(each.name, each.confidence, each.chosen) for each in item.suggestions] == [
        ("cat", 0.9, True), ("dog", 0.2, None)
    ]  # fmt: skip
    assert service.project().preselect_suggestions is False
    service.running.change({"preselect_suggestions": True})
    assert service.project().preselect_suggestions is True
