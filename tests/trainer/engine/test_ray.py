"""The engine on a real Ray cluster with two workers of a kind: the same answers as without it, also after kills.

The cluster takes most of the time: it is started once, and the tests stand in the order in which they leave it whole.
"""

from uuid import uuid4

import numpy as np
import pytest

from shared.settings.services import SettingsError, TrainerSettings
from tests.trainer.embeddings.embedders import OWN, Photos
from tests.trainer.engine.ray_machines import PRIVATE, Machines, halves, until
from trainer.columns.id_matrix import IdMatrix
from trainer.embeddings.embedder import Embedder
from trainer.embeddings.space import Geometry, ImagePool
from trainer.embeddings.transform import plain
from trainer.engine.engine import LocalEngine
from trainer.engine.opening import open_engine
from trainer.loop.rounds import Timings, fit, rank
from trainer.strategies import strategy_named
from trainer.sync.snapshot import Snapshot

IMAGES, CLASSES = 80_000, 4

pytestmark = [
    pytest.mark.filterwarnings("ignore:Ray Client connection timed out:UserWarning"),
    pytest.mark.filterwarnings(  # raised in a thread of gRPC when Ray closes its channel
        "ignore:(?s)Exception in thread.*Cannot monitor channel state:pytest.PytestUnhandledThreadExceptionWarning"
    ),
]


def settings_with(**more):
    return TrainerSettings.load(command_line={"device": "cpu", "batch_size": 8, **OWN, **more})[0]


@pytest.fixture(scope="module")
def machine():
    found = Machines(cores=2)
    yield found
    found.close()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return Photos(tmp_path_factory.mktemp("images") / "photos")


@pytest.fixture(scope="module")
def engine(machine, photos):
    """An engine that was started before its cluster."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in PRIVATE.items():
            patch.setenv(name, value)
        from trainer.engine import ray_cluster, ray_engine  # imported here, because Ray then reads the environment

        patch.setattr(ray_cluster, "_machines", halves(ray_cluster._machines))
        patch.setattr(ray_engine, "PAUSES", (0.5,))
        settings = settings_with(engine="ray", ray_address=machine.address, images=str(photos.root))
        found = ray_engine.RayEngine(settings, least=50_000)  # so few rows that the workers take part in a round
        found.start()
        assert "is away" in found.problem
        assert machine.address in found.problem
        machine.head()
        assert listed(found)() == listed(LocalEngine())()  # computed here while the cluster starts, which takes seconds
        until(lambda: found.problem is None and len(found.machines) == 2, 180.0)
        yield found
        found.close()


def pool_with(engine):
    """A pool of vectors around a centre for each class."""
    rng = np.random.default_rng(0)
    truth = rng.integers(CLASSES, size=IMAGES)
    rows = rng.standard_normal((CLASSES, 16))[truth] + rng.standard_normal((IMAGES, 16))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    pool = ImagePool(16, lambda _: rows)
    workers = engine if engine.spreads else None
    pool.geometry = Geometry(plain(np.zeros(16, np.float32)), IdMatrix(16, None, workers), IdMatrix(16))
    pool.train.append(np.arange(IMAGES), rows)
    return pool, {image: int(truth[image]) for image in range(40)}


def listed(engine, strategy="margin"):
    """The list of a round, as images, scores and reasons."""
    pool, labels = pool_with(engine)
    names = {k: str(k) for k in range(CLASSES)}
    snapshot = Snapshot(uuid4(), len(labels), labels, frozenset(labels), names)
    model = fit(pool, snapshot, None, seed=0)
    given = {"strategy_name": strategy, "leased": frozenset(), "length": 100, "seed": 0, "timings": Timings()}

    def ask():
        push = rank(pool, snapshot, model, strategy_named(strategy), **given)
        return [each.model_dump(exclude={"id"}) for each in push.queries]

    return ask


@pytest.mark.parametrize("strategy", ["margin", "uncertainty_herding"])
def test_both_engines_give_the_same_list(engine, strategy):
    alone, together = listed(LocalEngine(), strategy)(), listed(engine, strategy)
    assert together() == alone  # computed here, because the rows are only being sent
    until(lambda: engine.waiting == 0)
    before = engine.answered
    assert together() == alone
    assert engine.answered > before


def test_a_killed_worker_is_sent_its_rows_again(engine, machine):
    alone, together = listed(LocalEngine())(), listed(engine)
    together()
    until(lambda: engine.waiting == 0)
    machine.processes("RowHolder")[0].kill()
    assert together() == alone
    until(lambda: engine.waiting == 0)
    before = engine.answered
    until(lambda: together() == alone and engine.answered > before)
    assert engine.problem is None


def test_workers_embed_what_this_process_would_embed(engine, photos, tmp_path):
    first, then = photos.add(60), photos.add(40, first=100)
    then.append(photos.entry(99, b"no image"))
    here = Embedder(settings_with(), tmp_path / "here", photos.fetch)
    there = Embedder(settings_with(), tmp_path / "there", photos.fetch, engine=engine)

    def embed(embedder, entries):
        until(lambda: len(embedder.step(entries, more_coming=False)) + len(embedder.problems) == len(entries))

    try:
        embed(here, first + then)
        photos.fetched.clear()
        embed(there, first)
        of_workers = {entry.id for entry in first} - set(photos.fetched)
        assert len(of_workers) >= 16  # while they start, this process embeds the others
        photos.fetched.clear()
        embed(there, first + then)
        assert set(photos.fetched) == {99}  # no worker could read it, so this process tried
        hashes = [entry.sha256 for entry in first + then[:-1]]
        np.testing.assert_array_equal(there.read(hashes), here.read(hashes))
        assert there.problems == here.problems
    finally:
        here.close()
        there.close()


def test_without_its_head_the_trainer_goes_on_alone(engine, machine, photos, tmp_path, monkeypatch):
    alone, together = listed(LocalEngine())(), listed(engine)
    together()
    until(lambda: engine.waiting == 0)
    embedder = Embedder(settings_with(), tmp_path / "there", photos.fetch, engine=engine)
    machine.freeze()
    monkeypatch.setattr("trainer.engine.ray_cluster.ASK_SECONDS", 1.0)
    try:
        entries = photos.add(20, first=200)
        until(lambda: len(embedder.step(entries, more_coming=False)) == 20)  # this process embeds them
    finally:
        embedder.close()
    assert "is away" in engine.problem
    machine.kill()
    assert together() == alone
    assert "is away" in engine.problem


def test_ray_is_opened_when_the_settings_say_so(engine):
    opened = open_engine(settings_with(engine="ray", ray_address="ray://127.0.0.1:1"))
    assert type(opened) is type(engine)
    assert "ray://127.0.0.1:1 is away" in opened.problem
    assert isinstance(open_engine(settings_with()), LocalEngine)


def test_an_engine_needs_an_address():
    with pytest.raises(SettingsError, match="set 'ray_address' to ray://HOST:10001"):
        open_engine(settings_with(engine="ray"))
