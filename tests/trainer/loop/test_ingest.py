"""From the catalogue to the pool: order, changed splits, removed images."""

from contextlib import contextmanager
from hashlib import sha256
from io import BytesIO
from uuid import uuid4

import numpy as np
import pytest
import torch
from PIL import Image

from shared.settings.services import TrainerSettings
from shared.wire.log import Row
from tests.trainer.learning import settings_for
from tests.trainer.logs import WHEN, batch, class_rows, entry, label_rows
from trainer.embeddings.embedder import Embedder
from trainer.loop.ingest import Ingest
from trainer.service import Trainer
from trainer.sync.labeler_client import LabelerClient
from trainer.sync.publisher import CatalogFollower
from trainer.sync.replica import Gap, Replica

BATCH = 4


def mean_colour():
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())


def png(number):
    stream = BytesIO()
    Image.fromarray(np.full((8, 8, 3), (10 * number, 255 - 10 * number, 0), np.uint8)).save(stream, "PNG")
    return stream.getvalue()


CATALOG = [entry(number, sha256=sha256(png(number)).hexdigest()) for number in range(12)]


@pytest.fixture
def replica(tmp_path):
    replica = Replica(tmp_path)
    replica.accept(batch([*class_rows("light", "dark"), *label_rows([(3, 1), (7, 2)], after=2)]))
    replica.update_catalog(CATALOG, after=12)
    yield replica
    replica.close()


@contextmanager
def opened_ingest(folder, replica):
    """An ingest of `CATALOG` that embeds with `mean_colour`."""
    given = {"model_fn": f"{__name__}:mean_colour", "input_size": 8, "batch_size": BATCH, "device": "cpu"}
    settings = TrainerSettings.load(
        command_line={**given, "backbone_mean": "0,0,0", "backbone_std": "1,1,1"},
    )[0]
    client = LabelerClient("http://127.0.0.1:9", timeout_seconds=0.5)
    catalog = CatalogFollower(client, replica, lambda: None)
    catalog.complete.set()
    embedder = Embedder(settings, folder / "embeddings", lambda wanted: png(wanted.id))
    yield Ingest(replica, embedder, catalog)
    embedder.close()
    client.close()


@pytest.fixture
def ingest(tmp_path, replica):
    with opened_ingest(tmp_path, replica) as ingest:
        yield ingest


def finish(ingest):
    ingest.refresh()
    while ingest.pending:
        assert ingest.embed()
    return ingest.pool


def test_labeled_images_are_embedded_first(ingest):
    ingest.refresh()
    assert list(ingest.pending) == [each.id for each in sorted(CATALOG, key=lambda each: each.sha256)]
    assert ingest.embed()
    assert {3, 7} <= set(ingest.pool.train.ids.tolist())
    assert not ingest.complete()


def test_a_labeled_test_set_does_not_keep_the_first_questions_waiting(tmp_path):
    """All its images have labels before any train image has a vector."""
    replica = Replica(tmp_path)
    test = [each.model_copy(update={"split": "test"}) for each in CATALOG[:8]]
    labels = label_rows([(each.id, 1 + each.id % 2) for each in test], after=2)
    replica.accept(batch([*class_rows("light", "dark"), *labels]))
    replica.update_catalog([*test, *CATALOG[8:]], after=12)
    with opened_ingest(tmp_path, replica) as ingest:
        ingest.refresh()
        assert ingest.embed()
        assert (len(ingest.pool.train.ids), len(ingest.pool.held.ids)) == (4, 0)
        finish(ingest)
        assert (len(ingest.pool.train.ids), len(ingest.pool.held.ids)) == (4, 8)
    replica.close()


def test_it_counts_the_images_whose_vectors_are_still_to_come(ingest):
    wanted = [3, 7, *range(8), 99]  # image 99 is not in the catalogue
    assert ingest.coming(wanted) == 0
    ingest._catalog.complete.clear()
    assert ingest.coming(wanted) == 11  # it is not known yet which images there are
    ingest._catalog.complete.set()
    ingest.refresh()
    assert ingest.coming(wanted) == 10
    assert ingest.embed()
    assert ingest.coming([3, 7]) == 0
    finish(ingest)
    assert ingest.coming(wanted) == 0


def test_finally_every_catalogued_image_is_in_the_pool(ingest):
    pool = finish(ingest)
    assert ingest.complete()
    assert sorted(pool.train.ids.tolist()) == list(range(12))


def test_what_is_embedded_already_is_not_embedded_again(ingest, replica):
    finish(ingest)
    ingest.start_over()
    ingest.refresh()
    assert not ingest.pending
    assert len(ingest.pool) == 12


