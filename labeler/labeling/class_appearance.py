"""How classes look on the pages: colour, description, key and order. None of this affects training, so none of it is in
the annotation log.

By default, a class has a colour from the palette, a digit as its key, and the last position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from labeler.store.database import Store
from labeler.store.tables import CLASS_PROPERTIES


@dataclass(frozen=True, slots=True)
class Properties:
    """The properties of one class; None is the default."""

    colour: str | None = None  # #rrggbb
    description: str | None = None
    hotkey: str | None = None  # a letter or digit
    place: int | None = None  # position among the classes


class ClassProperties:
    """The properties of one workspace's classes, by class id. Hold the store's lock during every call."""

    def __init__(self, store: Store) -> None:
        self._store = store
        with store.read() as connection:
            rows = connection.execute(select(CLASS_PROPERTIES)).mappings()
            self._known = {
                row["id"]: Properties(row["colour"], row["description"], row["hotkey"], row["place"]) for row in rows
            }

    def of(self, class_id: int) -> Properties:
        """The properties of a class."""
        return self._known.get(class_id, Properties())

    def in_order(self, class_ids: Sequence[int]) -> list[int]:
        """The classes in the chosen order, followed by classes added later."""
        places = {class_id: self.of(class_id).place for class_id in class_ids}
        return sorted(class_ids, key=lambda each: (places[each] is None, places[each] or 0, each))

    def change(self, class_id: int, **values: str) -> None:
        """Set these texts; "" resets to the default."""
        given: dict[str, Any] = {name: value or None for name, value in values.items()}
        self._write({class_id: replace(self.of(class_id), **given)})

    def arrange(self, class_ids: Sequence[int]) -> None:
        """Set the order of the classes."""
        self._write({each: replace(self.of(each), place=place) for place, each in enumerate(class_ids)})

    def _write(self, changed: dict[int, Properties]) -> None:
        changed = {each: after for each, after in changed.items() if after != self.of(each)}
        if not changed:
            return
        rows = [
            {
                "id": class_id,
                "colour": after.colour,
                "description": after.description,
                "hotkey": after.hotkey,
                "place": after.place,
            }
            for class_id, after in changed.items()
        ]
        with self._store.write() as connection:
            connection.execute(CLASS_PROPERTIES.delete().where(CLASS_PROPERTIES.c.id.in_(list(changed))))
            connection.execute(CLASS_PROPERTIES.insert(), rows)
        self._known |= changed
