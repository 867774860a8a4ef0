"""A process that has collected the tests, of which pytest's workers are forks: each finds all test modules imported.

It is a fork of `tests.fork_server` itself, so that no service inherits what tests import, and serves on the socket that
is its input. A worker collects as usual, because pytest takes a module that is there as it is.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from streamlit.testing.v1 import app_test

from tests import fork_server


def main(arguments: Sequence[str]) -> int:
    """Collect what the arguments name, and fork for each request until the process is gone whose id comes first."""
    owner, *names = arguments
    collect(names)
    with socket.socket(fileno=os.dup(0)) as listener:
        address = listener.getsockname()
        request = fork_server.serve(listener, int(owner))
    if request is not None:
        app_test.TMP_DIR = tempfile.TemporaryDirectory()  # its folder for scripts ends with the worker
        fork_server.become(request)
    Path(address).unlink(missing_ok=True)
    return 0


def collect(names: Sequence[str]) -> None:
    """Import the tests in these folders as pytest's workers would.

    If one fails, pytest would take what is there of it for the whole. Then each worker imports all tests and says why.
    """
    code = pytest.main([*names, "--collect-only", "-qq", "-n0", "-p", "no:cacheprovider"])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        for name in list(sys.modules):
            if name.rpartition(".")[2].startswith(("test_", "conftest")):
                del sys.modules[name]
    app_test.TMP_DIR.cleanup()
