"""A version contains the labels and splits that its model was fitted on, whatever happened later."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.logs import batch, class_rows, label_rows
from tests.trainer.loop.test_held_out import STEPS, Log
from tests.trainer.loop.test_ingest import CATALOG, opened_ingest
from trainer.loop.rounds import fit
from trainer.loop.saving import dataset
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot

FIRST = [(image, 1 + image % 2) for image in range(4)]


@settings(max_examples=30)
@given(st.lists(STEPS, max_size=8), st.lists(STEPS, min_size=1, max_size=8), st.booleans())
def test_a_version_contains_the_log_that_its_model_was_fitted_on(before, after, catalogue_first):
    with TemporaryDirectory() as folder:
        replica = Replica(Path(folder))
        replica.accept(batch([*class_rows("light", "dark"), *label_rows(FIRST, after=2)]))
        replica.update_catalog(CATALOG, after=len(CATALOG))
        log = Log(replica, seq=2 + len(FIRST))
        with opened_ingest(Path(folder), replica) as ingest:
            ingest.refresh()
            while ingest.pending:
                assert ingest.embed()
            for step in before:
                log.take(step)
            snapshot = Snapshot.of(replica)
            model = fit(ingest.pool, snapshot, None, seed=0)
            splits = dict(log.splits)
            for step in after:
                if catalogue_first and step[0] == "split":  # the labeler's catalogue may say so before its log does
                    _, image_id, split = step
                    moved = [each.model_copy(update={"split": split}) for each in CATALOG if each.id == image_id]
                    replica.update_catalog(moved, after=len(CATALOG) + log.seq)
                log.take(step)
            if model is not None:
                check(dataset(model, replica), model, snapshot, splits)
        replica.close()


def check(rows, model, snapshot, splits):
    assert {row["image_id"]: row["class_id"] for row in rows} == dict(snapshot.labels)
    learned = dict(zip(model.images.tolist(), model.targets.tolist(), strict=True))
    assert learned == {image: label for image, label in snapshot.labels.items() if splits[image] == "train"}
    assert all(row["split"] == "train" for row in rows if row["image_id"] in learned)
    assert not any(row["split"] == "train" for row in rows if splits[row["image_id"]] != "train")
