"""The layout of the code: which room may import which, and the size limits of rooms and modules."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parent.parent
PACKAGES = ("shared", "labeler", "trainer", "commands")
MODULES = {
    ".".join(path.relative_to(HOME).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((HOME / package).rglob("*.py"))
}
SCRIPTS = sorted((HOME / "labeler" / "ui").rglob("*.js"))
SCRIPT_IMPORT = re.compile(r'^(?:import|export)\b[^;"]*"(\.[^"]+)";', re.MULTILINE)
"""An import that the browser follows. Those of types stand in comments."""
MOST_MODULES, MOST_LINES = 12, 400


def imported(path: Path) -> Iterator[str]:
    """Our modules that the file at `path` imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@cache
def imports() -> dict[str, set[str]]:
    """Module → what it imports of ours. To parse all modules takes as long as to collect a tenth of all tests."""
    return {name: {*imported(path)} & MODULES.keys() - {name} for name, path in MODULES.items()}


@cache
def script_imports() -> dict[Path, set[Path]]:
    """Module of the pages → what it imports."""
    found = {path: SCRIPT_IMPORT.findall(path.read_text(encoding="utf-8")) for path in SCRIPTS}
    return {path: {(path.parent / other).resolve() for other in others} for path, others in found.items()}


def home(path: Path) -> str:
    """The path below the checkout, to be read in a message."""
    return path.relative_to(HOME).as_posix()


def room_of(module: str) -> str:
    """The folder of a module. The root of a package is a room of its own."""
    room = ".".join(MODULES[module].relative_to(HOME).parent.parts)
    return module if room in PACKAGES else room


def assert_no_circle(graph: Mapping[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"These import each other in a circle: {' ← '.join(error.args[1])}")


def test_no_module_imports_itself_by_way_of_others():
    assert len(imports()) > 200
    assert_no_circle(imports())


def test_no_room_imports_itself_by_way_of_others():
    rooms: dict[str, set[str]] = {}
    for module, others in imports().items():
        rooms.setdefault(room_of(module), set()).update(room_of(other) for other in others)
    assert_no_circle({room: others - {room} for room, others in rooms.items()})


def test_no_script_imports_itself_by_way_of_others():
    graph = {home(path): {*map(home, others)} for path, others in script_imports().items()}
    assert sum(map(len, graph.values())) > 200
    assert_no_circle(graph)


def test_no_room_of_the_pages_imports_itself_by_way_of_others():
    rooms: dict[str, set[str]] = {}
    for path, others in script_imports().items():
        rooms.setdefault(home(path.parent), set()).update(home(other.parent) for other in others)
    assert_no_circle({room: others - {room} for room, others in rooms.items()})


@pytest.mark.parametrize(
    ("package", "may"),
    [
        ("shared", {"shared"}),
        ("labeler", {"labeler", "shared"}),
        ("trainer", {"trainer", "shared"}),
    ],
)
def test_services_share_only_what_stands_in_shared(package, may):
    foreign = {
        (module, other)
        for module, others in imports().items()
        for other in others
        if module.split(".")[0] == package and other.split(".")[0] not in may
    }
    assert not foreign


def test_a_room_has_a_dozen_modules_at_most():
    modules = [path for path in MODULES.values() if path.name != "__init__.py"]
    sheets = [path for kind in ("*.css", "*.html") for path in (HOME / "labeler" / "ui").rglob(kind)]
    for files in (modules, SCRIPTS, sheets):
        rooms = Counter(home(path.parent) for path in files)
        assert {room: count for room, count in rooms.items() if count > MOST_MODULES} == {}


def test_a_module_has_400_lines_at_most():
    paths = [
        *MODULES.values(),
        *SCRIPTS,
        *(HOME / "tests").rglob("*.js"),
        *(HOME / "tests").rglob("*.py"),
        *(HOME / "benchmarks").rglob("*.py"),
    ]
    lines = {str(path.relative_to(HOME)): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}


def test_no_module_is_named_like_one_of_pythons_own():
    names = {module for module in MODULES if module.split(".")[-1] in sys.stdlib_module_names}
    assert names == set()


def test_each_room_says_what_it_is_for():
    silent = [name for name, path in MODULES.items() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert silent == []
