"""Shows how images similar to the current one were labeled, to help an annotator who hesitates.

The trainer finds similar images; the log has their labels. Both the current and the similar images are train images,
because nothing may influence the answer for a held-out image. In blind mode, nothing is shown.
"""

from __future__ import annotations

from labeler.images.catalog import Catalog
from labeler.images.thumbnails import thumbnail_url
from labeler.store.annotation_log import AnnotationLog
from labeler.store.database import Store
from labeler.trainer_link.client import TrainerClient, TrainerProblem
from labeler.visibility import Visibility
from shared.wire.images import SimilarImage

SHOWN = 4
ASKED = 12  # requested from the trainer, whose copy of the log may lag behind
THUMBNAIL = 160  # pixels of the longer side


class SimilarLabels:
    """Finds labeled images that are similar to another one."""

    def __init__(
        self,
        store: Store,
        log: AnnotationLog,
        visibility: Visibility,
        catalog: Catalog,
        client: TrainerClient,
    ) -> None:
        self._store = store
        self._log = log
        self._visibility = visibility
        self._catalog = catalog
        self._client = client

    def of(self, image_id: int) -> list[SimilarImage]:
        """Most similar first; [] for a held-out image, in blind mode, and while the trainer cannot answer."""
        if not self._visibility.may_hint(image_id):
            return []
        try:
            found = self._client.similar(image_id, ASKED, labeled=True).similar
        except TrainerProblem:
            return []
        with self._store.lock:
            fold = self._log.fold
            labels = fold.labels
            shown = [each for each in found if each.image_id in labels and self._visibility.may_list(each.image_id)][
                :SHOWN
            ]
            hashes = self._catalog.hashes([each.image_id for each in shown])
            return [
                SimilarImage(
                    image_id=each.image_id,
                    url=thumbnail_url(each.image_id, hashes[each.image_id], THUMBNAIL),
                    label=fold.shown_class(labels[each.image_id]),
                    name=fold.text(labels[each.image_id]) or "",
                    answer=fold.shown_answer(labels[each.image_id]),
                    similarity=each.similarity,
                )
                for each in shown
            ]
