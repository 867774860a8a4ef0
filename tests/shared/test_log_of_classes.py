"""The same properties of any log as in test_log, in a project whose images have several classes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from shared.log import UNLABELED, Fold
from shared.tasks.multilabel import MULTILABEL, Classes
from shared.wire.log import Row
from tests.shared.test_log import (
    ANIMALS,
    IMAGES,
    NEWER,
    PEOPLE,
    SOURCES,
    added,
    assert_adds_up,
    deleted,
    flag,
    log,
    merged,
    removed,
    renamed,
    skip,
    undo,
)

SIDES = st.lists(st.sampled_from([None, "yes", "no"]), min_size=3, max_size=3)


def said(image: int, sides: list[str | None], by: str, action: str = "label", **more: Any) -> dict[str, Any]:
    """An answer about the three first classes; a settle that names none says that the image belongs to none."""
    answer = {side: [n for n, each in enumerate(sides, 1) if each == side] for side in ("yes", "no")}
    held = {"answer": answer} if any(sides) else {}
    return {
        "action": action if held or action == "settle" else "skip",
        "image_id": image,
        "annotator": by,
        **held,
        **more,
    }


EVENTS = st.lists(
    st.one_of(
        st.builds(lambda i, c, a, s: said(i, c, a, source=s), IMAGES, SIDES, PEOPLE, SOURCES),
        st.builds(said, IMAGES, SIDES, PEOPLE),
        st.builds(skip, IMAGES, PEOPLE),
        st.builds(flag, IMAGES, PEOPLE),
        st.builds(lambda i, c, a: said(i, c, a, "settle"), IMAGES, SIDES, PEOPLE),
        st.builds(lambda i, a: skip(i, a) | {"source": "review"}, IMAGES, PEOPLE),
        st.builds(undo, IMAGES, st.integers(1, 30)),
        st.builds(added, NEWER, st.sampled_from("pqr")),
        st.builds(renamed, NEWER, st.sampled_from("pqr")),
        st.builds(merged, NEWER, NEWER),
        st.builds(deleted, NEWER),
        st.builds(removed, IMAGES),
    ),
    max_size=30,
)


def after(*events: dict[str, Any]) -> Fold:
    return Fold(log(*ANIMALS, *events), MULTILABEL)


def of_class(answer: Mapping[str, list[int]], class_id: int, live: Mapping[int, int | None]) -> int:
    """1 for a yes to the class or to one that went into it, -1 for a no to the class itself, 0 for nothing."""
    if class_id in (live.get(each) for each in answer["yes"]):
        return 1
    return -1 if class_id in answer["no"] else 0


def meaning(rows: list[Row], image: int, live: Mapping[int, int | None]) -> tuple[dict[int, int], str]:
    """What the image's label says of each class, and its status, by the rules, looking at the whole log each time."""
    classes = {each for each in live.values() if each is not None}

    def says(row: Row) -> dict[int, int]:
        found = {} if row.answer is None else {each: of_class(row.answer, each, live) for each in classes}
        return {each: sign for each, sign in found.items() if sign}

    about = [row for row in rows if row.image_id == image]
    undone = {row.target for row in about if row.action == "undo"}
    standing = [row for row in about if row.id not in undone]
    settles = [row for row in standing if row.action == "settle" and (row.answer is None or says(row))]
    if settles:
        return says(settles[-1]), "flagged" if settles[-1].answer is None else "labeled"
    answers = [row for row in standing if row.action in ("label", "skip", "flag") and row.source != "review"]
    answers = [row for row in answers if row.action != "label" or says(row)]
    answers = [row for row in answers if row.source != "late"] or answers
    last = {row.annotator: row for row in answers}
    sums = {each: sum(says(row).get(each, 0) for row in last.values() if row.action == "label") for each in classes}
    together = {each: 1 if total > 0 else -1 for each, total in sums.items() if total}
    if together:
        return together, "labeled"
    actions = {row.action for row in last.values()}
    return {}, "flagged" if "flag" in actions else "skipped" if "skip" in actions else "unlabeled"


@given(EVENTS)
def test_each_prefix_means_what_the_rules_say(events: list[dict[str, Any]]) -> None:
    rows = log(*ANIMALS, *events)
    fold = Fold(task=MULTILABEL)
    for n, row in enumerate(rows, start=1):
        before = dict(fold.images)
        changed = fold.apply(row)
        live = {known: fold.resolve(known) for known in fold.classes}
        for image in fold.images:
            state = fold.state(image)
            label = state.label or Classes()
            signs = dict.fromkeys(label.yes, 1) | dict.fromkeys(label.no, -1)
            assert (signs, state.status) == meaning(rows[:n], image, live)
        assert {image for image in fold.images if fold.images[image] != before.get(image, UNLABELED)} <= changed
        assert_adds_up(fold)


@given(EVENTS, st.lists(st.integers(0, 33), max_size=4))
def test_batching_changes_nothing(events: list[dict[str, Any]], cuts: list[int]) -> None:
    rows = log(*ANIMALS, *events)
    followed = Fold(task=MULTILABEL)
    for start, end in pairwise([0, *sorted(cuts), len(rows)]):
        for row in rows[start:end]:
            followed.apply(Row.model_validate_json(row.model_dump_json()))  # as it comes to the trainer
    at_once = Fold(rows, MULTILABEL)
    assert (followed.images, followed.labels, followed.classes) == (at_once.images, at_once.labels, at_once.classes)
    assert (+followed.counts, followed.removed, followed.last_seq) == (+at_once.counts, at_once.removed, len(rows))


@given(EVENTS)
def test_undoing_everything_leaves_nothing_labeled(events: list[dict[str, Any]]) -> None:
    answers = [(n, event["image_id"]) for n, event in enumerate(events, start=4) if "annotator" in event]
    fold = after(*events, *(undo(image, n) for n, image in answers))
    assert fold.labels == {}
    assert all(state == UNLABELED for state in fold.images.values())


@given(EVENTS)
def test_every_label_says_something_of_classes_that_can_be_given(events: list[dict[str, Any]]) -> None:
    fold = after(*events)
    live = {known.id for known in fold.live_classes()}
    assert all(value.known and value.known <= live for value in fold.labels.values())


@given(EVENTS, IMAGES, SIDES, PEOPLE)
def test_a_late_answer_overrides_nobody(events: list[dict[str, Any]], image: int, sides: list[Any], by: str) -> None:
    in_time = [*events, skip(image, "dan")]
    assume("dan" in after(*in_time).state(image).answered)
    assert after(*in_time, said(image, sides, by, source="late")).images == after(*in_time).images