def test_an_image_that_the_log_moves_is_no_longer_learned_from(ingest, replica):
    pool = finish(ingest)
    moved = Row(seq=5, id=uuid4(), action="split_changed", image_id=3, split="test", created_at=WHEN)
    replica.accept(batch([moved]))
    ingest.look_again()
    ingest.refresh()
    assert 3 not in pool.train.row_of
    assert pool.split_of(3) == "test"


def test_an_image_that_is_gone_leaves_the_pool(ingest, replica):
    pool = finish(ingest)
    gone = CATALOG[5].model_copy(update={"removed": True})
    replica.update_catalog([gone], after=13)
    ingest.refresh()
    assert 5 not in pool


def test_a_page_of_the_catalogue_costs_what_it_changes(ingest, replica, monkeypatch):
    """However many images are in the pool, only those of the page are looked up, moved or read."""
    pool = finish(ingest)
    looked_up: list[int] = []
    known = ingest.embedder.known

    def counted(hashes):
        looked_up.append(len(hashes))
        return known(hashes)

    monkeypatch.setattr(ingest.embedder, "known", counted)
    monkeypatch.setattr(pool, "_read", looked_up.extend)
    replica.update_catalog([entry(77, sha256=sha256(b"another").hexdigest())], after=13)
    ingest.refresh()
    assert looked_up == [1]
    assert list(ingest.pending) == [77]
    ingest.refresh()
    assert looked_up == [1]  # nothing is new


def test_an_image_whose_problem_may_be_gone_is_tried_again(ingest, replica, monkeypatch):
    finish(ingest)
    replica.update_catalog([entry(25, sha256="0" * 64)], after=13)
    ingest.refresh()
    assert not ingest.embed()
    assert (len(ingest.pending), list(ingest.embedder.problems)) == (0, [25])
    monkeypatch.setattr("trainer.loop.ingest.RETRY_SECONDS", -1.0)
    ingest.refresh()
    assert list(ingest.pending) == [25]


def test_another_catalogue_at_the_same_address_replaces_what_is_known(ingest, replica):
    pool = finish(ingest)
    replica.forget_catalog()
    replica.update_catalog(CATALOG[:5], after=5)
    ingest.refresh()
    assert sorted(pool.ids.tolist()) == list(range(5))


def test_after_a_disk_error_no_change_is_lost(ingest, replica, monkeypatch):
    """The vectors cannot be read for a moment, when one image is gone, another one has moved and a third is new."""
    pool = finish(ingest)
    gone, moved = CATALOG[5].model_copy(update={"removed": True}), CATALOG[3].model_copy(update={"split": "test"})
    replica.update_catalog([gone, moved, entry(77, sha256=sha256(b"another").hexdigest())], after=15)

    def refused(_):
        raise OSError("input/output error")

    for _ in range(2):  # the one that is gone, then the one that moved
        with monkeypatch.context() as patched:
            patched.setattr(pool, "_read", refused)
            with pytest.raises(OSError, match="input/output"):
                ingest.refresh()
    ingest.refresh()
    assert list(ingest.pending) == [77]
    assert pool.whole
    assert pool.split_of(3) == "test"
    assert sorted([*pool.train.ids, *pool.held.ids]) == [each for each in range(12) if each != 5]


def test_a_log_that_was_set_back_gives_ids_to_other_images(tmp_path, photos):
    """A copy of the labeler's database that was put back has the same log id."""
    folder, entries = photos
    trainer = Trainer(*settings_for(tmp_path, folder))
    try:
        rows = [*class_rows("red", "blue"), *label_rows([(1, 2), (2, 1)], after=2)]
        trainer.accept(batch(rows, catalog=60))
        trainer.replica.update_catalog(entries, after=60)
        trainer.catalog.complete.set()
        trainer.loop._follow_log()
        live = trainer.loop.live
        embed_all(live)
        with pytest.raises(Gap):
            trainer.accept(batch([rows[2]], catalog=60))
        swapped = [
            each.model_copy(update={"sha256": other.sha256, "uri": other.uri})
            for each, other in zip(entries, entries[::-1], strict=True)
        ]
        trainer.replica.update_catalog(swapped, after=60)
        trainer.loop._follow_log()
        trainer.catalog.complete.set()
        embed_all(live)
        [row] = live.pool.raw(np.array([3]))
        assert row.tolist() == live.embedder.read([swapped[3].sha256])[0].tolist()
    finally:
        trainer.close()


def embed_all(live):
    live.ingest.refresh()
    while live.ingest.pending:
        live.ingest.embed()
