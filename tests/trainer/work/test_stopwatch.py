"""The time of a job that several processes work on."""

from pathlib import Path

import pytest

from tests.services import wait_for
from trainer.work import stopwatch
from trainer.work.stopwatch import FILE, Stopwatch


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopwatch, "KEEP_SECONDS", 0.01)


def kept(folder: Path) -> float:
    return float((folder / FILE).read_text()) if (folder / FILE).exists() else 0.0


def test_the_parts_of_a_killed_job_add_up_whatever_it_did_when_it_was_killed(tmp_path: Path) -> None:
    """Nobody calls the watch meanwhile: validation and the test images take minutes without a step."""
    (tmp_path / FILE).write_text("40")
    killed = Stopwatch(tmp_path)
    wait_for(lambda: kept(tmp_path) > 40)
    killed.stop()
    so_far = kept(tmp_path)
    assert so_far <= Stopwatch(tmp_path).stop() <= killed.seconds + 1


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff")
    assert Stopwatch(tmp_path).stop() < 40
