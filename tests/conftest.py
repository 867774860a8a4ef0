"""Settings and fixtures for all tests."""

import atexit
import gc
import logging
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.pop("COLUMNS", None)  # pytest-xdist sets it, and then tables are as narrow as that for good

# A busy machine is not a failure: no test asserts how long something took. Before a merge, the same examples are tried
# each time; everywhere else new ones are tried, and a failure found that way gets its own test.
settings.register_profile("flywheel", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("flywheel")

# Otherwise each service that a test starts would compile Flywheel anew, and each worker all tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Several services compute beside each other: threads of each that wait for those of others cost a fifth of all.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from tests import temporary  # noqa: E402

temporary.use_memory()

# Services started by tests do not belong in the user's list of recent projects.
os.environ.setdefault("FLYWHEEL_STATE", tempfile.mkdtemp(prefix="flywheel-state-"))
NOWHERE = f"{os.environ['FLYWHEEL_STATE']}/nowhere"

# No test uses an internet server, so none needs certificates; reading them costs 30 ms per HTTP client.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = NOWHERE

# Published weights cannot be downloaded, and the cache of whoever runs the tests holds none.
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"  # nothing listens there
os.environ["HF_HUB_CACHE"] = NOWHERE

# Tests of tracking turn it on; no other test starts a wandb process for its trainers.
os.environ.setdefault("FLYWHEEL_TRAINER__TRACKING", "off")

TESTS = Path(__file__).parent
LONG = [
    *("browser", "system", "commands/models", "commands/test_client.py", "trainer/embeddings/decoding"),
    *("trainer/engine", "trainer/jobs", "trainer/loop", "trainer/tracking", "trainer/versions"),
    *("trainer/whole_detector",),
]
"""Rooms and files whose tests take seconds each: they start services and jobs, or train."""


from tests import forks  # noqa: E402 - the environment is as it stays; what a service reads at its start is in it

forks.begin_run()


def pytest_sessionfinish(exitstatus: int) -> None:
    """The files of a run that failed stay."""
    if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        temporary.keep()


def pytest_configure(config: pytest.Config) -> None:
    """Workers are forks of a process that has collected the tests."""
    forks.use_for_workers(config)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import all tests without looking for garbage, of which there is none, and leave what was imported out of every
    later look. That saves each worker some seconds."""
    gc.disable()
    collected = yield
    gc.freeze()
    gc.enable()
    atexit.register(gc.unfreeze)  # at the end, libraries ask what they left behind
    return collected


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files come first, so that the workers end together: a worker gets a file as a whole. By itself, pytest-xdist
    would begin with the files of many tests and end with those of one, which are the longest of all.

    The long rooms take turns, because services wait where trainings compute.
    """
    tests = Counter(item.path for item in items)
    rooms = {path: _long_room(path) for path in tests}
    turns: Counter[int] = Counter()
    places: dict[Path, tuple[int, int, int]] = {}
    for path, room in rooms.items():
        places[path] = (1, -tests[path], 0) if room is None else (0, turns[room], room)
        if room is not None:
            turns[room] += 1
    items.sort(key=lambda item: places[item.path])


def _long_room(path: Path) -> int | None:
    return next((number for number, name in enumerate(LONG) if (TESTS / name) in (path, *path.parents)), None)


def pytest_xdist_auto_num_workers() -> int:
    """One more worker than cores, because tests of services wait more than they compute."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(autouse=True)
def logging_ends_with_the_test() -> Iterator[None]:
    """Services in this process log to a stream that is closed after the test; errors about it would appear in later
    tests.
    """
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)  # which is a setting of the labeler, too
    for handler in list(root.handlers):
        if isinstance(handler, logging.StreamHandler) and not type(handler).__module__.startswith("_pytest."):
            root.removeHandler(handler)
            handler.close()


@pytest.fixture(autouse=True)
def every_refusal_is_in_its_schema() -> Iterator[None]:
    """A service in this process logs a response whose status is missing from its OpenAPI schema; fail on that."""
    heard: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("shared.web.answers")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)
    assert not heard
