import math
import re
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.log import Fold
from shared.tasks.box_matching import groups, matched
from shared.tasks.detection import DETECTION, MOST_BOXES, ORIGINS, Box, Boxes
from shared.tasks.iou import iou
from shared.tasks.task import AnswerRefusedError
from shared.wire.log import Row
from tests.shared.test_log import ANIMALS, CAT, COW, DOG, added, deleted, log, merged, renamed

PLACES = st.floats(0, 500, allow_subnormal=False).map(lambda x: round(x, 2))
SIDES = st.floats(1, 500).map(lambda x: round(x, 2))
BOX = st.builds(Box, st.integers(1, 4), PLACES, PLACES, SIDES, SIDES, st.sampled_from(ORIGINS))
ANSWERS = st.lists(BOX, max_size=6).map(Boxes)


def drawn(label: int | str, x: float, y: float, w: float = 20, h: float = 20, **more: Any) -> dict[str, Any]:
    return {"label": label, "x": x, "y": y, "w": w, "h": h, **more}


def said(image: int, *boxes: dict[str, Any], by: str = "ann", action: str = "label") -> dict[str, Any]:
    return {"action": action, "image_id": image, "annotator": by, "answer": {"boxes": list(boxes)}}


def after(*events: dict[str, Any]) -> Fold:
    """The fold after three classes (rows 1 to 3) and `events`."""
    return Fold(log(*ANIMALS, *events), DETECTION)


def refusal(given: object, fold: Fold | None = None) -> str:
    known = fold or after()
    with pytest.raises(AnswerRefusedError) as refused:
        DETECTION.fit(DETECTION.check(given, known), lambda: (100, 80))
    return str(refused.value)


@given(ANSWERS)
def test_an_answer_is_hashable_and_comes_back_from_its_row(value: Boxes) -> None:
    assert value == Boxes(value.boxes)
    assert hash(value) == hash(Boxes(value.boxes))
    assert len(value) == len(value.boxes) == len(value.labels)
    row = log(said(1, *(box._asdict() for box in value.boxes)))[0]
    assert DETECTION.of_row(Row.model_validate_json(row.model_dump_json())) == value
    assert DETECTION.to_row(value) == {"answer": row.answer}


def test_places_are_kept_to_a_hundredth_of_a_pixel() -> None:
    (box,) = Boxes([Box(7, 1.004, 2.006, 3.333333, 1.0)]).boxes
    assert box == Box(7, 1.0, 2.01, 3.33, 1.0, "drawn")


def test_an_answer_names_classes_by_id_or_name() -> None:
    fold = after(renamed(DOG, "hound"))
    value = DETECTION.check(
        {"boxes": [drawn("CAT ", 1, 2), drawn("dog", 3, 4, origin="accepted"), drawn(COW, 5, 6)]}, fold
    )
    assert [(box.label, box.x, box.origin) for box in value.boxes] == [
        (CAT, 1, "drawn"),
        (DOG, 3, "accepted"),
        (COW, 5, "drawn"),
    ]
    assert DETECTION.check({"boxes": []}, fold) == Boxes()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (CAT, "not of the form"),
        ({"yes": [CAT]}, "not of the form"),
        ({"boxes": [], "merge": True}, "not of the form"),
        ({"boxes": {}}, "not of the form"),
        ({"boxes": [CAT]}, "box 1 needs label, x, y, w and h"),
        ({"boxes": [{"label": CAT, "x": 1, "y": 1, "w": 5}]}, "box 1 needs label, x, y, w and h"),
        ({"boxes": [drawn(CAT, 1, 1), drawn(CAT, 1, 1, score=3)]}, "box 2 .* takes nothing else"),
        ({"boxes": [drawn(CAT, 1, 1, origin="guessed")]}, "box 1: its origin is none of drawn, accepted"),
        ({"boxes": [drawn(CAT, 1, 1, origin=[])]}, "its origin is none of"),
        ({"boxes": [drawn(True, 1, 1)]}, "box 1: its label is no class id"),
        ({"boxes": [drawn("cta", 1, 1)]}, "box 1: there is no class 'cta': .*'cat'"),
        ({"boxes": [drawn(99, 1, 1)]}, "box 1: there is no class 99"),
        ({"boxes": [drawn(CAT, math.nan, 1)]}, "box 1 has a place that is no finite number"),
        ({"boxes": [drawn(CAT, 1, 1, math.inf)]}, "no finite number"),
        ({"boxes": [drawn(CAT, 10**400, 1)]}, "no finite number"),
        ({"boxes": [drawn(CAT, "1", 1)]}, "no finite number"),
        ({"boxes": [drawn(CAT, True, 1)]}, "no finite number"),
        ({"boxes": [drawn(CAT, 1, 1, 0)]}, "box 1 is smaller than 1 pixel"),
        ({"boxes": [drawn(CAT, 1, 1, 5, 0.99)]}, "smaller than 1 pixel"),
        ({"boxes": [drawn(CAT, 50, 1, -5)]}, "smaller than 1 pixel"),
        ({"boxes": [drawn(CAT, 1e9, 1)]}, "box 1 reaches outside the image"),
        (
            {"boxes": [drawn(CAT, 1, 1), drawn(CAT, 90, 1)]},
            "box 2 reaches outside the image, which has 100 × 80 pixels",
        ),
        ({"boxes": [drawn(CAT, 1, -1.2)]}, "box 1 reaches outside the image"),
        ({"boxes": [drawn(CAT, -0.8, 1, 1.5)]}, "box 1 is smaller than 1 pixel"),
        ({"boxes": [drawn(CAT, 1, 1)] * 10_000}, "it has 10,000 boxes, and an image may have at most 1,000"),
    ],
)
def test_a_refusal_says_what_is_wrong(given: object, words: str) -> None:
    assert re.search(words, refusal(given))


