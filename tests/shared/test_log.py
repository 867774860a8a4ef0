from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.log import UNLABELED, Fold, ImageState
from shared.wire.log import Row

CAT, DOG, COW = 1, 2, 3
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def log(*events: dict[str, Any]) -> list[Row]:
    """Rows with dense numbers and ids: row n has the id UUID(int=n)."""
    return [Row(seq=n, id=UUID(int=n), created_at=NOW, **event) for n, event in enumerate(events, start=1)]


def label(image: int, as_class: int, by: str = "ann", **more: Any) -> dict[str, Any]:
    return {"action": "label", "image_id": image, "label": as_class, "annotator": by, **more}


def skip(image: int, by: str = "ann") -> dict[str, Any]:
    return {"action": "skip", "image_id": image, "annotator": by}


def flag(image: int, by: str = "ann") -> dict[str, Any]:
    return {"action": "flag", "image_id": image, "annotator": by}


def settle(image: int, as_class: int | None, by: str = "ann") -> dict[str, Any]:
    return {"action": "settle", "image_id": image, "label": as_class, "annotator": by}


def undo(image: int, target: int) -> dict[str, Any]:
    return {"action": "undo", "image_id": image, "target": UUID(int=target), "annotator": "ann"}


def added(class_id: int, name: str) -> dict[str, Any]:
    return {"action": "class_added", "label": class_id, "name": name}


def renamed(class_id: int, name: str) -> dict[str, Any]:
    return {"action": "class_renamed", "label": class_id, "name": name}


def merged(class_id: int, into: int) -> dict[str, Any]:
    return {"action": "class_merged", "label": class_id, "into": into}


def deleted(class_id: int) -> dict[str, Any]:
    return {"action": "class_deleted", "label": class_id}


def removed(image: int) -> dict[str, Any]:
    return {"action": "image_removed", "image_id": image}


ANIMALS = (added(CAT, "cat"), added(DOG, "dog"), added(COW, "cow"))


def after(*events: dict[str, Any]) -> Fold:
    """The fold after three classes (rows 1 to 3) and `events` (from row 4 on)."""
    return Fold(log(*ANIMALS, *events))


# ---------------------------------------------------------------- one rule at a time


def test_an_image_that_no_row_is_about_is_unlabeled() -> None:
    assert after().state(7) == UNLABELED
    assert not after().state(7).finished(overlap=1)


def test_the_latest_answer_of_an_annotator_counts() -> None:
    assert after(label(7, CAT), label(7, DOG)).labels == {7: DOG}
    assert after(label(7, CAT), skip(7)).state(7) == ImageState(None, "skipped", frozenset({"ann"}))
    assert after(skip(7), flag(7)).state(7).status == "flagged"
    assert after(flag(7), label(7, CAT)).labels == {7: CAT}


def test_an_undone_answer_vanishes_and_the_one_before_stands_again() -> None:
    assert after(label(7, CAT), undo(7, 4)).state(7) == UNLABELED
    assert after(label(7, CAT), label(7, DOG), undo(7, 5)).labels == {7: CAT}
    assert after(label(7, CAT), label(7, DOG), undo(7, 4)).labels == {7: DOG}
    assert after(label(7, CAT), label(7, DOG), undo(7, 5)).standing(7) == [UUID(int=4)]


def test_undoing_what_is_undone_or_an_undo_changes_nothing() -> None:
    assert after(label(7, CAT), label(7, DOG), undo(7, 5), undo(7, 5)).labels == {7: CAT}
    assert after(label(7, CAT), undo(7, 4), undo(7, 5)).state(7) == UNLABELED
    assert after(label(7, CAT), undo(7, 99)).labels == {7: CAT}
    assert after(label(7, CAT), undo(8, 4)).labels == {7: CAT}


def test_the_majority_decides_and_a_tie_is_unlabeled() -> None:
    tie = after(label(7, CAT, "ann"), label(7, DOG, "bob"))
    assert tie.state(7) == ImageState(None, "unlabeled", frozenset({"ann", "bob"}), disputed=True)
    assert tie.labels == {}
    assert after(label(7, CAT, "ann"), label(7, DOG, "bob"), label(7, DOG, "cem")).labels == {7: DOG}
    assert after(label(7, CAT, "ann"), skip(7, "bob"), skip(7, "cem")).labels == {7: CAT}


