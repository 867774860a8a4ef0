"""Processes of low priority."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import HOME

GROUPS = Path("/proc/self/autogroup")


def said_by(code, **how):
    """The output of a real process."""
    asked = [sys.executable, "-c", f"from shared.processes import *; import os; {code}"]
    return subprocess.run(asked, cwd=HOME, capture_output=True, text=True, timeout=50, check=True, **how).stdout.strip()


def test_a_process_at_the_lowest_priority():
    assert said_by("lower_priority(); print(os.nice(0))") == "19"


def test_the_lowest_priority_is_that_whatever_the_service_was_started_with():
    """Where `nice` may not raise the priority, it only says so."""
    code = "from shared.processes import *; import os; lower_priority(); print(os.nice(0))"
    started = ["nice", "-n", "-10", sys.executable, "-c", code]
    said = subprocess.run(started, cwd=HOME, capture_output=True, text=True, timeout=50, check=True)
    assert said.stdout.strip() == "19"


@pytest.mark.skipif(not GROUPS.exists(), reason="this kernel does not weigh sessions")
def test_a_session_of_its_own_gets_no_share_for_itself():
    """Where Linux groups processes by session, a priority counts only within the session."""
    tell = f"lower_priority(); print(open({str(GROUPS)!r}).read())"
    assert said_by(tell, start_new_session=True).endswith("nice 19")
    before = GROUPS.read_text()
    said_by(tell)  # in our session it changes only itself
    assert GROUPS.read_text() == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this policy")
def test_a_process_that_takes_only_time_that_nobody_wants():
    """All of its threads, also those that were there before."""
    code = """
import threading
ready, asked, told = threading.Event(), threading.Event(), []
def work():
    ready.set()
    asked.wait()
    told.append(os.sched_getscheduler(0))
thread = threading.Thread(target=work)
thread.start()
ready.wait()
yield_to_all()
asked.set()
thread.join()
print({*told, os.sched_getscheduler(0)} == {os.SCHED_IDLE})
"""
    assert said_by(code) == "True"
