"""Doubtful answers to one class of an image are found out of fold. Unknown answers are neither judged nor shown."""

from dataclasses import replace
from uuid import uuid4

import numpy as np
import pytest
from cleanlab.internal.multilabel_scorer import ClassLabelScorer, MultilabelScorer
from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class

from shared.log import Fold
from shared.tasks.multilabel import MULTILABEL, Classes
from shared.wire.log import Row
from tests.trainer.grids import strips, unit, values
from tests.trainer.logs import WHEN, class_rows
from tests.trainer.review.test_label_issues import placed
from trainer.review import multilabel_issues
from trainer.review.multilabel_issues import SeveralJudge, one_class
from trainer.review.reviewer import Reviewer
from trainer.sync.snapshot import Snapshot

JUDGE = SeveralJudge()
NAMES = {0: "a", 1: "b", 2: "c"}


def project(images=240, wrong=8, seed=0):
    """Unit rows, answers to three classes of which the first `wrong` to class 1 are mistakes, and those mistakes."""
    rng = np.random.default_rng(seed)
    has = rng.random((images, 3)) < [0.5, 0.4, 0.3]
    rows = unit(np.c_[has + rng.normal(0, 0.15, has.shape), rng.normal(0, 0.3, (images, 5))])
    targets = has.astype(np.int8)
    targets[:wrong, 1] = 1 - targets[:wrong, 1]
    return rows, targets


def nobody(targets):
    return np.zeros(targets.shape, bool)


def judged(rows, targets):
    ids = np.arange(len(rows))
    known = JUDGE.judge(ids, rows, values(targets), nobody(targets), seed=0, progress=lambda _: None)
    assert known is not None
    return known


def found(known, targets):
    return JUDGE.doubts(known, values(targets), nobody(targets), [None] * len(targets))


def test_mistakes_are_listed_first_with_the_opposite_proposed():
    rows, targets = project()
    known = judged(rows, targets)
    issues = JUDGE.told(known, found(known, targets), values(targets), NAMES, 8)
    assert len({(each.image_id, each.label) for each in issues} & {(image, 1) for image in range(8)}) >= 7
    assert any(each.evidence for each in issues)
    for each in issues:
        assert each.given == (targets[each.image_id, each.label] == 1)
        assert (each.proposed, each.proposed_name) == (each.label, each.label_name)
        assert all(targets[near.image_id, each.label] != targets[each.image_id, each.label] for near in each.evidence)
    assert [each.quality for each in issues] == sorted(each.quality for each in issues)


def test_a_class_is_not_doubtful_for_being_rare():
    """The model learns little of so few strips, and each digit is on a quarter of them."""
    rows, targets = strips(100)
    doubts = found(judged(rows, targets), targets).of_class.values()
    given = np.concatenate([each.given for each in doubts])
    assert 0.3 < (given == 1).mean() < 0.7


def test_the_estimate_of_errors_holds():
    rows, targets = project(wrong=24)
    errors = found(judged(rows, targets), targets).errors
    assert errors.enough
    assert errors.low <= 24 <= errors.high


def test_unknown_answers_are_not_judged():
    rows, targets = project()
    targets[100:160, 2] = -1
    known = judged(rows, targets)
    assert not known.judged[100:160, known.classes.tolist().index(2)].any()
    issues = JUDGE.told(known, found(known, targets), values(targets), NAMES, 1_000)
    assert not {(each.image_id, each.label) for each in issues} & {(image, 2) for image in range(100, 160)}


def test_new_answers_about_one_class_change_no_doubt_about_another():
    rows, targets = project()
    targets[100:160, 2] = -1
    filled = targets.copy()
    filled[100:160, 2] = 0
    listed = []
    for each in (targets, filled):
        known = judged(rows, each)
        issues = JUDGE.told(known, found(known, each), values(each), NAMES, 1_000)
        listed.append({issue.image_id for issue in issues if issue.label == 1 and issue.quality < 0.3})
    assert listed[0] == listed[1] >= set(range(7))


def test_the_scores_are_those_of_cleanlab_for_several_labels(monkeypatch):
    monkeypatch.setattr("trainer.review.label_issues.NEIGHBOURS_SHARE", 0.0)
    rows, targets = project()
    known = judged(rows, targets)
    expected = MultilabelScorer(ClassLabelScorer.SELF_CONFIDENCE).get_class_label_quality_scores(
        targets.astype(np.int64), known.probabilities.astype(np.float64)
    )
    lists = [np.flatnonzero(each).tolist() for each in targets]
    called = find_multilabel_issues_per_class(lists, known.probabilities.astype(np.float64), n_jobs=1)
    for column, doubts in found(known, targets).of_class.items():
        np.testing.assert_allclose(doubts.quality, expected[doubts.rows, column], atol=1e-5)
        assert called[doubts.rows[doubts.confident], column].all()


