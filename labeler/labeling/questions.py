"""What a page is told of an image that it asks about."""

from __future__ import annotations

from collections.abc import Sequence

from labeler.asking.labeling_queue import PURPOSES, LabelingQueue, Pick
from labeler.images.catalog import Catalog
from labeler.store.annotation_log import AnnotationLog
from shared.settings.services import LabelerSettings
from shared.wire.queries import QueueItem, SuggestionOut


class Questions:
    """The queue's picks as questions. In blind mode they say nothing of the model."""

    def __init__(self, log: AnnotationLog, queue: LabelingQueue, catalog: Catalog, settings: LabelerSettings) -> None:
        self._log = log
        self._queue = queue
        self._catalog = catalog
        self._settings = settings

    def of(self, picks: Sequence[Pick]) -> list[QueueItem]:
        """Each pick with what the page shows beside its image: where it stands, why it is asked, what it may be."""
        entries = self._catalog.some([pick.image_id for pick in picks])
        size = self._settings.display_pixels
        return [
            QueueItem(
                image_id=pick.image_id,
                url=f"/api/images/{pick.image_id}/thumbnail?size={size}&v={entries[pick.image_id].sha256[:12]}",
                uri=entries[pick.image_id].uri,
                purpose=PURPOSES[pick.split],
                rank=rank,
                score=pick.place.score if pick.place else None,
                reason=pick.place.reason if pick.place and not self._settings.blind_mode else None,
                suggestions=self._suggestions(pick),
                query_version=pick.place.version if pick.place else self._queue.version,
            )
            for rank, pick in enumerate(picks)
        ]

    def _suggestions(self, pick: Pick) -> list[SuggestionOut]:
        if pick.place is None or self._settings.blind_mode:
            return []
        suggestions = []
        for given in pick.place.suggestions:
            live = self._log.fold.resolve(given.label)
            if live is not None:
                name = self._log.fold.classes[live].name
                suggestions.append(SuggestionOut(label=live, name=name, confidence=given.confidence))
        return suggestions
