"""The classes of a project after the rows of its log: their current and old names, merges and deletions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.class_names import key, meant
from shared.wire.log import Row


@dataclass(slots=True)
class ClassState:
    """A class after the rows of the log. Old names stay aliases, so that old files and links keep working."""

    id: int
    name: str
    aliases: set[str] = field(default_factory=set)
    merged_into: int | None = None
    deleted: bool = False

    @property
    def live(self) -> bool:
        """Whether images can be labeled as this class."""
        return not self.deleted and self.merged_into is None


class LoggedClasses:
    """The state after the rows about classes applied so far."""

    def __init__(self) -> None:
        self.classes: dict[int, ClassState] = {}

    def resolve(self, class_id: int | None) -> int | None:
        """The live class that `class_id` stands for after merges; None if it was deleted or never existed."""
        while class_id is not None:
            known = self.classes.get(class_id)
            if known is None or known.deleted:
                return None
            if known.merged_into is None:
                return class_id
            class_id = known.merged_into
        return None

    def name_of(self, class_id: int) -> str:
        """The current name of a class."""
        return self.classes[class_id].name

    def names_of(self, class_id: int) -> set[str]:
        """All names that a class has or had."""
        known = self.classes[class_id]
        return {known.name, *known.aliases}

    def unknown(self, name: int | str) -> str:
        """A sentence that says that there is no such class, and which one may be meant."""
        known = [each.name for each in self.live_classes()] if isinstance(name, str) else []
        return f"there is no class {name!r}: add it first{meant(str(name), known)}"

    def named(self, name: str) -> int | None:
        """The live class that has or had this name; None if there is none.

        The exact spelling wins over other spellings of the name; see `shared.class_names`.
        """
        found = self._called(lambda each: each == name)
        if found is not None:
            return found
        wanted = key(name)
        return self._called(lambda each: key(each) == wanted)

    def other_names(self) -> dict[int, set[str]]:
        """Live class → its other names: its old ones, and those of classes merged into it."""
        found: dict[int, set[str]] = defaultdict(set)
        for known in self.classes.values():
            live = self.resolve(known.id)
            if live is not None and (known.aliases or live != known.id):
                found[live] |= {known.name, *known.aliases} - {self.classes[live].name}
        return found

    def _called(self, fits: Callable[[str], bool]) -> int | None:
        for known in self.classes.values():
            if known.live and fits(known.name):
                return known.id
        for known in self.classes.values():
            if fits(known.name) or any(map(fits, known.aliases)):
                live = self.resolve(known.id)
                if live is not None:
                    return live
        return None

    def live_classes(self) -> list[ClassState]:
        """The classes that can be chosen, in the order in which they were added."""
        return [known for known in self.classes.values() if known.live]

    def change(self, row: Row) -> bool:
        """Apply a row about a class; returns whether labels may now mean another class, or none."""
        if row.label is None:
            return False
        known = self.classes.get(row.label)
        if row.action == "class_added":
            if known is None:
                self.classes[row.label] = ClassState(row.label, row.name or str(row.label))
            return False
        if known is None:
            return False
        if row.action == "class_renamed":
            if row.name:
                known.aliases.add(known.name)
                known.name = row.name
            return False
        if not known.live:
            return False
        if row.action == "class_merged":
            # A live class is merged only into one that leads to another live class, so that no circle can arise.
            if self.resolve(row.into) in (None, row.label):
                return False
            known.merged_into = row.into
        elif row.action == "class_deleted":
            known.deleted = True
        return True
