"""The page about threads and locks names those that are in the code, and no others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.threads_page import PAGE, on_page

HOME = Path(__file__).resolve().parent.parent
MODULES = sorted(path for room in ("shared", "labeler", "trainer", "commands") for path in (HOME / room).rglob("*.py"))
LOCKS = {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Barrier"}
THREADS = {"Thread": "name", "ThreadPoolExecutor": "thread_name_prefix"}

Named = set[tuple[str, str]]
"""A name and the module that it stands in."""


def called(node: ast.AST) -> str:
    """The name of the function that a call calls."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Each call, by the name of what it calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield called(node), node


def threads_in(tree: ast.AST) -> Iterator[str]:
    """The names under which threads are started."""
    for name, call in calls(tree):
        if name in THREADS:
            given = next((each.value for each in call.keywords if each.arg == THREADS[name]), None)
            assert given is not None, f"line {call.lineno}: a thread needs a name"
            if isinstance(given, ast.Constant):
                yield str(given.value)
        elif name == "Worker" and isinstance(call.args[0], ast.Constant):
            yield str(call.args[0].value)


def locks_in(tree: ast.AST) -> Iterator[str]:
    """The locks, by their class and attribute."""
    named = 0
    for each in ast.walk(tree):
        if isinstance(each, ast.ClassDef):
            for node in ast.walk(each):
                if isinstance(node, ast.Assign | ast.AnnAssign) and node.value and called(node.value) in LOCKS:
                    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                    assert isinstance(target, ast.Attribute), f"line {node.lineno}: a lock is an attribute"
                    named += 1
                    yield f"{each.name}.{target.attr}"
    assert named == sum(name in LOCKS for name, _ in calls(tree)), "each lock is an attribute of a class"


def modules_that_name(words: Iterable[str]) -> Iterator[tuple[str, ast.AST]]:
    """The modules, parsed, in which one of these words stands at all."""
    some = re.compile("|".join(words))
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        if some.search(text):
            yield path.relative_to(HOME).as_posix(), ast.parse(text)


def in_code(found_in: str) -> Named:
    words, names = ([*THREADS, "Worker"], threads_in) if found_in == "thread" else (LOCKS, locks_in)
    return {(name, module) for module, tree in modules_that_name(words) for name in names(tree)}


def test_every_thread_has_a_name_that_is_on_the_page():
    assert len(on_page("thread")) > 20
    assert set(on_page("thread")) == in_code("thread")


def test_every_lock_is_on_the_page():
    assert len(on_page("lock")) > 20
    assert set(on_page("lock")) == in_code("lock")


def test_every_module_that_starts_a_process_or_locks_a_file_is_on_the_page():
    told = set(re.findall(r"^\| `([a-z_/]+\.py)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    code = set()
    for module, tree in modules_that_name(["FileLock", "Process", "ProcessPoolExecutor", "subprocess"]):
        for name, call in calls(tree):
            of_subprocess = isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "subprocess"
            if name in {"FileLock", "Process", "ProcessPoolExecutor"} or (of_subprocess and name in {"Popen", "run"}):
                code.add(module)
    assert told == code
