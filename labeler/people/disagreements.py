"""Images to which annotators gave different classes, and who gave which.

An image is listed once nobody else will be asked about it (`overlap` people have answered); before that, the next
answer may still decide. Test images are listed too: settling one is annotation, and determines what accuracy is
measured against. Nothing here shows the model's prediction, so that the decision stays a person's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from labeler.images.catalog import Catalog
from labeler.images.thumbnails import thumbnail_url
from labeler.labeling.answers import Annotations
from labeler.people.box_choices import choices
from labeler.store.annotation_log import AnnotationLog
from labeler.store.counts import Counts
from labeler.store.database import Store
from shared.settings.services import LabelerSettings
from shared.wire.log import Annotation, Row
from shared.wire.review import Agreement, Disagreement, DisagreementPage, Opinion

Kind = Literal["open", "settled"]
SIZE = 640  # pixels of the picture's longest side


class Disagreements:
    """The disagreements of one workspace."""

    def __init__(
        self,
        store: Store,
        log: AnnotationLog,
        tally: Counts,
        catalog: Catalog,
        annotations: Annotations,
        settings: LabelerSettings,
    ) -> None:
        self._store = store
        self._log = log
        self._tally = tally
        self._catalog = catalog
        self._annotations = annotations
        self._settings = settings

    def page(self, kind: Kind = "open", limit: int = 50) -> DisagreementPage:
        """The first `limit` images that wait to be settled; or the latest settled ones, newest first."""
        with self._store.lock:
            waiting, settled = self._open(), self._settled()
            chosen = waiting[:limit]
            if kind == "settled":
                latest = dict.fromkeys(row.image_id for row in self._log.latest("settle", limit))
                chosen = [image_id for image_id in latest if image_id in settled]
            rows, hashes = self._log.answers_about(chosen), self._catalog.hashes(chosen)
            entries = [self._entry(image_id, rows[image_id], hashes[image_id]) for image_id in chosen]
            if self._log.fold.task.by_box:
                self._add_boxes(entries)
            return DisagreementPage(
                items=entries,
                open=len(waiting),
                settled=len(settled),
            )

    @property
    def shared(self) -> bool:
        """Whether several people have answered any image."""
        with self._store.lock:
            return bool(self._tally.shared)

    def settle(self, decision: Annotation) -> bool:
        """Write a `settle`, unless the image is settled already: of two people at once, the first decides.

        Returns whether it was written.
        """
        with self._store.lock:
            if self._log.fold.state(decision.image_id).settled:
                return False
            self._annotations.annotate([decision])
            return True

    def agreement(self) -> Agreement:
        """How far annotators agree on the images that several of them answered, by the measure of the task."""
        with self._store.lock:
            fold = self._log.fold
            votes = [fold.votes(image_id) for image_id in sorted(self._tally.shared)]
            names = {known.id: known.name for known in fold.live_classes()}
        return fold.task.agreement(votes, names)

    def _contested(self) -> list[int]:
        fold = self._log.fold
        return [image_id for image_id in sorted(self._tally.shared) if fold.task.differ(fold.votes(image_id).values())]

    def _open(self) -> list[int]:
        state, overlap = self._log.fold.state, self._settings.overlap
        waiting = [
            image_id
            for image_id in self._contested()
            if not state(image_id).settled and state(image_id).finished(overlap)
        ]
        return sorted(waiting, key=lambda image_id: (not (state(image_id).disputed or self._tied(image_id)), image_id))

    def _tied(self, image_id: int) -> list[int]:
        fold = self._log.fold
        return [] if fold.state(image_id).settled else [*fold.task.tied(fold.votes(image_id).values())]

    def _settled(self) -> set[int]:
        return {image_id for image_id in self._contested() if self._log.fold.state(image_id).settled}

    def _entry(self, image_id: int, rows: Sequence[Row], sha256: str) -> Disagreement:
        label = self._log.fold.state(image_id).label
        settles = [row for row in rows if row.action == "settle"]
        return Disagreement(
            image_id=image_id,
            url=thumbnail_url(image_id, sha256, SIZE),
            split=self._tally.splits[image_id],
            label=self._log.fold.shown_class(label),
            name=self._log.fold.text(label),
            answer=self._log.fold.shown_answer(label),
            open_classes=self._tied(image_id),
            opinions=[self._opinion(row) for row in rows if row.action != "settle"],
            settled=self._opinion(settles[-1]) if settles else None,
        )

    def _add_boxes(self, entries: Sequence[Disagreement]) -> None:
        """The data for drawing the boxes, and the answers that could settle the image."""
        shapes = self._catalog.shapes([each.image_id for each in entries])
        for each in entries:
            each.width, each.height = shapes[each.image_id]
            votes = self._log.fold.votes(each.image_id)
            each.choices = choices(self._log.fold, votes, self._log.fold.voted(each.image_id))

    def _opinion(self, row: Row) -> Opinion:
        content = row.model_dump(include={"id", "annotator", "action", "reason", "note"})
        fold = self._log.fold
        value = fold.task.of_row(row)
        return Opinion(
            **content,
            label=fold.shown_class(value),
            name=fold.text(value),
            answer=fold.shown_answer(value),
            at=row.created_at,
        )