def test_an_image_may_have_a_thousand_boxes() -> None:
    given = {"boxes": [drawn(CAT, k % 50, k % 30, 2 + k / 100, 9) for k in range(MOST_BOXES)]}
    assert len(DETECTION.fit(DETECTION.check(given, after()), lambda: (100, 80))) == MOST_BOXES


def test_nothing_here_needs_no_size() -> None:
    def size() -> tuple[int, int]:
        raise AssertionError

    assert DETECTION.fit(Boxes(), size) == Boxes()


def test_up_to_a_pixel_outside_is_clipped_and_the_same_answer_again_is_the_same() -> None:
    fold = after()
    given = {"boxes": [drawn(CAT, -1, -0.5, 101.9, 81.004), drawn(DOG, 80, 60)]}
    value = DETECTION.fit(DETECTION.check(given, fold), lambda: (100, 80))
    assert value.boxes[0] == Box(CAT, 0, 0, 100, 80)
    assert value.boxes[1] == Box(DOG, 80, 60, 20, 20)
    assert DETECTION.is_same(value, given, fold)
    assert DETECTION.is_same(value, DETECTION.to_row(value)["answer"], fold)
    first, second = given["boxes"]
    for other in (
        [first],
        [second, first],
        [first, second, second],
        [first, {**second, "label": CAT}],
        [first, {**second, "origin": "accepted"}],
        [first, {**second, "x": 79}],
        [{**first, "x": -1.2}, second],
        [],
    ):
        assert not DETECTION.is_same(value, {"boxes": other}, fold)
    assert not DETECTION.is_same(value, CAT, fold)
    assert not DETECTION.is_same(Boxes(), given, fold)
    assert DETECTION.is_same(Boxes(), {"boxes": []}, fold)


def test_a_class_that_was_deleted_since_the_page_was_drawn_is_left_out() -> None:
    fold = after(added(4, "pig"), deleted(DOG))
    given = {"boxes": [drawn(CAT, 1, 1), drawn(DOG, 5, 5)]}
    value = DETECTION.check(given, fold)
    assert [box.label for box in value.boxes] == [CAT]
    assert DETECTION.is_same(value, given, fold)
    assert "the classes of all its boxes were deleted" in refusal({"boxes": [drawn(DOG, 5, 5)]}, fold)


def test_classes_that_are_renamed_merged_and_deleted_act_on_boxes() -> None:
    posted = {"boxes": [drawn("cat", 1, 1), drawn(DOG, 5, 5)]}
    row = said(1, drawn(CAT, 1, 1), drawn(DOG, 5, 5))
    fold = after(row, renamed(CAT, "tom"), merged(DOG, COW))
    value = fold.labels[1]
    assert [box.label for box in value.boxes] == [CAT, COW]
    assert fold.text(value) == "1 tom, 1 cow"
    assert DETECTION.is_same(DETECTION.check(posted, after()), posted, fold)
    fold = after(row, said(2, drawn(DOG, 5, 5)), said(3), deleted(DOG))
    assert [box.label for box in fold.labels[1].boxes] == [CAT]
    assert fold.state(2).status == "unlabeled", "no box is left, which does not mean that nothing is there"
    assert fold.labels[3] == Boxes()


