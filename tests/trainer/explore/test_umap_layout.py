"""The UMAP layout comes from its own process; a fake `umap` module replaces umap-learn here."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from tests.services import wait_for
from trainer.explore import umap_layout
from trainer.explore.umap_layout import UmapFailed, UmapLayout


@pytest.fixture
def rows():
    """Three groups of twenty rows."""
    rng = np.random.default_rng(0)
    found = np.eye(3, 8)[np.arange(60) % 3] + 0.05 * rng.standard_normal((60, 8))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a fake module `umap` for this process and its children, with the given behaviour."""

    def put(does):
        folder = tmp_path / "site"
        folder.mkdir(exist_ok=True)
        (folder / "umap.py").write_text(
            "class UMAP:\n    def __init__(self, **options): self.options = options\n"
            f"    def fit_transform(self, rows):\n        {does}\n"
        )
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("PYTHONPATH", str(folder))

    yield put
    sys.modules.pop("umap", None)


@pytest.fixture
def made(tmp_path):
    layouts = UmapLayout(tmp_path / "manifold", seed=0)
    yield layouts
    layouts.close()


def worked_out(made, state, rows, seconds=60):
    (found,) = wait_for(lambda: [each for each in [made.positions(state, rows)] if each is not None], seconds=seconds)
    return found


def test_progress_comes_from_the_output_of_umap(tmp_path, rows, install):
    install(
        "import time, tqdm\n"
        "        for _ in tqdm.tqdm(range(4), mininterval=0, **self.options['tqdm_kwds']): time.sleep(0.2)\n"
        "        time.sleep(600)"
    )
    layouts = UmapLayout(tmp_path / "manifold", seed=0)
    try:
        assert layouts.progress() == (None, None)
        assert layouts.positions("one", rows) is None
        wait_for(lambda: (layouts.progress()[0] or 0) >= 0.25, "some of it")
        share, seconds = layouts.progress()
        assert share in (0.25, 0.5, 0.75, 1)
        assert seconds is not None
        assert 0 <= seconds < 60
    finally:
        layouts.close()


def test_it_is_computed_once_in_the_background_and_again_for_another_pool(install, made, rows):
    install("return 7 + 5 * rows[:, :2]")
    assert made.available
    assert made.positions("now", rows) is None
    found = worked_out(made, "now", rows)
    low, high = rows[:, :2].min(axis=0), rows[:, :2].max(axis=0)
    assert np.allclose(found, (2 * rows[:, :2] - low - high) / (high - low).max(), atol=1e-5)
    assert made.positions("now", rows) is found
    assert made.positions("later", rows[:30]) is None
    assert len(worked_out(made, "later", rows[:30])) == 30


def test_it_runs_on_one_core_at_the_lowest_priority(install, made, rows):
    install("import os; assert (os.nice(0), os.environ['NUMBA_NUM_THREADS']) == (19, '1'); return rows[:, :2]")
    assert worked_out(made, "now", rows).shape == (60, 2)


@pytest.mark.parametrize("does", ["raise ValueError('no such neighbours')", "return rows[:3, :2]", "return rows / 0"])
def test_a_failure_is_a_sentence_and_is_not_tried_again(install, made, rows, does, tmp_path):
    install(does)

    def failed():
        try:
            return made.positions("now", rows)
        except UmapFailed as error:
            return str(error)

    said = wait_for(failed)
    assert said.startswith("UMAP failed: ")
    (tmp_path / "site" / "umap.py").unlink()
    assert failed() == said


def test_too_few_different_images_are_refused_with_a_reason(install, made, rows):
    install("return rows[:, :2]")
    assert made.positions("now", rows[:5]) is None
    with pytest.raises(UmapFailed, match="at least 10 different images"):
        worked_out(made, "now", rows[:5])
    with pytest.raises(UmapFailed, match="at least 10 different images"):
        worked_out(made, "copies", np.repeat(rows[:1], 50, axis=0))


def test_a_process_does_not_outlive_the_trainer(install, made, rows, tmp_path):
    note = tmp_path / "pid"
    install(f"import os, pathlib, time; pathlib.Path({str(note)!r}).write_text(str(os.getpid())); time.sleep(60)")
    made.positions("now", rows)
    process = int(wait_for(lambda: note.exists() and note.read_text()))
    made.close()
    wait_for(lambda: not os.path.exists(f"/proc/{process}"))  # noqa: PTH110


def test_images_outside_the_sample_are_placed_between_similar_ones(install, rows, monkeypatch):
    install("return rows[:, :2]")
    monkeypatch.setattr(umap_layout, "FIT_SAMPLE", 30)
    found = umap_layout.layout(rows, seed=0)
    assert found.shape == (60, 2)
    centres = np.stack([found[k::3].mean(axis=0) for k in range(3)])
    distance = np.linalg.norm(found[:, None] - centres, axis=2)
    assert (distance.argmin(axis=1) == np.arange(60) % 3).all()


@pytest.mark.skipif(find_spec("umap") is None, reason="the extra `umap` is not installed")
@pytest.mark.filterwarnings("ignore")
def test_umap_itself_sets_groups_apart(made, rows):
    found = worked_out(made, "now", rows, seconds=120)
    centres = np.stack([found[k::3].mean(axis=0) for k in range(3)])
    distance = np.linalg.norm(found[:, None] - centres, axis=2)
    assert (distance.argmin(axis=1) == np.arange(60) % 3).all()
    assert np.abs(found).max() <= 1.0001
