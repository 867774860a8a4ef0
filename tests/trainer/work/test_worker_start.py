"""What a job says until it computes, and how long its start took the last time."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from shared.wire.jobs import JobKind
from trainer.work import worker_start
from trainer.work.worker_start import LOADING, WorkerStart

NOTHING: set[str] = set()


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def begun(folder: Path, clock: Clock, kind: JobKind = "train") -> WorkerStart:
    return WorkerStart(folder, kind, os.getpid(), clock=clock)


def test_a_long_start_says_how_long_it_takes_and_took_the_last_time(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_start, "waited", lambda _: 0.0)
    start = begun(tmp_path, clock)
    assert start.in_words(LOADING, NOTHING) == LOADING
    clock.now = 48
    assert start.in_words("", NOTHING) == "Starting, 45 s so far"
    assert start.in_words(LOADING, {"round"}) == "Loading the libraries for networks, 45 s so far"
    start.told(LOADING, NOTHING)
    start.told("Reading images", NOTHING)
    clock.now += 1_000
    assert start.in_words("Epoch 1", NOTHING) == "Epoch 1"
    start.told("Epoch 1", NOTHING)
    again, other = begun(tmp_path, clock), begun(tmp_path, clock, "compare")
    clock.now += 180
    assert again.in_words(LOADING, NOTHING).endswith(", 3 min so far (48 s the last time)")
    assert other.in_words(LOADING, NOTHING).endswith(", 3 min so far")


def test_the_time_in_which_a_process_is_halted_does_not_count(tmp_path: Path, clock: Clock) -> None:
    start = begun(tmp_path, clock)
    for clock.now, halting in ((10, NOTHING), (500, {"rest", "round"}), (502, {"round"})):
        start.told(LOADING, halting)
    assert start.in_words(LOADING, {"rest", "round"}) == "halted while the trainer is paused"
    assert start.in_words(LOADING, {"round"}).startswith("Loading the libraries for networks, 10 s so far")
    start.told("Reading images", NOTHING)
    assert json.loads((tmp_path / worker_start.STARTS).read_text())["seconds"] == {"train": 12}


def test_only_a_start_on_this_machine_is_remembered(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(tmp_path, clock).told("Reading images", NOTHING)
    (kept,) = tmp_path.iterdir()
    monkeypatch.setattr("platform.node", lambda: "another")
    later = begun(tmp_path, clock)
    clock.now = 20
    assert "the last time" not in later.in_words(LOADING, NOTHING)
    kept.write_text(json.dumps({"machine": "another", "seconds": 7}))  # not as we write it
    begun(tmp_path, clock).told("Reading images", NOTHING)
    assert json.loads(kept.read_text())["seconds"] == {"train": 0}


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux tells how long a process waited.")
def test_a_start_says_that_it_waits_only_if_it_did(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert worker_start.waited(os.getpid()) > 0
    assert worker_start.waited(0) == 0
    start = begun(tmp_path, clock)
    clock.now = 100
    for seconds, waits in ((49, False), (51, True)):
        monkeypatch.setattr(worker_start, "waited", lambda _, told=seconds: told)
        assert ("a job has the lowest priority" in start.in_words(LOADING, NOTHING)) == waits