def test_overlap_annotators_finish_an_image_and_a_settle_does_at_once() -> None:
    one = after(label(7, CAT, "ann"))
    assert one.state(7).finished(overlap=1)
    assert not one.state(7).finished(overlap=2)
    assert after(label(7, CAT, "ann"), label(7, DOG, "bob")).state(7).finished(overlap=2)
    assert after(settle(7, CAT)).state(7).finished(overlap=5)


def test_votes_are_the_answers_that_count() -> None:
    fold = after(
        label(7, CAT, "ann"), label(7, DOG, "ann"), label(7, COW, "bob"), skip(7, "cem"), settle(7, CAT, "boss")
    )
    assert fold.votes(7) == {"ann": DOG, "bob": COW}
    assert after(label(7, CAT, "ann"), label(7, COW, "bob"), deleted(COW)).votes(7) == {"ann": CAT}
    assert after(label(7, CAT, "ann"), label(7, COW, "bob", source="late")).votes(7) == {"ann": CAT}
    assert fold.votes(8) == {}


def test_the_last_settle_decides_over_any_majority() -> None:
    votes = (label(7, DOG, "ann"), label(7, DOG, "bob"))
    assert after(*votes, settle(7, CAT)).labels == {7: CAT}
    assert after(settle(7, CAT), *votes).labels == {7: CAT}
    assert after(*votes, settle(7, CAT), settle(7, COW)).labels == {7: COW}
    assert after(*votes, settle(7, CAT), undo(7, 6)).labels == {7: DOG}


def test_a_settle_without_a_label_leaves_the_image_none() -> None:
    fold = after(label(7, DOG), settle(7, None))
    assert fold.state(7) == ImageState(None, "flagged", frozenset({"ann"}), settled=True)
    assert after(label(7, DOG), settle(7, None), settle(7, CAT)).labels == {7: CAT}
    assert after(label(7, DOG), settle(7, None), undo(7, 5)).labels == {7: DOG}


def test_a_reviewer_who_cannot_tell_changes_nothing() -> None:
    unsure = skip(7, "ann") | {"source": "review"}
    assert after(label(7, DOG, "ann"), unsure).images == after(label(7, DOG, "ann")).images
    assert len(after(label(7, DOG, "ann"), unsure).standing(7)) == 2  # so that it can be taken back


def test_a_late_answer_counts_only_while_it_is_alone() -> None:
    late = label(7, DOG, "bob", source="late")
    assert after(late).labels == {7: DOG}
    assert after(label(7, CAT, "ann"), late).labels == {7: CAT}
    assert after(late, label(7, CAT, "ann")).labels == {7: CAT}
    assert after(skip(7, "ann"), late).state(7).status == "skipped"
    assert after(label(7, CAT, "ann"), late, undo(7, 4)).labels == {7: DOG}


def test_a_late_answer_does_not_take_back_what_its_annotator_said_in_time() -> None:
    tie = (label(7, DOG, "bob"), label(7, CAT, "ann"))
    assert after(*tie, label(7, COW, "bob", source="late")).state(7) == after(*tie).state(7)


# ---------------------------------------------------------------- classes


def test_a_merged_class_counts_as_the_one_it_went_into() -> None:
    fold = after(label(7, CAT), label(8, DOG), merged(CAT, DOG))
    assert fold.labels == {7: DOG, 8: DOG}
    assert [known.name for known in fold.live_classes()] == ["dog", "cow"]
    chain = after(label(7, CAT), merged(CAT, DOG), merged(DOG, COW), label(8, CAT))
    assert chain.labels == {7: COW, 8: COW}


def test_merging_settles_a_tie_between_the_two() -> None:
    assert after(label(7, CAT, "ann"), label(7, DOG, "bob"), merged(CAT, DOG)).labels == {7: DOG}


