"""Requests run on one thread, in order, and nobody waits for a loop that has ended."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from trainer.jobs.inbox import Inbox
from trainer.jobs.job_queue import NotNow


def test_each_gets_its_own_answer_from_the_thread_that_runs_them():
    asked = threading.Semaphore(0)
    inbox = Inbox(asked.release)

    def fail():
        raise ValueError("a full disk")

    with ThreadPoolExecutor() as others:
        first = others.submit(inbox.ask, threading.get_ident)
        second = others.submit(inbox.ask, fail)
        later = others.submit(inbox.ask, lambda: "resumed", only_running=True)
        for _ in range(3):
            assert asked.acquire(timeout=5)
        inbox.run(lambda: False)
        assert first.result(5) == threading.get_ident()
        with pytest.raises(ValueError, match="a full disk"):
            second.result(5)
        assert not later.done()
        inbox.run(lambda: True)
        assert later.result(5) == "resumed"


def test_waiting_requests_are_told_when_the_loop_ends():
    asked = threading.Event()
    inbox = Inbox(asked.set)
    with ThreadPoolExecutor() as others:
        waiting = others.submit(inbox.ask, lambda: "never")
        assert asked.wait(5)
        inbox.close()
        with pytest.raises(NotNow):
            waiting.result(5)
    with pytest.raises(NotNow):
        inbox.ask(lambda: "never")
