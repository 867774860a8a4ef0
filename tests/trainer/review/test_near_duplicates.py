"""Near copies with different labels or across splits are found, and no held-out image is named."""

import numpy as np

from shared.wire.images import ImageEntry
from trainer.embeddings.space import ImagePool
from trainer.review.near_duplicates import near_duplicates


def entry(image_id, split):
    return ImageEntry(id=image_id, uri="", sha256=f"{image_id:064x}", split=split, removed=False)


def test_a_pool_of_copies_alone():
    pool = ImagePool(8, lambda hashes: np.ones((len(hashes), 8), np.float32))
    pool.add([entry(image_id, "test" if image_id == 5 else "train") for image_id in range(1, 6)], complete=True)
    found = near_duplicates(pool.space(), {1: 0, 2: 1}, 10, seed=0)
    assert found.differing == [(1, 2)]
    assert found.across == dict.fromkeys(range(1, 5), "test")


def test_copies():
    rng = np.random.default_rng(0)
    vectors = {image_id: rng.standard_normal(64).astype(np.float32) for image_id in range(1, 41)}
    vectors[2] = vectors[1] + 1e-3
    vectors[4] = vectors[3] + 1e-3
    vectors[40] = vectors[5] + 1e-3
    pool = ImagePool(64, lambda hashes: np.stack([vectors[int(each, 16)] for each in hashes]))
    pool.add([entry(image_id, "test" if image_id == 40 else "train") for image_id in vectors], complete=True)
    labels = {image_id: image_id % 2 for image_id in range(1, 40)} | {4: 1}
    found = near_duplicates(pool.space(), labels, 10, seed=0)
    assert found.differing == [(1, 2)]
    assert found.across == {5: "test"}
    assert near_duplicates(pool.space(), {}, 10, seed=0).differing == []
