"""The order of the test files, which decides when the last worker ends."""

from itertools import groupby
from types import SimpleNamespace

from tests.conftest import LONG, TESTS, pytest_collection_modifyitems


def test_long_files_come_first_and_those_of_few_tests_last():
    names = ["labeler/test_few.py", *["labeler/test_many.py"] * 3, "browser/test_one.py", *["browser/test_two.py"] * 2]
    items = [SimpleNamespace(path=TESTS / name) for name in (*names, "trainer/jobs/test_one.py")]
    pytest_collection_modifyitems(items)
    files = [str(path.relative_to(TESTS)) for path, _ in groupby(item.path for item in items)]
    long = ["browser/test_one.py", "trainer/jobs/test_one.py", "browser/test_two.py"]
    assert files == [*long, "labeler/test_many.py", "labeler/test_few.py"]
    assert len(items) == 8


def test_each_long_room_is_there():
    assert [name for name in LONG if not (TESTS / name).exists()] == []
