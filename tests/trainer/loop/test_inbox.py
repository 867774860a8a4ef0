"""Errands are done on one thread, in turn, and nobody waits for a loop that has ended."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from trainer.jobs.job_queue import NotNow
from trainer.loop.inbox import Errands


def test_each_gets_its_own_answer_from_the_thread_that_runs_them():
    asked = threading.Semaphore(0)
    errands = Errands(asked.release)

    def fail():
        raise ValueError("a full disk")

    with ThreadPoolExecutor() as others:
        first = others.submit(errands.ask, threading.get_ident)
        second = others.submit(errands.ask, fail)
        later = others.submit(errands.ask, lambda: "resumed", only_running=True)
        for _ in range(3):
            assert asked.acquire(timeout=5)
        errands.run(lambda: False)
        assert first.result(5) == threading.get_ident()
        with pytest.raises(ValueError, match="a full disk"):
            second.result(5)
        assert not later.done()
        errands.run(lambda: True)
        assert later.result(5) == "resumed"


def test_what_waits_when_the_loop_ends_is_told_so():
    asked = threading.Event()
    errands = Errands(asked.set)
    with ThreadPoolExecutor() as others:
        waiting = others.submit(errands.ask, lambda: "never")
        assert asked.wait(5)
        errands.close()
        with pytest.raises(NotNow):
            waiting.result(5)
    with pytest.raises(NotNow):
        errands.ask(lambda: "never")