@pytest.mark.parametrize(
    "merges",
    [
        [merged(CAT, CAT)],
        [merged(CAT, 99)],
        [merged(CAT, DOG), merged(DOG, CAT)],
        [merged(CAT, DOG), merged(DOG, COW), merged(COW, CAT)],
        [merged(CAT, DOG), merged(CAT, CAT)],
        [merged(CAT, DOG), merged(COW, CAT), merged(CAT, COW)],
        [merged(CAT, DOG), deleted(CAT)],
    ],
)
def test_a_merge_that_makes_no_sense_loses_no_label(merges: list[dict[str, Any]]) -> None:
    fold = after(label(7, CAT), *merges)
    assert fold.labels[7] in {known.id for known in fold.live_classes()}


def test_a_deleted_class_is_no_answer() -> None:
    fold = after(label(7, CAT), label(8, DOG), deleted(CAT))
    assert fold.labels == {8: DOG}
    assert fold.state(7) == UNLABELED
    assert after(label(7, CAT, "ann"), label(7, DOG, "bob"), deleted(CAT)).labels == {7: DOG}
    assert after(label(7, DOG), settle(7, CAT), deleted(CAT)).labels == {7: DOG}
    assert after(settle(7, DOG), settle(7, CAT), deleted(CAT)).labels == {7: DOG}


def test_old_names_stay_aliases() -> None:
    fold = after(renamed(CAT, "kitten"), merged(DOG, CAT))
    assert fold.named("kitten") == fold.named("cat") == fold.named("dog") == CAT
    assert fold.named("horse") is None
    assert after(deleted(CAT)).named("cat") is None


def test_a_name_in_use_goes_before_an_alias() -> None:
    assert after(renamed(CAT, "kitten"), added(4, "cat")).named("cat") == 4
    assert after(merged(CAT, DOG), added(4, "cat")).named("cat") == 4


def test_a_class_is_added_once() -> None:
    assert after(added(CAT, "lion")).classes[CAT].name == "cat"


# ---------------------------------------------------------------- images and order


def test_a_removed_image_leaves_counts_and_labels_for_good() -> None:
    fold = after(label(7, CAT), label(8, DOG), removed(7), removed(7))
    assert (fold.labels, +fold.counts) == ({8: DOG}, Counter(labeled=1))
    later = after(label(7, CAT), removed(7), label(7, DOG), undo(7, 4), deleted(DOG))
    assert (later.labels, +later.counts) == ({}, Counter())
    assert after(removed(7)).removed == {7}


def test_a_moved_split_is_known() -> None:
    assert after({"action": "split_changed", "image_id": 7, "split": "validation"}).splits == {7: "validation"}


def test_a_row_out_of_order_is_refused_and_changes_nothing() -> None:
    rows = log(*ANIMALS, label(7, CAT), label(7, DOG))
    fold = Fold(rows[:4])
    for wrong in (rows[3], rows[2], log(*ANIMALS, label(7, CAT), skip(7), label(7, COW))[5]):
        with pytest.raises(ValueError, match="does not follow row 4"):
            fold.apply(wrong)
    assert (fold.last_seq, fold.labels) == (4, {7: CAT})


# ---------------------------------------------------------------- any log at all

