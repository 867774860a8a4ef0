from datetime import UTC, datetime
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from labeler.store.counts import SPLITS, Tally
from shared.log import Fold
from shared.wire.fields import Split
from shared.wire.log import Row

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 5), st.sampled_from([*SPLITS, None])),
        st.tuples(st.sampled_from(["label", "skip", "flag", "import"]), st.integers(1, 5), st.none()),
    ),
    max_size=30,
)


@given(EVENTS)
def test_the_counts_are_those_of_a_walk_over_all_images(events: list[tuple[str, int, Split | None]]) -> None:
    fold = Fold()
    added = Row(seq=1, id=uuid4(), action="class_added", label=1, name="cat", created_at=datetime.now(UTC))
    fold.apply(added)
    tally = Tally(fold)
    there: dict[int, Split] = {}
    imported: set[int] = set()
    for event, image_id, split in events:
        if event == "put":
            tally.put(image_id, split)
            there.pop(image_id, None)
            if split is not None:
                there[image_id] = split
            continue
        action, source = ("label", "import") if event == "import" else (event, None)
        content = {"action": action, "label": 1 if action == "label" else None, "source": source, "annotator": "a"}
        stamp = {"seq": fold.last_seq + 1, "id": uuid4(), "created_at": datetime.now(UTC)}
        row = Row.model_validate({"image_id": image_id, **content, **stamp})
        tally.observe(row)
        fold.apply(row)
        tally.refresh(image_id)
        if event == "import":
            imported.add(image_id)
    for each in SPLITS:
        statuses = [fold.state(image_id).status for image_id, split in there.items() if split == each]
        counts = tally.counts(each)
        assert counts.total == len(statuses)
        assert all(getattr(counts, status) == statuses.count(status) for status in ("labeled", "skipped", "flagged"))
        answered = [image_id for image_id, split in there.items() if split == each and fold.state(image_id).answered]
        assert tally.asked[each] == len(set(answered) - imported)
    assert tally.counts().total == len(there)
    assert tally.labels_of(1) == sum(fold.state(image_id).label == 1 for image_id in there)
