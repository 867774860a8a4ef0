"""Held-out images are neither learned from nor asked, whatever the log says and however late the pool is informed."""

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.wire.log import Row
from tests.trainer.logs import WHEN, batch, class_rows
from tests.trainer.loop.test_ingest import CATALOG, opened_ingest
from trainer.loop.rounds import Timings, fit, measure, rank
from trainer.strategies import strategy_named
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot

IMAGES = [each.id for each in CATALOG]
image, label = st.sampled_from(IMAGES), st.sampled_from([1, 2])
STEPS = st.one_of(
    st.tuples(st.just("label"), image, label, st.sampled_from([None, "import", "late"])),
    st.tuples(st.just("undo"), image),
    st.tuples(st.just("split"), image, st.sampled_from(["train", "validation", "test"])),
    st.tuples(st.just("refresh")),
)


@dataclass
class Log:
    """Rows as a labeler writes them, and the split that each image has after them."""

    replica: Replica
    seq: int = 2
    answers: dict[int, list[UUID]] = field(default_factory=dict)
    splits: dict[int, str] = field(default_factory=lambda: dict.fromkeys(IMAGES, "train"))

    def write(self, action: str, image_id: int, **values: object) -> None:
        self.seq += 1
        row = {"seq": self.seq, "id": uuid4(), "action": action, "image_id": image_id, "created_at": WHEN, **values}
        self.replica.accept(batch([Row.model_validate(row)]))
        if action == "label":
            self.answers.setdefault(image_id, []).append(row["id"])

    def take(self, step: tuple[Any, ...]) -> None:
        match step:
            case "label", image_id, class_id, source:
                self.write("label", image_id, label=class_id, annotator="ann", source=source)
            case "undo", image_id if self.answers.get(image_id):
                self.write("undo", image_id, annotator="ann", target=self.answers[image_id].pop())
            case "split", image_id, split:
                self.write("split_changed", image_id, split=split)
                self.splits[image_id] = split


@settings(max_examples=30)
@given(st.lists(STEPS, min_size=5, max_size=25))
def test_no_held_out_image_is_learned_from_or_asked(steps):
    with TemporaryDirectory() as folder:
        replica = Replica(Path(folder))
        replica.accept(batch(class_rows("light", "dark")))
        replica.update_catalog(CATALOG, after=len(CATALOG))
        log = Log(replica)
        with opened_ingest(Path(folder), replica) as ingest:
            ingest.refresh()
            while ingest.pending:
                assert ingest.embed()
            for step in steps:
                if step == ("refresh",):
                    ingest.look_again()
                    ingest.refresh()
                log.take(step)
                check(ingest.pool, replica, log.splits)
        replica.close()


def check(pool, replica, splits):
    """One round on the current pool, which may not know the last rows."""
    snapshot = Snapshot.of(replica)
    assert snapshot is not None
    model = fit(pool, snapshot, None, seed=0)
    push = rank(
        pool,
        snapshot,
        model,
        strategy_named("margin"),
        strategy_name="margin",
        leased=frozenset(),
        length=len(IMAGES),
        seed=0,
        timings=Timings(),
    )
    asked = {query.image_id for query in push.queries} if push is not None else set()
    learned = set(pool.train.ids[model.rows].tolist()) if model is not None else set()
    held_out = {image_id for image_id, split in splits.items() if split != "train"}
    assert not held_out & (asked | learned)
    if model is not None and (measured := measure(pool, snapshot, model, round_number=1)) is not None:
        assert measured[0].accuracy.n <= sum(split == "test" for split in splits.values())