IMAGES = st.integers(1, 3)
CLASSES = st.integers(1, 3)  # there from the start: the labeler takes no label as a class that is yet to be added
NEWER = st.integers(1, 5)
PEOPLE = st.sampled_from(["ann", "bob", "cem"])
SOURCES = st.sampled_from([None, None, "late"])
EVENTS = st.lists(
    st.one_of(
        st.builds(lambda i, c, a, s: label(i, c, a, source=s), IMAGES, CLASSES, PEOPLE, SOURCES),
        st.builds(label, IMAGES, CLASSES, PEOPLE),
        st.builds(skip, IMAGES, PEOPLE),
        st.builds(flag, IMAGES, PEOPLE),
        st.builds(settle, IMAGES, CLASSES | st.none(), PEOPLE),
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


def meaning(rows: list[Row], image: int, live: dict[int, int | None]) -> tuple[int | None, str]:
    """Label and status of an image by the rules as they are written down, looking at the whole log each time.

    `live` says what each class stands for at the end of the log, None where it was deleted.
    """
    about = [row for row in rows if row.image_id == image]
    undone = {row.target for row in about if row.action == "undo"}
    standing = [row for row in about if row.id not in undone]
    settles = [row for row in standing if row.action == "settle"]
    settles = [row for row in settles if row.label is None or live.get(row.label) is not None]
    if settles:
        last_settle = settles[-1].label
        return (None, "flagged") if last_settle is None else (live[last_settle], "labeled")
    answers = [row for row in standing if row.action in ("label", "skip", "flag") and row.source != "review"]
    answers = [row for row in answers if row.action != "label" or live.get(row.label or 0) is not None]
    answers = [row for row in answers if row.source != "late"] or answers
    last = {row.annotator: row for row in answers}
    votes = Counter(live[row.label or 0] for row in last.values() if row.action == "label")
    leaders = [voted for voted, count in votes.items() if count == max(votes.values())]
    if len(leaders) == 1:
        return leaders[0], "labeled"
    actions = {row.action for row in last.values()}
    return None, "flagged" if "flag" in actions else "skipped" if "skip" in actions else "unlabeled"


@given(EVENTS)
def test_each_prefix_means_what_the_rules_say(events: list[dict[str, Any]]) -> None:
    rows = log(*ANIMALS, *events)
    fold = Fold()
    for n, row in enumerate(rows, start=1):
        before = dict(fold.images)
        changed = fold.apply(row)
        live = {known: fold.resolve(known) for known in fold.classes}
        for image in fold.images:
            assert (fold.state(image).label, fold.state(image).status) == meaning(rows[:n], image, live)
        assert {image for image in fold.images if fold.images[image] != before.get(image, UNLABELED)} <= changed
        assert_adds_up(fold)


@given(EVENTS, st.lists(st.integers(0, 33), max_size=4))
def test_batching_changes_nothing(events: list[dict[str, Any]], cuts: list[int]) -> None:
    rows = log(*ANIMALS, *events)
    followed = Fold()
    edges = [0, *sorted(cuts), len(rows)]
    for start, end in pairwise(edges):
        for row in rows[start:end]:
            followed.apply(row)
    at_once = Fold(rows)
    assert (followed.images, followed.labels, followed.classes) == (at_once.images, at_once.labels, at_once.classes)
    assert (+followed.counts, followed.removed, followed.last_seq) == (+at_once.counts, at_once.removed, len(rows))


@given(EVENTS)
def test_undoing_everything_leaves_nothing_labeled(events: list[dict[str, Any]]) -> None:
    answers = [(n, event["image_id"]) for n, event in enumerate(events, start=4) if "annotator" in event]
    fold = after(*events, *(undo(image, n) for n, image in answers))
    assert fold.labels == {}
    assert all(state == UNLABELED for state in fold.images.values())
    assert_adds_up(fold)


@given(EVENTS)
def test_every_label_is_a_class_that_can_be_given(events: list[dict[str, Any]]) -> None:
    fold = after(*events)
    assert set(fold.labels.values()) <= {known.id for known in fold.live_classes()}


@given(EVENTS, IMAGES, CLASSES, PEOPLE)
def test_a_late_answer_overrides_nobody(events: list[dict[str, Any]], image: int, as_class: int, by: str) -> None:
    in_time = [*events, skip(image, "dan")]
    assume("dan" in after(*in_time).state(image).answered)  # an undo may have named that row before it came
    assert after(*in_time, label(image, as_class, by, source="late")).images == after(*in_time).images


def assert_adds_up(fold: Fold) -> None:
    present = {image: state for image, state in fold.images.items() if image not in fold.removed}
    assert +fold.counts == Counter(state.status for state in present.values())
    assert min(fold.counts.values(), default=0) >= 0
    assert fold.labels == {image: state.label for image, state in present.items() if state.label is not None}


def test_a_removed_image_that_is_put_back_has_its_label() -> None:
    added = {"action": "class_added", "label": CAT, "name": "cat"}
    removed = {"action": "image_removed", "image_id": 5}
    rows = log(added, label(5, CAT), removed, {"action": "split_changed", "image_id": 5, "split": "train"})
    fold = Fold(rows[:3])
    assert (fold.labels, fold.counts["labeled"]) == ({}, 0)
    assert fold.apply(rows[3]) == {5}
    assert (fold.labels, fold.counts["labeled"], fold.removed) == ({5: CAT}, 1, set())
