from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.log import Fold
from shared.tasks.multilabel import LARGEST_CLASS, MULTILABEL, Classes
from shared.tasks.task import AnswerRefusedError
from shared.wire.log import Row
from tests.shared.test_log import ANIMALS, CAT, COW, DOG, added, deleted, log, merged, renamed

IDS = st.integers(-5, 60)
ANSWERS = st.tuples(st.frozensets(IDS), st.frozensets(IDS)).map(lambda both: Classes(both[0], both[1] - both[0]))


def said(image: int, yes: Any, no: Any = (), by: str = "ann", action: str = "label") -> dict[str, Any]:
    return {"action": action, "image_id": image, "annotator": by, "answer": {"yes": list(yes), "no": list(no)}}


def after(*events: dict[str, Any]) -> Fold:
    """The fold after three classes (rows 1 to 3) and `events`."""
    return Fold(log(*ANIMALS, *events), MULTILABEL)


def refusal(given: object, fold: Fold) -> str:
    with pytest.raises(AnswerRefusedError) as refused:
        MULTILABEL.check(given, fold)
    return str(refused.value)


@given(ANSWERS)
def test_an_answer_is_hashable_and_comes_back_from_its_row(value: Classes) -> None:
    assert value == Classes(sorted(value.yes), sorted(value.no))
    assert hash(value) == hash(Classes(value.yes, value.no))
    assert value.known == value.yes | value.no
    positive = Classes({each for each in value.yes if each > 0}, {each for each in value.no if each > 0})
    row = Row.model_validate(log(said(1, positive.yes, positive.no))[0].model_dump())
    assert MULTILABEL.of_row(row) == (positive if positive.known else None)


def test_a_class_is_not_yes_and_no() -> None:
    for yes, no in (({1}, {1}), ({LARGEST_CLASS}, ())):
        with pytest.raises(ValueError, match=r"both yes and no|no class id"):
            Classes(yes, no)


def test_an_answer_names_classes_by_id_or_name() -> None:
    fold = after(renamed(DOG, "hound"))
    assert MULTILABEL.check({"yes": ["CAT "], "no": [DOG, "dog"]}, fold) == Classes({CAT}, {DOG})
    assert MULTILABEL.check({"no": [CAT, DOG, COW]}, fold) == Classes((), {CAT, DOG, COW})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (CAT, "not of the form"),
        ([CAT], "not of the form"),
        ({"yes": [CAT], "maybe": []}, "not of the form"),
        ({"yes": CAT}, "`yes` is not a list"),
        ({"yes": [], "no": [True]}, "`no` is not a list of class ids or class names"),
        ({"yes": [CAT], "merge": 1}, "`merge` is true or false"),
        ({"yes": [], "no": []}, "says nothing about any class"),
        ({}, "says nothing about any class"),
        ({"yes": ["cat"], "no": [CAT]}, "both yes and no to the class 'cat'"),
        ({"yes": ["dgo"]}, "no class 'dgo': add it first, or did you mean 'dog'"),
        ({"yes": [CAT], "no": [77]}, "no class 77"),
    ],
)
def test_a_bad_answer_is_refused_with_a_sentence(given: object, words: str) -> None:
    assert words in refusal(given, after())


def test_a_page_that_was_drawn_before_a_class_was_merged_or_deleted_still_answers() -> None:
    fold = after(merged(DOG, CAT), deleted(COW))
    assert MULTILABEL.check({"yes": [DOG], "no": [CAT, COW]}, fold) == Classes({CAT})
    assert MULTILABEL.check({"yes": [], "no": [CAT, DOG, COW]}, fold) == Classes((), {CAT})
    assert "name classes that exist" in refusal({"yes": [COW]}, fold)


def test_of_a_merged_class_a_yes_counts_and_a_no_to_a_part_does_not() -> None:
    fold = after(
        said(1, [DOG], [CAT]), said(2, [], [DOG]), said(3, [], [CAT, DOG]), said(4, [COW], [DOG]), merged(DOG, CAT)
    )
    assert fold.labels == {1: Classes({CAT}), 3: Classes((), {CAT}), 4: Classes({COW})}
    assert fold.state(2).status == "unlabeled"


def test_a_deleted_class_leaves_the_others_and_a_new_class_is_unknown() -> None:
    fold = after(said(1, [CAT], [DOG]), said(2, [CAT]), deleted(CAT), added(4, "hen"))
    assert fold.labels == {1: Classes((), {DOG})}
    assert fold.state(2).status == "unlabeled"


def test_the_majority_decides_each_class_and_a_tie_leaves_it_unknown() -> None:
    fold = after(
        said(1, [CAT, DOG], [COW], "ann"), said(1, [CAT], [DOG, COW], "bob"), said(1, [DOG], [CAT], "eve"),
        said(2, [CAT], [DOG], "ann"), said(2, [DOG], [CAT], "bob"),
        said(3, [CAT], [DOG], "ann"), said(3, [CAT, DOG], [], "bob"),
        said(4, [CAT], [], "ann"), said(4, [], [DOG], "bob"),
    )  # fmt: skip
    assert fold.labels == {1: Classes({CAT, DOG}, {COW}), 3: Classes({CAT}), 4: Classes({CAT}, {DOG})}
    assert fold.state(2).disputed
    differ = {image: MULTILABEL.differ(fold.votes(image).values()) for image in (1, 2, 3, 4)}
    assert differ == {1: True, 2: True, 3: True, 4: False}


@given(st.lists(ANSWERS, max_size=5))
def test_the_majority_is_counted_class_by_class(values: list[Classes]) -> None:
    found = MULTILABEL.merge(values) or Classes()
    for each in range(-5, 61):
        balance = sum(each in value.yes for value in values) - sum(each in value.no for value in values)
        assert (each in found.yes, each in found.no) == (balance > 0, balance < 0)


@given(ANSWERS, ANSWERS)
def test_a_part_changes_only_the_classes_that_it_names(earlier: Classes, part: Classes) -> None:
    found = MULTILABEL.complete(earlier, part)
    assert part.yes <= found.yes
    assert part.no <= found.no
    assert (found.yes - part.known, found.no - part.known) == (earlier.yes - part.known, earlier.no - part.known)


def test_agreement_is_measured_on_each_class() -> None:
    """The example of 50 grant proposals that textbooks use, as one class of two: kappa is 0.4."""
    answers = (Classes({CAT, DOG}), Classes({CAT}, {DOG}))
    votes = [
        {"ann": answers[ann], "bob": answers[bob]}
        for (ann, bob), count in {(0, 0): 20, (1, 1): 15, (0, 1): 5, (1, 0): 10}.items()
        for _ in range(count)
    ]
    found = MULTILABEL.agreement(votes, {DOG: "dog", CAT: "cat"})
    assert (found.measure, found.images, found.agreed) == ("cohen", 50, 0.7)
    kappas = {each.name: each.kappa for each in found.classes}
    assert kappas["dog"] == pytest.approx(0.4)
    assert kappas["cat"] is None
    assert found.kappa == pytest.approx(0.4)
    assert [(each.annotators, each.images, each.agreed) for each in found.pairs] == [(("ann", "bob"), 50, 0.7)]
