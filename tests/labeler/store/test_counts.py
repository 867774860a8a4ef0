from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeler.store.counts import SPLITS, Counts
from labeler.store.present import PresentImages
from shared.log import Fold
from shared.tasks.registry import task_named
from shared.wire.fields import Split
from shared.wire.log import Row

IMAGES = st.integers(1, 5)
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("take_in"), IMAGES, st.sampled_from(SPLITS)),
        st.tuples(st.just("split_changed"), IMAGES, st.sampled_from(SPLITS)),
        st.tuples(st.sampled_from(["label", "skip", "flag", "import", "image_removed"]), IMAGES, st.none()),
    ),
    max_size=40,
)


SAID: dict[str, dict[str, Any]] = {
    "classification": {"label": 1},
    "multilabel": {"answer": {"yes": [1], "no": []}},
    "detection": {"answer": {"boxes": [{"label": 1, "x": 1.0, "y": 2.0, "w": 3.0, "h": 4.0, "origin": "drawn"}] * 2}},
}
every_task = pytest.mark.parametrize("task", sorted(SAID))


class Kept:
    """The projections of a log, kept up to date as the service does: the images that are there, and their counts."""

    def __init__(self, fold: Fold) -> None:
        self.fold = fold
        self.present = PresentImages(fold)
        self.counts = Counts(fold, self.present)
        self.told: dict[int, tuple[Split | None, float]] = {}
        self.present.follow(self._moved)

    def _moved(self, image_id: int, before: Split | None, split: Split | None, place: float) -> None:
        assert before == self.told.get(image_id, (None, 0.0))[0]
        self.told[image_id] = (split, place)

    def write(self, row: Row) -> None:
        changed = self.fold.apply(row)
        self.counts.observe(row)
        self.present.observe(row)
        for image_id in changed:
            self.counts.refresh(image_id)

    def state(self) -> Any:
        counts = self.counts
        figures = [counts.counts(split).model_dump() for split in (None, *SPLITS)]
        given = (counts.labels_of(1), {split: counts.asked[split] for split in SPLITS}, counts.labeled_here)
        return self.present.splits, figures, given, counts.shared


def written(fold: Fold, **content: Any) -> Row:
    stamp = {"seq": fold.last_seq + 1, "id": uuid4(), "created_at": datetime.now(UTC)}
    return Row.model_validate({**content, **stamp})


@every_task
@settings(max_examples=40)
@given(events=EVENTS)
def test_counts_updated_row_by_row_equal_those_from_scratch(
    task: str, events: list[tuple[str, int, Split | None]]
) -> None:
    kept = Kept(Fold((), task_named(task)))
    rows = [written(kept.fold, action="class_added", label=1, name="cat")]
    kept.write(rows[0])
    drawn: dict[int, Split] = {}
    for event, image_id, split in events:
        if event == "take_in":
            if image_id not in drawn and split is not None:
                drawn[image_id] = split
                kept.present.take_in(image_id, split, image_id / 10)
            continue
        action, source = ("label", "import") if event == "import" else (event, None)
        said, who = (SAID[task] if action == "label" else {}), ("a" if image_id % 2 else "b")
        row = written(kept.fold, image_id=image_id, action=action, source=source, annotator=who, split=split, **said)
        rows.append(row)
        kept.write(row)
    anew = Kept(Fold((), task_named(task)))
    for row in rows:  # a start: the log is read first, then the catalogue
        anew.counts.observe(row)
        anew.fold.apply(row)
    for image_id, split in drawn.items():
        anew.present.take_in(image_id, split, image_id / 10)
    assert kept.state() == anew.state()
    assert {image_id: split for image_id, (split, _) in kept.told.items() if split} == kept.present.splits
    assert all(place == image_id / 10 for image_id, (_, place) in kept.told.items())
    assert kept.present.splits.keys() == drawn.keys() - kept.fold.removed


@every_task
@settings(max_examples=40)
@given(events=EVENTS)
def test_the_counts_are_those_of_a_walk_over_all_images(task: str, events: list[tuple[str, int, Split | None]]) -> None:
    kept = Kept(Fold((), task_named(task)))
    kept.write(written(kept.fold, action="class_added", label=1, name="cat"))
    imported: set[int] = set()
    for event, image_id, split in events:
        if event == "take_in":
            if image_id not in kept.told and split is not None:
                kept.present.take_in(image_id, split, image_id / 10)
            continue
        action, source = ("label", "import") if event == "import" else (event, None)
        content = {"action": action, "source": source, "annotator": "a", **(SAID[task] if action == "label" else {})}
        kept.write(written(kept.fold, image_id=image_id, split=split, **content))
        if event == "import":
            imported.add(image_id)
    there, fold, tally = kept.present.splits, kept.fold, kept.counts
    for each in SPLITS:
        statuses = [fold.state(image_id).status for image_id, split in there.items() if split == each]
        counts = tally.counts(each)
        assert counts.total == len(statuses)
        assert all(getattr(counts, status) == statuses.count(status) for status in ("labeled", "skipped", "flagged"))
        answered = [image_id for image_id, split in there.items() if split == each and fold.state(image_id).answered]
        assert tally.asked[each] == len(set(answered) - imported)
    assert tally.counts().total == len(there)
    labels = [label for image_id in there if (label := fold.state(image_id).label) is not None]
    assert tally.labels_of(1) == sum(1 in fold.task.classes_in(label) for label in labels)
