"""Dictionaries and sets that detect iteration by a thread that does not hold their lock.

Such an iteration fails ("dictionary changed size during iteration") only if another thread writes at that moment, so an
ordinary test never sees it. These replacements always detect it.
"""

from __future__ import annotations

import threading
import traceback
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

ITERATING = ("__iter__", "__reversed__", "keys", "values", "items", "__or__", "__ror__", "__and__", "__sub__", "copy")
LOCKS = (type(threading.Lock()), type(threading.RLock()), threading.Condition)
KINDS = (dict, defaultdict, OrderedDict, Counter, set)


class Violations:
    """Places that iterated in a forbidden thread; `allowed` says whether the current thread may."""

    def __init__(self, allowed: Callable[[], bool]) -> None:
        self._allowed = allowed
        self.found: list[str] = []

    def check(self, what: str) -> None:
        """Record the caller unless its thread is allowed."""
        if not self._allowed():
            frames = [each for each in traceback.extract_stack() if "/tests/" not in each.filename]
            at = frames[-1] if frames else traceback.extract_stack()[0]
            self.found.append(f"{what} in {at.filename}:{at.lineno} ({at.line}) on {threading.current_thread().name}")

    def guard(self, owner: object) -> None:
        """Replace each dictionary and set of `owner`, while no other thread writes."""
        for name, value in list(vars(owner).items()):
            if type(value) in KINDS:
                setattr(owner, name, self._guarded(value, f"{type(owner).__name__}.{name}"))

    def _guarded(self, value: Any, what: str) -> Any:
        kind = type(value)

        def checking(method: str) -> Callable[..., Any]:
            def call(this: Any, *others: Any) -> Any:
                self.check(what)
                return getattr(kind, method)(this, *others)

            return call

        methods = {name: checking(name) for name in ITERATING if hasattr(kind, name)}
        made = type(kind.__name__, (kind,), methods)
        return made(value.default_factory, value) if isinstance(value, defaultdict) else made(value)


def held(lock: Any) -> Callable[[], bool]:
    """Whether the current thread holds the lock."""
    return lambda: bool(lock._is_owned())


def parts_of(owner: object, packages: tuple[str, ...]) -> Iterator[object]:
    """`owner` and all objects it consists of, for classes in `packages`."""
    seen: set[int] = set()
    waiting: list[object] = [owner]
    while waiting:
        part = waiting.pop()
        if id(part) in seen or not type(part).__module__.startswith(packages) or not hasattr(part, "__dict__"):
            continue
        seen.add(id(part))
        yield part
        waiting += vars(part).values()


def has_own_lock(part: object) -> bool:
    """Whether it locks its own fields."""
    return any(
        isinstance(value, (type(threading.Lock()), threading.Condition, _Recorded)) for value in vars(part).values()
    )


class LockOrder:
    """Records which lock was taken while another was held. A lock is named by its class and attribute."""

    def __init__(self) -> None:
        self.pairs: set[tuple[str, str]] = set()
        self._held = threading.local()

    def record(self, parts: Iterable[object]) -> None:
        """Start to record the locks of these parts. No thread may hold one of them meanwhile."""
        for part in parts:
            locks = {name: value for name, value in vars(part).items() if isinstance(value, LOCKS)}
            for name, value in locks.items():
                within = vars(value)["_lock"] if isinstance(value, threading.Condition) else value
                first = next(other for other, each in locks.items() if each in (value, within))
                setattr(part, name, _Recorded(value, f"{type(part).__name__}.{first}", self))

    def stack(self) -> list[str]:
        """The locks that the current thread holds, in the order in which it took them."""
        if not hasattr(self._held, "names"):
            self._held.names = []
        names: list[str] = self._held.names
        return names


class _Recorded:
    def __init__(self, lock: Any, name: str, order: LockOrder) -> None:
        self._own, self._name, self._order = lock, name, order

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def acquire(self, *args: Any, **named: Any) -> bool:
        """As the lock's own."""
        taken = bool(self._own.acquire(*args, **named))
        if taken:
            held = self._order.stack()
            if self._name not in held:
                self._order.pairs |= {(each, self._name) for each in held}
            held.append(self._name)
        return taken

    def release(self) -> None:
        """As the lock's own."""
        held = self._order.stack()
        del held[len(held) - 1 - held[::-1].index(self._name)]
        self._own.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()
