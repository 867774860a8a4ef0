"""The same properties of any log as in test_log, in a project whose answers are boxes.

An object stands at one of three spots, and people differ by a few pixels on where: which boxes belong together is
certain, so that the rules can be written down anew here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from shared.log import UNLABELED, Fold
from shared.tasks.detection import DETECTION, ORIGINS, Boxes
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

SPOT = 100  # pixels from one spot to the next
Said = dict[int, tuple[int, int]]  # spot → class, and pixels by which the box is moved to the right
SAYS: st.SearchStrategy[Said] = st.dictionaries(
    st.integers(0, 2), st.tuples(st.integers(1, 3), st.integers(0, 4)), max_size=3
)


def boxed(says: Said, origin: int = 0) -> dict[str, Any]:
    """The answer (JSON)."""
    places = {"y": 5, "w": 40, "h": 30, "origin": ORIGINS[origin]}
    return {"boxes": [{"label": label, "x": SPOT * spot + moved, **places} for spot, (label, moved) in says.items()]}


def said(image: int, says: Said | None, by: str, action: str = "label", **more: Any) -> dict[str, Any]:
    """An answer; None settles that the image belongs to no class."""
    held = {} if says is None else {"answer": boxed(says)}
    return {"action": action, "image_id": image, "annotator": by, **held, **more}


EVENTS = st.lists(
    st.one_of(
        st.builds(lambda i, c, a, s: said(i, c, a, source=s), IMAGES, SAYS, PEOPLE, SOURCES),
        st.builds(said, IMAGES, SAYS, PEOPLE),
        st.builds(skip, IMAGES, PEOPLE),
        st.builds(flag, IMAGES, PEOPLE),
        st.builds(lambda i, c, a: said(i, c, a, "settle"), IMAGES, SAYS | st.none(), PEOPLE),
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
    return Fold(log(*ANIMALS, *events), DETECTION)


def read(answer: Mapping[str, Any], live: Mapping[int, int | None]) -> Said | None:
    """What an answer says by the classes that there are now; None if its classes are all gone."""
    found = {}
    for box in answer["boxes"]:
        spot, moved = divmod(int(box["x"]), SPOT)
        label = live.get(box["label"])
        if label is not None:
            found[spot] = (label, moved)
    return found if found or not answer["boxes"] else None


def together(votes: list[Said]) -> dict[int, tuple[int, float]] | None:
    """What a majority says of each spot; None for a tie."""
    found: dict[int, tuple[int, float]] = {}
    for spot in {spot for each in votes for spot in each}:
        here = [each[spot] for each in votes if spot in each]
        classes = Counter(label for label, _ in here).most_common(2)
        if 2 * len(here) == len(votes):
            return None
        if 2 * len(here) > len(votes):
            if len(classes) == 2 and classes[0][1] == classes[1][1]:
                return None
            found[spot] = (classes[0][0], sum(moved for _, moved in here) / len(here))
    return found


def meaning(rows: list[Row], image: int, live: Mapping[int, int | None]) -> tuple[Any, str]:
    """What the image's label says of each spot, and its status, by the rules, looking at the whole log each time."""
    about = [row for row in rows if row.image_id == image]
    undone = {row.target for row in about if row.action == "undo"}
    standing = [row for row in about if row.id not in undone]
    settles = [row for row in standing if row.action == "settle"]
    settles = [row for row in settles if row.answer is None or read(row.answer, live) is not None]
    if settles:
        last_settle = settles[-1].answer
        return (None, "flagged") if last_settle is None else (read(last_settle, live), "labeled")
    answers = [row for row in standing if row.action in ("label", "skip", "flag") and row.source != "review"]
    answers = [row for row in answers if row.action != "label" or read(row.answer, live) is not None]
    answers = [row for row in answers if row.source != "late"] or answers
    last = {row.annotator: row for row in answers}
    votes = [says for row in last.values() if row.action == "label" and (says := read(row.answer, live)) is not None]
    label = together(votes) if votes else None
    if label is not None:
        return label, "labeled"
    actions = {row.action for row in last.values()}
    return None, "flagged" if "flag" in actions else "skipped" if "skip" in actions else "unlabeled"


def seen(label: Boxes | None) -> dict[int, tuple[int, float]] | None:
    if label is None:
        return None
    return {int(box.x) // SPOT: (box.label, round(box.x % SPOT, 2)) for box in label.boxes}


def rounded(meant: dict[int, tuple[int, float]] | None) -> dict[int, tuple[int, float]] | None:
    return None if meant is None else {spot: (label, round(moved, 2)) for spot, (label, moved) in meant.items()}


@given(EVENTS)
def test_each_prefix_means_what_the_rules_say(events: list[dict[str, Any]]) -> None:
    rows = log(*ANIMALS, *events)
    fold = Fold(task=DETECTION)
    for n, row in enumerate(rows, start=1):
        before = dict(fold.images)
        changed = fold.apply(row)
        live = {known: fold.resolve(known) for known in fold.classes}
        for image in fold.images:
            label, status = meaning(rows[:n], image, live)
            assert (seen(fold.state(image).label), fold.state(image).status) == (rounded(label), status)
        assert {image for image in fold.images if fold.images[image] != before.get(image, UNLABELED)} <= changed
        assert_adds_up(fold)


@given(EVENTS, st.lists(st.integers(0, 33), max_size=4))
def test_batching_changes_nothing(events: list[dict[str, Any]], cuts: list[int]) -> None:
    rows = log(*ANIMALS, *events)
    followed = Fold(task=DETECTION)
    for start, end in pairwise([0, *sorted(cuts), len(rows)]):
        for row in rows[start:end]:
            followed.apply(Row.model_validate_json(row.model_dump_json()))  # as it comes to the trainer
    at_once = Fold(rows, DETECTION)
    assert (followed.images, followed.labels, followed.classes) == (at_once.images, at_once.labels, at_once.classes)
    assert (+followed.counts, followed.removed, followed.last_seq) == (+at_once.counts, at_once.removed, len(rows))


@given(EVENTS)
def test_undoing_everything_leaves_nothing_labeled(events: list[dict[str, Any]]) -> None:
    answers = [(n, event["image_id"]) for n, event in enumerate(events, start=4) if "annotator" in event]
    fold = after(*events, *(undo(image, n) for n, image in answers))
    assert fold.labels == {}
    assert all(state == UNLABELED for state in fold.images.values())


@given(EVENTS)
def test_every_box_is_of_a_class_that_can_be_given(events: list[dict[str, Any]]) -> None:
    fold = after(*events)
    live = {known.id for known in fold.live_classes()}
    assert all(set(value.labels) <= live for value in fold.labels.values())


@given(EVENTS, IMAGES, SAYS, PEOPLE)
def test_a_late_answer_overrides_nobody(events: list[dict[str, Any]], image: int, says: Said, by: str) -> None:
    in_time = [*events, skip(image, "dan")]
    assume("dan" in after(*in_time).state(image).answered)
    assert after(*in_time, said(image, says, by, source="late")).images == after(*in_time).images