def test_each_answer_is_judged_by_a_model_that_has_not_seen_it():
    rows, shown = strips(150, digits=range(4))
    known = judged(rows, shown[:, :4])
    for column in range(4):
        of = one_class(known, column)
        right = (of.probabilities.argmax(axis=1) == of.given)[of.judged]
        assert 0.6 < right.mean() < 1


@pytest.mark.parametrize(
    ("answers", "missing"),
    [
        ([], 10),
        ([Classes([1], [2])] * 10, 2),
        ([Classes([1])] * 5 + [Classes([], [1])] * 5, 0),
        ([Classes([1])] * 4 + [Classes([], [1])] * 4, 2),
    ],
)
def test_how_many_answers_are_missing(answers, missing):
    assert JUDGE.lacking(answers) == missing


def test_a_reviewer_judges_a_multi_label_project():
    rows, targets = project(120)
    given = dict(enumerate(values(targets)))
    snapshot = Snapshot(uuid4(), 1, given, frozenset(given), NAMES, task="multilabel")
    reviewer = Reviewer(0)
    assert reviewer.look(placed(rows, 1), snapshot, 10).renewing
    reviewer._judge()
    doubts = reviewer.look(placed(rows, 1), snapshot, 10)
    assert (doubts.judged, doubts.renewing) == (120, False)
    worst = {(each.image_id, each.label) for each in doubts.issues[:8]}
    assert len(worst & {(image, 1) for image in range(8)}) >= 6
    fixed = {**given, 0: Classes(given[0].yes ^ {1}, given[0].no ^ {1})}
    later = reviewer.look(placed(rows, 1), replace(snapshot, labels=fixed, acked_seq=2), 1_000)
    assert (0, 1) not in {(each.image_id, each.label) for each in later.issues}
    assert multilabel_issues.targets_of([given[0]]).shape == (1, 3)


def test_no_request_waits_for_a_ranking_that_takes_long(monkeypatch):
    """With 4,000 images of 40 classes, a ranking takes 18 s of a core."""
    rows, targets = project(120)
    given = dict(enumerate(values(targets)))
    snapshot = Snapshot(uuid4(), 1, given, frozenset(given), NAMES, task="multilabel")
    reviewer = Reviewer(0)
    reviewer.look(placed(rows, 1), snapshot, 10)
    reviewer._judge()
    before = {each.image_id for each in reviewer.look(placed(rows, 1), snapshot, 10).issues}
    monkeypatch.setattr(reviewer, "_ranking", 18.0)
    monkeypatch.setattr(reviewer, "_ranked_at", float("-inf"))
    fixed = {**given, 0: Classes(given[0].yes ^ {1}, given[0].no ^ {1})}
    later = replace(snapshot, labels=fixed, acked_seq=2)
    assert {each.image_id for each in reviewer.look(placed(rows, 1), later, 10).issues} == before
    assert 0 in before
    reviewer._judge()  # what the thread does once it is woken
    assert 0 not in {each.image_id for each in reviewer.look(placed(rows, 1), later, 10).issues}


def test_settling_one_class_of_an_image_confirms_no_other_class():
    """The estimate of errors counts the classes that nobody judged as before."""
    rows, targets = project(240, wrong=24)
    given = dict(enumerate(values(targets)))
    snapshot = Snapshot(uuid4(), 1, given, frozenset(given), NAMES, task="multilabel", before=given)
    settled = frozenset(range(120))
    known = judged(rows, targets)
    open_, of_class_2, of_all = (
        JUDGE.doubts(known, values(targets), JUDGE.trusted(known.ids, replace(snapshot, **more)), list(given.values()))
        for more in (
            {},
            {"settled": settled, "settled_classes": dict.fromkeys(settled, frozenset({2}))},
            {"settled": settled, "settled_classes": dict.fromkeys(settled, frozenset({0, 1, 2}))},
        )
    )
    column = known.classes.tolist().index(1)
    np.testing.assert_array_equal(of_class_2.of_class[column].errors.wrong, open_.of_class[column].errors.wrong)
    assert of_all.of_class[column].errors.count < open_.of_class[column].errors.count


def test_the_classes_that_were_settled_follow_from_the_log():
    fold = Fold(class_rows("a", "b", "c"), MULTILABEL)

    def says(who, action, yes, no, **more):
        fold.apply(
            Row(
                id=uuid4(),
                seq=fold.last_seq + 1,
                action=action,
                image_id=7,
                answer={"yes": yes, "no": no},
                annotator=who,
                created_at=WHEN,
                **more,
            )
        )

    def decided():
        state = fold.state(7)
        return {*MULTILABEL.decided(state.label, fold.votes(7).values()), *fold.reviewed(7)}

    says("ann", "label", [1], [2, 3])
    says("bob", "label", [1, 2], [3])
    says("ann", "settle", [1, 2], [3])  # on the page Disagreements: they differ only about class 2
    assert decided() == {2}
    says("ann", "settle", [1, 2], [3], source="review", proposed=3, reason="keep")
    assert decided() == {2, 3}
    says("ann", "settle", [2], [1, 3], source="review", proposed=1, reason="fix")
    assert decided() == {1, 2, 3}
