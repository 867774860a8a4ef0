"""Lists the images of a view in order, one part at a time.

A view without criteria shows the queue in its order, then the answered images, latest first. This list is never built
as a whole: each part says where the next one begins. The list of any other view is built as a whole, and kept while its
parts are requested. Otherwise, positions in it would shift when an image leaves the view or the order changes. At
most `AT_ONCE` images are examined while holding the store's lock, so that no annotator waits for somebody's list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice

import numpy as np
from numpy.typing import NDArray

from labeler.asking.labeling_queue import LabelingQueue
from labeler.asking.random_order import FIRST, Key
from labeler.errors import Missing
from labeler.store.annotation_log import AnnotationLog
from labeler.store.database import Store
from labeler.visibility import Visibility
from shared.wire.images import View

KEPT = 8
"""Lists kept for the parts that follow, of 8 MB each for a million images. Other lists are built again."""
AT_ONCE = 1_000
"""Number of images that are examined while holding the lock."""
Fits = Callable[[int], bool]
"""Whether the view shows an image; called under the lock."""


@dataclass
class Part:
    """Images in order, and the start of the next part; None at the end."""

    image_ids: list[int] = field(default_factory=list)
    next: str | None = None


@dataclass(frozen=True)
class Whole:
    """A complete listing, and its view."""

    view: str
    image_ids: NDArray[np.int64]


class Listings:
    """The images of one workspace in the order in which the grid lists them."""

    def __init__(self, store: Store, log: AnnotationLog, visibility: Visibility, queue: LabelingQueue) -> None:
        self._store = store
        self._log = log
        self._visibility = visibility
        self._queue = queue
        self._kept: dict[int, Whole] = {}  # the latest one last; the store's lock guards it
        self._numbers = count(1)

    def made(self, view: View, fits: Fits, make: Callable[[], Sequence[int]]) -> tuple[Part, int]:
        """A part of the list that `make` returns, and the length of the list. Raises Missing if no part named the place
        where this one begins."""
        number, start = _place_in_whole(view.after) if view.after else (0, 0)
        asked = view.model_dump_json(exclude={"after", "limit"})
        with self._store.lock:
            whole = self._kept.get(number)
        if whole is None or whole.view != asked:  # the first part, or the list is no longer kept
            whole = Whole(asked, np.array(make(), np.int64))
            number = 0
        part, at = Part(), start
        while at < len(whole.image_ids) and len(part.image_ids) < view.limit:
            some = whole.image_ids[at : at + min(AT_ONCE, view.limit - len(part.image_ids))].tolist()
            part.image_ids += self.fitting(some, fits)
            at += len(some)
        if at < len(whole.image_ids):
            part.next = f"{number or self._keep(whole)} {at}"
        return part, len(whole.image_ids)

    def _keep(self, whole: Whole) -> int:
        with self._store.lock:
            number = next(self._numbers)
            self._kept[number] = whole
            if len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
            return number

    def all(self, after: str | None, limit: int, fits: Fits) -> Part:
        """A part of the list of all images: the queue, then answered images. Raises Missing like `made`."""
        stage, _, rest = (after or "").partition(" ")
        part = Part()
        if stage != "answered":
            version, key = _place(rest) if stage else (self._queue.version, FIRST)
            while len(part.image_ids) < limit:
                with self._store.lock:
                    some = self._queue.ranked_after(key, min(AT_ONCE, limit - len(part.image_ids)), version)
                    part.image_ids += [image_id for image_id, _ in some if fits(image_id)]
                if not some:
                    return self._and_answered(part, None, limit, fits)
                key = some[-1][1]
            part.next = f"queue {version} {key[0]!r} {key[1]}"
            return part
        return self._and_answered(part, rest, limit, fits)

    def answered(self, fits: Fits) -> list[int]:
        """The images that were ever answered: those still in the queue, then the others, latest first."""
        with self._store.lock:
            begun, others = self._queue.begun(), list(reversed(self._log.fold.images))
        return list(self.fitting([*begun, *others], fits))

    def fitting(self, image_ids: Iterable[int], fits: Fits) -> Iterator[int]:
        """The images that may be listed and that the view shows, each once."""
        once = iter(dict.fromkeys(image_ids))
        while some := list(islice(once, AT_ONCE)):
            with self._store.lock:
                yield from [image_id for image_id in self._visibility.listable(some) if fits(image_id)]

    def _and_answered(self, part: Part, rest: str | None, limit: int, fits: Fits) -> Part:
        """Add the images that are no longer in the queue, starting after the one named in `rest`."""
        with self._store.lock:
            order = list(reversed(self._log.fold.images))
        start = 0
        if rest:
            last = int(rest) if rest.isdecimal() else 0
            if last not in self._log.fold.images:
                raise Missing(f"This list has no position {rest!r}: ask for the list from the start.")
            start = order.index(last) + 1

        def left(image_id: int) -> bool:
            return not self._queue.asks(image_id) and fits(image_id)

        last_shown = rest or ""
        for image_id in self.fitting(order[start:], left):
            if len(part.image_ids) == limit:
                part.next = f"answered {last_shown}"
                break
            part.image_ids.append(image_id)
            last_shown = str(image_id)
        return part


def _place_in_whole(text: str) -> tuple[int, int]:
    """The number of a list and the position in it. Raises Missing."""
    number, _, start = text.partition(" ")
    if not (number.isdecimal() and start.isdecimal()):
        raise Missing(f"This list has no position {text!r}: ask for the list from the start.")
    return int(number), int(start)


def _place(text: str) -> tuple[int, Key]:
    """The version of the queue and the key in it. Raises Missing."""
    try:
        version, first, second = text.split(" ")
        return int(version), (float(first), int(second))
    except ValueError:
        raise Missing(f"This list has no position {text!r}: ask for the list from the start.") from None