def test_an_answer_in_words() -> None:
    fold = after()
    assert (
        fold.text(DETECTION.check({"boxes": [drawn(DOG, 1, 1), drawn(CAT, 1, 1), drawn(DOG, 4, 4)]}, fold))
        == "1 cat, 2 dog"
    )
    assert fold.text(Boxes()) == "nothing here"
    assert DETECTION.read("Nothing here", fold.named) == Boxes()
    with pytest.raises(AnswerRefusedError, match="without a place"):
        DETECTION.read("cat", fold.named)
    assert DETECTION.says(Boxes([Box(CAT, 1, 1, 2, 2)]), CAT) is True
    assert DETECTION.says(Boxes(), CAT) is False
    assert DETECTION.strata({1: Boxes(), 2: Boxes([Box(CAT, 1, 1, 2, 2)])}) == {1: 0, 2: CAT}


# ---------------------------------------------------------------- several people


def test_boxes_match_one_to_one_from_half_overlap_on_the_best_first() -> None:
    first = Boxes([Box(CAT, 0, 0, 20, 20), Box(CAT, 100, 0, 20, 20)])
    second = Boxes([Box(CAT, 6, 0, 20, 20), Box(DOG, 1, 0, 20, 20), Box(CAT, 111, 0, 20, 20)])
    assert iou(first.steps, second.steps).round(3).tolist() == [[0.538, 0.905, 0], [0, 0, 0.29]]
    assert matched(first, second) == [(first.boxes[0], second.boxes[1])]
    assert len(groups([first, second])) == 4


def test_the_merged_answer_has_the_boxes_of_the_majority_at_their_mean_place() -> None:
    cat, dog = Box(CAT, 10, 10, 20, 20), Box(DOG, 50, 50, 10, 10)
    moved = cat._replace(x=12.0, w=22.0)
    assert DETECTION.merge([Boxes([cat]), Boxes([moved])]) == Boxes([Box(CAT, 11, 10, 21, 20)])
    three = [Boxes([cat, dog]), Boxes([moved]), Boxes([cat._replace(label=COW)])]
    assert DETECTION.merge(three) == Boxes([Box(CAT, 10.67, 10, 20.67, 20)])
    assert DETECTION.merge([Boxes(), Boxes(), Boxes([dog])]) == Boxes()
    assert DETECTION.merge([Boxes([cat, dog])]) == Boxes([cat, dog])
    assert DETECTION.merge([]) is None


def test_a_tie_about_a_box_or_its_class_leaves_the_image_open() -> None:
    cat, dog = Box(CAT, 10, 10, 20, 20), Box(DOG, 50, 50, 10, 10)
    box, name = [Boxes([cat, dog]), Boxes([cat])], [Boxes([cat, dog]), Boxes([cat._replace(label=COW), dog])]
    assert (DETECTION.merge(box), DETECTION.tied(box)) == (None, (DOG,))
    assert (DETECTION.merge(name), DETECTION.tied(name)) == (None, (CAT, COW))
    assert DETECTION.differ(box)
    assert DETECTION.differ(name)
    assert not DETECTION.differ([Boxes([cat, dog]), Boxes([dog, cat._replace(x=11.0)])])
    assert not DETECTION.differ([Boxes(), Boxes()])


@given(st.lists(ANSWERS, min_size=1, max_size=3))
def test_who_answered_first_changes_nothing(answers: list[Boxes]) -> None:
    apart = {repr(DETECTION.merge(order)) for order in permutations(answers)} if len(set(answers)) > 1 else {""}
    assert len(apart) == 1
    assert len({DETECTION.differ(order) for order in permutations(answers)}) == 1
    merged_answer = DETECTION.merge(answers)
    assert merged_answer is None or len(merged_answer) <= len(groups(answers))
    for each in groups(answers):
        assert len(each) <= len(answers)
    assert sum(map(len, groups(answers))) == sum(map(len, answers))


def test_agreement_counts_common_boxes_and_classes_beyond_chance() -> None:
    cat, dog = Box(CAT, 10, 10, 20, 20), Box(DOG, 50, 50, 10, 10)
    votes = [
        {"ann": Boxes([cat, dog]), "bob": Boxes([cat, dog])},
        {"ann": Boxes([cat, dog]), "bob": Boxes([cat])},
        {"ann": Boxes(), "bob": Boxes()},
        {"ann": Boxes([cat])},
    ]
    found = DETECTION.agreement(votes, {CAT: "cat", DOG: "dog"})
    assert (found.measure, found.images, found.kappa) == ("cohen", 3, 1.0)
    assert found.agreed == pytest.approx(2 / 3)
    assert found.f1 == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert [(each.name, each.images, each.kappa) for each in found.classes] == [("cat", 2, 1.0), ("dog", 2, 1.0)]
    assert (found.pairs[0].annotators, found.pairs[0].f1) == (("ann", "bob"), found.f1)
    assert DETECTION.agreement([{"ann": Boxes()}], {}).measure is None
