"""Builds the question JSON for the card."""

from __future__ import annotations

from collections.abc import Sequence

from labeler.asking.labeling_queue import PURPOSES, LabelingQueue, Pick, Place
from labeler.images.catalog import Catalog
from labeler.images.thumbnails import thumbnail_url
from labeler.store.annotation_log import AnnotationLog
from labeler.visibility import Visibility
from shared.settings.services import LabelerSettings
from shared.wire.queries import QueueItem, SuggestedBox, SuggestedBoxOut, SuggestionOut


class Questions:
    """Turns the queue's picks into questions."""

    def __init__(
        self,
        log: AnnotationLog,
        queue: LabelingQueue,
        catalog: Catalog,
        visibility: Visibility,
        settings: LabelerSettings,
    ) -> None:
        self._log = log
        self._queue = queue
        self._catalog = catalog
        self._visibility = visibility
        self._settings = settings

    def of(self, picks: Sequence[Pick]) -> list[QueueItem]:
        """A question for each pick, with everything that the page shows: path, reason, suggestions."""
        ids = [pick.image_id for pick in picks]
        entries = self._catalog.some(ids)
        shapes = self._catalog.shapes(ids) if self._log.fold.task.by_box else {}
        size = self._settings.display_pixels
        return [
            QueueItem(
                image_id=pick.image_id,
                url=thumbnail_url(pick.image_id, entries[pick.image_id].sha256, size),
                uri=entries[pick.image_id].uri,
                purpose=PURPOSES[pick.split],
                rank=rank,
                score=place.score if (place := self._hints(pick)) else None,
                reason=place.reason if place else None,
                suggestions=self._suggestions(place),
                width=shapes[pick.image_id][0] if pick.image_id in shapes else None,
                height=shapes[pick.image_id][1] if pick.image_id in shapes else None,
                boxes=self._boxes(place, shapes.get(pick.image_id)),
                query_version=pick.place.version if pick.place else self._queue.version,
            )
            for rank, pick in enumerate(picks)
        ]

    def _hints(self, pick: Pick) -> Place | None:
        """The model's suggestions for the image, if its annotators may see them."""
        return pick.place if self._visibility.may_hint(pick.image_id) else None

    def _suggestions(self, place: Place | None) -> list[SuggestionOut]:
        suggestions = []
        for given in place.suggestions if place is not None else ():
            live = self._log.fold.resolve(given.label)
            if live is not None:
                name = self._log.fold.classes[live].name
                suggestions.append(
                    SuggestionOut(label=live, name=name, confidence=given.confidence, chosen=given.chosen)
                )
        return suggestions

    def _boxes(self, place: Place | None, shape: tuple[int, int] | None) -> list[SuggestedBoxOut]:
        """Suggested boxes of live classes, clipped to the image."""
        boxes = []
        for given in place.boxes if place is not None and shape is not None else ():
            live, within = self._log.fold.resolve(given.label), _clipped(given, *shape or (0, 0))
            if live is not None and within is not None:
                name = self._log.fold.classes[live].name
                boxes.append(SuggestedBoxOut(label=live, name=name, confidence=given.confidence, **within))
        return boxes


def _clipped(box: SuggestedBox, width: int, height: int) -> dict[str, float] | None:
    """A box clipped to the image; None if it is then smaller than a pixel."""
    left, top = round(max(0.0, box.x), 2), round(max(0.0, box.y), 2)
    right, bottom = min(float(width), box.x + box.w), min(float(height), box.y + box.h)
    w, h = round(right - left, 2), round(bottom - top, 2)
    return {"x": left, "y": top, "w": w, "h": h} if w >= 1 and h >= 1 else None
