"""A project whose images have several classes: answers to the log and back, by one person and by several."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from starlette.testclient import TestClient

from labeler.errors import AnnotationRefused
from labeler.service import Service
from labeler.web.api import create_api
from shared.log import Fold
from shared.tasks.multilabel import MULTILABEL, Classes
from shared.wire.dataset import SnapshotPost, SplitPost
from shared.wire.images import View
from shared.wire.imports import ImportPost, ImportRow
from shared.wire.log import Undo
from shared.wire.project import ClassPatch
from shared.wire.review import AcceptPost
from tests.labeler.followers import following
from tests.labeler.projects import answer, classes, labeler, photos, pushed
from tests.labeler.review.test_doubts import issue
from tests.services import wait_for

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


def test_a_change_of_one_class_builds_on_whatever_the_same_post_says_before_it(service: Service) -> None:
    service.annotate([classes(image, [CAT], [DOG]) for image in (1, 2, 3)])
    service.annotate([answer(1, None, action="skip"), classes(1, [HEN], merge=True)])
    assert labels(service)[1] == Classes({HEN})  # the skip left nothing to change
    removed = answer(2, None, action="settle", source="review", reason="remove")
    service.annotate([removed, classes(2, [HEN], merge=True, action="settle")])
    assert labels(service)[2] == Classes({HEN})
    service.annotate([classes(4, [DOG]), classes(4, [HEN], merge=True, action="settle")])
    assert labels(service)[4] == Classes({DOG, HEN})
    first = classes(5, [CAT])
    service.annotate([first])
    undo = answer(5, None, action="undo", target=first.id)
    with pytest.raises(AnnotationRefused, match="next request"):
        service.annotate([undo, classes(5, [HEN], merge=True)])
    service.annotate([undo])
    service.annotate([classes(5, [HEN], merge=True)])
    assert labels(service)[5] == Classes({HEN})


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


def test_several_people_a_tie_of_one_class_is_open_and_a_settle_decides(project: Path) -> None:
    with animals(project, overlap=2) as service:
        for who, first, third in (("ann", ([CAT], [DOG, HEN]), [CAT]), ("bob", ([CAT, DOG], [HEN]), [DOG])):
            service.annotate([classes(1, *first, annotator=who), classes(2, [CAT], annotator=who)])
            service.annotate([classes(3, third, {CAT, DOG} - set(third), annotator=who)])
        assert labels(service) == {1: Classes({CAT}, {HEN}), 2: Classes({CAT})}
        assert service.log.fold.state(3).disputed
        page = service.disagreements.page()
        assert [(each.image_id, each.name, each.open_classes) for each in page.items] == [
            (1, "cat", [DOG]), (3, None, [CAT, DOG])
        ]  # fmt: skip
        assert page.items[0].answer == {"yes": [CAT], "no": [HEN]}
        assert [each.name for each in page.items[0].opinions] == ["cat", "cat, dog"]
        found = service.disagreements.agreement()
        assert found.images == 3
        assert found.agreed == pytest.approx(1 / 3)
        assert {each.name for each in found.classes} == {"cat", "dog", "hen"}
        assert service.disagreements.settle(classes(1, [CAT], [DOG, HEN], action="settle", annotator="eve"))
        assert not service.disagreements.settle(classes(1, [DOG], action="settle"))
        assert labels(service)[1] == Classes({CAT}, {DOG, HEN})
        (settled,) = service.disagreements.page("settled").items
        assert (settled.open_classes, settled.settled and settled.settled.answer) == (
            [], {"yes": [CAT], "no": [DOG, HEN]}
        )  # fmt: skip


def test_history_and_progress_count_images_and_each_of_their_classes(service: Service) -> None:
    service.annotate([classes(1, [CAT, DOG]), classes(2, [], [CAT, DOG]), classes(3, [DOG], [CAT])])
    progress = service.progress()
    assert (progress.labels, progress.labels_per_class) == (3, {"cat": 1, "dog": 2, "hen": 0})
    assert (service.history()[-1].labels, sum(each.classes.get("dog", 0) for each in service.history())) == (3, 2)


def test_the_grid_finds_images_by_what_their_label_says_of_a_class(service: Service) -> None:
    service.annotate([classes(1, [CAT, DOG]), classes(2, [], [CAT, DOG]), classes(3, [DOG])])
    found = {says: service.gallery.listing(View(label=CAT, says=says)).image_ids for says in ("yes", "no", "nothing")}
    assert (found["yes"], found["no"]) == ([1], [2])
    assert sorted(found["nothing"]) == [3, 4, 5, 6]
    assert service.gallery.listing(View(label=CAT, says="nothing", status="labeled")).image_ids == [3]


def test_a_merged_class_a_renamed_one_and_a_deleted_one_leave_the_rest_of_each_answer(service: Service) -> None:
    service.annotate([classes(1, [CAT], [DOG]), classes(2, [DOG], [CAT]), classes(3, [], [DOG]), classes(4, [HEN])])
    service.classes.change(CAT, ClassPatch(name="kitten"))
    service.classes.change(DOG, ClassPatch(into=CAT))
    service.classes.delete(HEN)
    assert labels(service) == {1: Classes({CAT}), 2: Classes({CAT})}
    assert service.progress().labels_per_class == {"kitten": 2}
    assert service.annotate([classes(5, ["dog"])]).accepted == 1  # the old name still stands for it
    assert labels(service)[5] == Classes({CAT})


def doubt(image_id: int, class_id: int, *, given: bool, confidence: float = 0.95) -> dict[str, Any]:
    return {**issue(image_id, class_id, confidence), "label": class_id, "given": given, "evidence": []}


def test_a_doubtful_yes_or_no_is_judged_class_by_class(project: Path) -> None:
    with following() as (follower, url), animals(project, trainer_url=url, trainer_poll_seconds=0.05) as service:
        wait_for(lambda: (status := service.trainer.status()) and status.log_id)
        service.annotate([classes(1, [CAT], [DOG, HEN]), classes(2, [DOG], [CAT])])
        follower.issues = [
            doubt(1, CAT, given=True), doubt(1, DOG, given=False), doubt(1, HEN, given=True), doubt(2, DOG, given=True),
            doubt(2, HEN, given=False), doubt(3, CAT, given=True)
        ]  # fmt: skip
        page = service.review.page(10)  # what is answered otherwise, or not at all, is no doubt
        assert [(each.image_id, each.label, each.given) for each in page.items] == [
            (1, CAT, True), (1, DOG, False), (2, DOG, True)
        ]  # fmt: skip
        kept = {"action": "settle", "source": "review", "reason": "keep", "proposed": CAT, "merge": True}
        service.annotate([classes(1, [CAT], **kept)])
        page = service.review.page(10)
        assert [(each.image_id, each.label) for each in page.items] == [(1, DOG), (2, DOG)]
        assert (page.judged, page.errors) == (1, 0)
        receipt = service.review.accept(AcceptPost(annotator="ann", confidence=0.9))
        assert receipt.accepted == 2
        assert labels(service) == {1: Classes({CAT, DOG}, {HEN}), 2: Classes((), {CAT, DOG})}
        assert (service.review.page(10).open, service.review.page(10).judged) == (0, 3)
        assert service.undo(Undo(id=answer(1).id, annotator="ann")).undone == 2
        assert labels(service) == {1: Classes({CAT}, {DOG, HEN}), 2: Classes({DOG}, {CAT})}
        service.classes.change(DOG, ClassPatch(into=CAT))  # that an image is no dog says nothing of cats
        assert service.review.page(10).items == []
        assert service.review.accept(AcceptPost(annotator="ann", confidence=0.9)).accepted == 0


def test_similar_images_have_several_classes(project: Path) -> None:
    with following() as (follower, url), animals(project, trainer_url=url, trainer_poll_seconds=0.05) as service:
        wait_for(lambda: (status := service.trainer.status()) and status.log_id)
        follower.groups = [[1, 2, 3]]
        service.annotate([classes(2, [CAT, DOG]), classes(3, [HEN], [CAT])])
        found = {each.image_id: each for each in service.reminder.of(1)}
        assert (found[2].label, found[2].name, found[2].answer) == (None, "cat, dog", {"yes": [CAT, DOG], "no": []})
        assert (found[3].label, found[3].name) == (HEN, "hen")


def test_every_answer_reaches_the_trainer_once_also_after_a_restart(project: Path) -> None:
    with following() as (follower, url):
        values = {"trainer_url": url, "trainer_poll_seconds": 0.05, "buffer_size": 1}
        with animals(project, **values) as service:
            service.annotate([classes(1, [CAT], [DOG]), classes(2, [DOG])])
            wait_for(lambda: len(follower.rows) == service.log.last_seq)
        with animals(project, **values) as service:
            service.annotate([classes(2, [HEN], [CAT], merge=True)])
            service.undo(Undo(id=answer(1).id, annotator="ann"))
            wait_for(lambda: len(follower.rows) == service.log.last_seq)
            assert {batch.task for batch in follower.batches} == {"multilabel"}
            assert [row.seq for row in follower.rows] == [*range(1, service.log.last_seq + 1)]
            assert Fold(follower.rows, MULTILABEL).labels == labels(service) == {
                1: Classes({CAT}, {DOG}), 2: Classes({DOG})
            }  # fmt: skip


def test_the_routes_take_and_give_answers_of_several_classes(project: Path) -> None:
    with animals(project) as service:
        client = TestClient(create_api(service))
        given = {"image_id": 1, "action": "label", "annotator": "ann", "answer": {"yes": [CAT, "dog"], "no": []}}
        one, other = str(uuid4()), str(uuid4())
        posted = client.post("/annotations", json={"annotations": [given | {"id": one}]})
        assert (posted.status_code, posted.json()["accepted"]) == (200, 1)
        bad = given | {"id": other, "answer": {"yes": ["owl"]}}
        refused = client.post("/annotations", json={"annotations": [bad, given | {"id": str(uuid4())}]})
        assert refused.status_code == 422
        assert refused.json()["invalid"] == [{"id": other, "reason": "there is no class 'owl': add it first"}]
        rows = client.get("/annotations?after=0").json()
        assert (rows["task"], rows["annotations"][-1]["answer"]) == ("multilabel", {"yes": [CAT, DOG], "no": []})
        assert client.get("/project").json()["task"] == "multilabel"
        assert client.get(f"/grid?label={DOG}&says=nothing").json()["total"] == 5


def test_a_snapshot_differs_where_a_no_became_unknown(service: Service) -> None:
    service.annotate([classes(1, [CAT], [DOG]), classes(2, [], [CAT])])
    service.snapshots.save(SnapshotPost(name="before"))
    service.annotate([classes(1, [CAT])])
    found = service.snapshots.diff("before", None, 10)
    assert [(each.image_id, each.label) for each in found.differences] == [(1, ("cat (not dog)", "cat"))]


def test_a_split_by_class_deals_out_the_rarest_class_of_each_image(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 40)
    with animals(tmp_path) as service:
        rows = [
            {
                "line": n,
                "uri": f"{n:04d}.png",
                "answer": {"yes": (["cat", "dog"], ["cat"], ["cat"], [])[n % 4], "no": ["hen"]},
            }
            for n in range(40)
        ]
        service.imports.take(ImportPost(rows=[ImportRow.model_validate_json(json.dumps(row)) for row in rows]))
        assert MULTILABEL.strata(labels(service))[1] == DOG
        service.splitting.draw(SplitPost(test=0.2, by="class", seed=3))
        tested = [labels(service)[image] for image, split in service.tally.splits.items() if split == "test"]
        assert len(tested) == 8
        assert sum(DOG in value.yes for value in tested) == 2
