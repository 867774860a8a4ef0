"""A background thread retries after an error by itself, and at once when the reason is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from tests.services import wait_for
from trainer.sync import background
from trainer.sync.background import Worker
from trainer.sync.labeler_client import LabelerAway

Start = Callable[[Callable[[], None]], Worker]


@pytest.fixture
def start() -> Iterator[Start]:
    workers: list[Worker] = []

    def begin(work: Callable[[], None]) -> Worker:
        worker = Worker("test", work)
        workers.append(worker)
        worker.start()
        worker.wake()
        return worker

    yield begin
    for worker in workers:
        worker.close()


class Failing:
    """Work that fails with `error` until `mended`."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.tries = 0
        self.mended = threading.Event()

    def __call__(self) -> None:
        self.tries += 1
        if not self.mended.is_set():
            raise self.error


@pytest.mark.parametrize("error", [LabelerAway("The labeler is away"), OSError(28, "No space left on device")])
def test_it_retries_by_itself(start: Start, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(background, "BACK_OFF_SECONDS", (0.01,))
    monkeypatch.setattr(background, "FAILED_SECONDS", (0.01,))
    work = Failing(error)
    worker = start(work)
    wait_for(lambda: work.tries > 2, "three tries")
    assert str(error) in str(worker.last_error)
    work.mended.set()
    wait_for(lambda: worker.last_error is None, "a try without an error")


def test_a_reason_that_is_gone_ends_the_pause(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FAILED_SECONDS", (3_600.0,))
    work = Failing(OSError(28, "No space left on device"))
    worker = start(work)
    wait_for(lambda: worker.last_error is not None, "the error")
    worker.wake()  # other news arrives meanwhile, and waits
    work.mended.set()
    worker.retry()
    wait_for(lambda: worker.last_error is None, "a try without an error")
    assert work.tries == 2


def test_news_wait_for_the_first_pause_only(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FAILED_SECONDS", (0.01, 3_600.0))
    work = Failing(OSError(28, "No space left on device"))
    worker = start(work)
    wait_for(lambda: work.tries == 2, "the second try")
    work.mended.set()
    worker.wake()
    wait_for(lambda: worker.last_error is None, "a try without an error")


def test_an_error_after_the_labeler_was_away_is_a_first_one(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "BACK_OFF_SECONDS", (0.01,))
    monkeypatch.setattr(background, "FAILED_SECONDS", (0.01, 3_600.0))
    work = Failing(LabelerAway("The labeler is away"))
    worker = start(work)
    wait_for(lambda: work.tries > 2, "three tries")
    work.error = ValueError("unexpected")
    wait_for(lambda: worker.last_error == "ValueError: unexpected", "the other error")
    work.mended.set()
    wait_for(lambda: worker.last_error is None, "a try without an error")


def test_close_ends_a_pause(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FAILED_SECONDS", (3_600.0,))
    worker = start(Failing(ValueError("unexpected")))
    wait_for(lambda: worker.last_error == "ValueError: unexpected", "the error")
    worker.close()
    assert "test" not in {thread.name for thread in threading.enumerate()}
