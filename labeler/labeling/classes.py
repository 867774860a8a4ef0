"""Adds, renames, merges and deletes classes during labeling. Each change is a row of the annotation log.

How classes look on the pages is not in the log, because it affects no learner (`class_appearance`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from labeler.errors import Conflict, Invalid, Missing
from labeler.labeling.class_appearance import ClassProperties
from labeler.store.annotation_log import AnnotationLog, Draft
from labeler.store.database import Store
from shared.class_names import checked, key, meant
from shared.log import Fold
from shared.logged_classes import ClassState
from shared.web import audit
from shared.wire.project import ClassEntry, ClassPatch

DIGITS = "1234567890"  # in keyboard order


PAGES_OWN = "acfgiklmnrsuvxz"
"""Letters that have a function on Label, Grid or Review."""
_KEPT = {"name", "into", "annotator"}


def hotkeys(names: Sequence[str], own: Sequence[str | None] = ()) -> list[str | None]:
    """The key of each class: its own, else its name if that is a digit, else the next free digit."""
    chosen = dict(enumerate(own))
    free = [digit for digit in DIGITS if digit not in chosen.values()]
    rest = [place for place in range(len(names)) if chosen.get(place) is None][: len(free)]
    named = {names[place] for place in rest}
    others = (digit for digit in free if digit not in named)
    given = {place: names[place] if names[place] in free else next(others) for place in rest}
    return [chosen.get(place) or given.get(place) for place in range(len(names))]


def name_of(fold: Fold, name: str) -> str:
    """The current name of the class called `name`. Raises Invalid if there is none."""
    found = fold.named(name)
    if found is None:
        raise Invalid(f"There is no class {name!r}{meant(name, [each.name for each in fold.live_classes()]) or '.'}")
    return fold.classes[found].name


class Classes:
    """The classes of one workspace."""

    def __init__(self, store: Store, log: AnnotationLog, changed: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._log = log
        self._properties = ClassProperties(store)
        self._changed = changed

    def entries(self) -> list[ClassEntry]:
        """The classes in order. The first ones get the digits as keys, the others only chosen keys."""
        with self._store.lock:
            live = {known.id: known.name for known in self._log.fold.live_classes()}
            others = self._log.fold.other_names()
            ordered = self._properties.in_order(list(live))
            looks = [self._properties.of(class_id) for class_id in ordered]
            keys = hotkeys([live[class_id] for class_id in ordered], [look.hotkey for look in looks])
            return [
                ClassEntry(
                    id=class_id,
                    name=live[class_id],
                    hotkey=hotkey,
                    own_hotkey=look.hotkey is not None,
                    colour=look.colour,
                    description=look.description,
                    aliases=sorted(others.get(class_id, ())),
                )
                for class_id, look, hotkey in zip(ordered, looks, keys, strict=True)
            ]

    def name(self, class_id: int) -> str | None:
        """The current name of the class; None if it was deleted or never existed."""
        fold = self._log.fold
        live = fold.resolve(class_id)
        return None if live is None else fold.classes[live].name

    def begin_with(self, names: Iterable[str]) -> None:
        """Add classes that never existed. Renamed, merged or deleted classes are not restored."""
        with self._store.lock:
            known = {key(name) for state in self._log.fold.classes.values() for name in (state.name, *state.aliases)}
            first: dict[str, str] = {}
            for name in names:
                first.setdefault(key(name), name)
            self._add([name for each, name in first.items() if each not in known], "settings")

    def add(self, name: str, annotator: str = "api") -> ClassEntry:
        """Add a class. Raises Conflict if a class has or had that name; Invalid if the name is blank."""
        with self._store.lock:
            self._add([self._free(name)], annotator)
            added = self.entries()[-1]
        audit.note("class added", by=annotator, id=added.id, name=added.name)
        return added

    def change(self, class_id: int, patch: ClassPatch) -> ClassEntry:
        """Rename the class, merge it into another, or change how it looks; returns its new state, or that of the class
        it became part of.

        Raises Missing, Conflict and Invalid; then nothing is changed.
        """
        looks = patch.model_dump(exclude=_KEPT, exclude_none=True)
        if (patch.into is not None) == (patch.name is not None or bool(looks)):
            raise Invalid("Name either a class to merge into, or a new name, colour, description, key or place.")
        with self._store.lock:
            known = self._live(class_id)
            asked, before = patch.model_dump(exclude={"annotator"}, exclude_none=True), known.name
            if patch.hotkey:
                looks["hotkey"] = self._free_key(class_id, patch.hotkey)
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
            if looks:
                self._look(class_id, looks)
            changed = next(entry for entry in self.entries() if entry.id == class_id)
        audit.note("class changed", by=patch.annotator, id=known.id, name=before, changes=asked)
        return changed

    def delete(self, class_id: int, annotator: str = "api") -> None:
        """Delete a class: its images become unlabeled and are asked about again. Raises Missing."""
        with self._store.lock:
            name = self._live(class_id).name
            self._log.append([Draft(action="class_deleted", label=class_id, annotator=annotator)])
        audit.note("class deleted", by=annotator, id=class_id, name=name)

    def _add(self, names: list[str], annotator: str) -> None:
        first = max(self._log.fold.classes, default=0) + 1
        self._log.append(
            [
                Draft(action="class_added", label=class_id, name=name, annotator=annotator)
                for class_id, name in enumerate(names, start=first)
            ]
        )

    def _look(self, class_id: int, looks: dict[str, Any]) -> None:
        place = looks.pop("place", None)
        self._properties.change(class_id, **{name: str(value).strip() for name, value in looks.items()})
        if place is not None:
            others = [entry.id for entry in self.entries() if entry.id != class_id]
            self._properties.arrange([*others[:place], class_id, *others[place:]])
        self._changed()

    def _free_key(self, class_id: int, wanted: str) -> str:
        hotkey = wanted.lower()
        if len(hotkey) != 1 or not hotkey.isalnum():
            raise Invalid("The key of a class must be one letter or one digit.")
        if hotkey in PAGES_OWN:
            raise Invalid(f"The key {hotkey!r} is already in use on the pages: choose a digit or another letter.")
        for each in self.entries():
            if each.id != class_id and each.own_hotkey and each.hotkey == hotkey:
                raise Conflict(
                    f"The key {hotkey!r} already belongs to {each.name!r}: choose another, or clear it there."
                )
        return hotkey

    def _live(self, class_id: int) -> ClassState:
        known = self._log.fold.classes.get(class_id)
        if known is None or not known.live:
            raise Missing(f"There is no class {class_id}.")
        return known

    def _free(self, name: str, renamed: int | None = None) -> str:
        """Check that no class except `renamed` has or had this name, and return it."""
        name = name.strip()
        if not name:
            raise Invalid("A class needs a name.")
        try:
            checked(name)
        except ValueError as error:
            raise Invalid(f"{str(error).capitalize()}.") from None
        taken = self._log.fold.named(name)
        if taken is None or taken == renamed:
            return name
        known = self._log.fold.classes[taken].name
        if known == name:
            raise Conflict(f"There is already a class {name!r}; merge into it instead.")
        if key(known) == key(name):
            raise Conflict(f"There is already a class {known!r}, and {name!r} means the same; merge into it instead.")
        raise Conflict(
            f"{name!r} is another name of the class {known!r}, which labels may still use; choose a new name."
        )
