"""The time of a job that several processes work on."""

import time

from trainer.work.stopwatch import FILE, Stopwatch


def test_the_parts_of_a_killed_job_add_up(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    killed = Stopwatch(tmp_path)
    now += 40
    killed.keep()
    now += 0.5
    killed.keep()  # too soon to write again
    second = Stopwatch(tmp_path)
    now += 3
    assert second.seconds == 43
    second.keep()
    assert Stopwatch(tmp_path).seconds == 43


def test_a_damaged_file_counts_as_none(tmp_path):
    (tmp_path / FILE).write_bytes(b"\xff")
    assert Stopwatch(tmp_path).seconds < 40
