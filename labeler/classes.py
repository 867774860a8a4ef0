"""Classes: added, renamed, merged and deleted while labeling goes on, each as a row of the annotation log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from labeler.annotation_log import AnnotationLog, Draft
from labeler.database import Store
from labeler.problems import Conflict, Invalid, Missing
from shared.log import ClassState, Fold
from shared.messages import ClassEntry, ClassPatch
from shared.names import key, meant

DIGITS = "1234567890"  # as they lie on a keyboard


def hotkeys(names: Sequence[str]) -> list[str | None]:
    """The digit that gives each class: its own name where that is one, else the next that is free; ten have one."""
    first = names[: len(DIGITS)]
    free = (digit for digit in DIGITS if digit not in first)
    return [name if name in tuple(DIGITS) else next(free) for name in first] + [None] * (len(names) - len(first))


def unknown(fold: Fold, name: int | str) -> str:
    """Says that there is no class of that name or id, and which may have been meant."""
    known = [each.name for each in fold.live_classes()] if isinstance(name, str) else []
    return f"there is no class {name!r}: add it first{meant(str(name), known)}"


class Classes:
    """The classes of one workspace."""

    def __init__(self, store: Store, log: AnnotationLog) -> None:
        self._store = store
        self._log = log

    def entries(self) -> list[ClassEntry]:
        """Those that can be given, in the order in which they were added; the first ten have a key."""
        with self._store.lock:
            live = self._log.fold.live_classes()
            keys = hotkeys([known.name for known in live])
            others = self._log.fold.other_names()
            return [
                ClassEntry(id=known.id, name=known.name, hotkey=digit, aliases=sorted(others.get(known.id, ())))
                for known, digit in zip(live, keys, strict=True)
            ]

    def name(self, class_id: int) -> str | None:
        """What the class is called now; None if it was deleted or never was."""
        fold = self._log.fold
        live = fold.resolve(class_id)
        return None if live is None else fold.classes[live].name

    def begin_with(self, names: Iterable[str]) -> None:
        """Add those that never were: one that was renamed, merged or deleted since does not come back."""
        with self._store.lock:
            known = {key(name) for state in self._log.fold.classes.values() for name in (state.name, *state.aliases)}
            first: dict[str, str] = {}
            for name in names:
                first.setdefault(key(name), name)
            self._add([name for each, name in first.items() if each not in known], "settings")

    def add(self, name: str, annotator: str = "api") -> ClassEntry:
        """Raises Conflict when a class goes by that name, or did; Invalid when the name is blank."""
        with self._store.lock:
            self._add([self._free(name)], annotator)
            return self.entries()[-1]

    def change(self, class_id: int, patch: ClassPatch) -> ClassEntry:
        """Rename the class or merge it into another; returns the class as it is now, or the one it became part of.

        Raises Missing, Conflict and Invalid.
        """
        if (patch.name is None) == (patch.into is None):
            raise Invalid("Give either a new name or the class to merge into.")
        with self._store.lock:
            known = self._live(class_id)
            if patch.name is not None and patch.name.strip() != known.name:
                name = self._free(patch.name, class_id)
                self._log.append([Draft(action="class_renamed", label=class_id, name=name, annotator=patch.annotator)])
            if patch.into is not None:
                into = self._live(patch.into)
                if into.id == class_id:
                    raise Invalid(f"The class {known.name!r} cannot be merged into itself.")
                self._log.append(
                    [Draft(action="class_merged", label=class_id, into=into.id, annotator=patch.annotator)]
                )
                class_id = into.id
            return next(entry for entry in self.entries() if entry.id == class_id)

    def delete(self, class_id: int, annotator: str = "api") -> None:
        """Images labeled as it become unlabeled and are asked again. Raises Missing."""
        with self._store.lock:
            self._live(class_id)
            self._log.append([Draft(action="class_deleted", label=class_id, annotator=annotator)])

    def _add(self, names: list[str], annotator: str) -> None:
        first = max(self._log.fold.classes, default=0) + 1
        self._log.append(
            [
                Draft(action="class_added", label=class_id, name=name, annotator=annotator)
                for class_id, name in enumerate(names, start=first)
            ]
        )

    def _live(self, class_id: int) -> ClassState:
        known = self._log.fold.classes.get(class_id)
        if known is None or not known.live:
            raise Missing(f"There is no class {class_id}.")
        return known

    def _free(self, name: str, renamed: int | None = None) -> str:
        """The name, if no class but the one that is `renamed` goes by it, or went by it before."""
        name = name.strip()
        if not name:
            raise Invalid("A class needs a name.")
        taken = self._log.fold.named(name)
        if taken is None or taken == renamed:
            return name
        known = self._log.fold.classes[taken].name
        if known == name:
            raise Conflict(f"There is a class {name!r} already; merge into it instead.")
        if key(known) == key(name):
            raise Conflict(f"There is a class {known!r} already, and {name!r} means the same; merge into it instead.")
        raise Conflict(f"{name!r} is another name of the class {known!r}, which labels may still use; take a new name.")
