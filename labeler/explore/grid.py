"""The pages that show many images: the images of a view of the grid, their tiles, groups, and the map.

Only images of the train split are shown, wherever their ids come from (the trainer, a search, a typed URL): all ids
pass through `Visibility.listable`. A listing names its images once and in order. The browser then requests the tiles
that it shows, so that nothing moves while a person selects. A long list comes in parts, see `labeler.explore.listings`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import numpy as np

from labeler.asking.labeling_queue import LabelingQueue
from labeler.asking.leases import Leases
from labeler.errors import Missing, Problem
from labeler.explore.listings import Listings
from labeler.images.catalog import Catalog
from labeler.images.thumbnails import thumbnail_url
from labeler.store.annotation_log import AnnotationLog
from labeler.store.database import Store
from labeler.trainer_link.controls import Trainer
from labeler.trainer_link.predictions import NOTHING, Predicted, PredictedImages, Prediction, Predictions
from labeler.visibility import Visibility
from shared.log import UNLABELED, Fold, ImageState
from shared.settings.services import LabelerSettings
from shared.tasks.task import Value
from shared.wire.images import MAX_LISTED, SEVERAL, Drawn, Group, GroupView, GroupViews, Listing, Map, Tile, Tiles, View

NEXT, NEXT_SHARE = 100, 10
"""The map marks at most 100 upcoming questions, and at most a tenth of its images: circles around nearly all points of
a small project would tell nothing.
"""
TYPICAL = 4
"""Images that represent a group."""
_SAYS = {"yes": True, "no": False, "nothing": None}


class Grid:
    """The views of one workspace."""

    def __init__(
        self,
        store: Store,
        log: AnnotationLog,
        visibility: Visibility,
        leases: Leases,
        queue: LabelingQueue,
        catalog: Catalog,
        trainer: Trainer,
        settings: LabelerSettings,
    ) -> None:
        self._listings = Listings(store, log, visibility, queue)
        self._store = store
        self._log = log
        self._visibility = visibility
        self._leases = leases
        self._queue = queue
        self._catalog = catalog
        self._trainer = trainer
        self._settings = settings
        self._predictions = Predictions(trainer, log.log_id, settings.workspace)

    def listing(self, view: View) -> Listing:
        """The images of a view, in order.

        Raises Missing for an unknown image or group; Unreachable and Conflict if the view needs the trainer or a model
        and there is none.
        """
        predicted = self._predicted(needed=view.needs_predictions)
        status, limit, fold = view.shown_status, view.limit, self._log.fold

        def fits_in(state: ImageState) -> bool:
            return status in ("any", state.status) and (
                view.label is None or fold.task.says(state.label, view.label) is _SAYS[view.says]
            )

        untouched, states = fits_in(UNLABELED), fold.images  # nearly all images of a large pool are untouched

        def fits(image_id: int) -> bool:
            state = states.get(image_id)
            return untouched if state is None else fits_in(state)

        if not view.narrows and status in ("any", "unlabeled"):
            part = self._listings.all(view.after, limit, fits)
            with self._store.lock:
                counts = self._queue.train_counts()
            total = counts.total if status == "any" else counts.unlabeled
        else:

            def make() -> list[int]:
                found = self._found(view, fits)
                return _by_prediction(found, view, predicted.images, fold) if view.needs_predictions else found

            part, total = self._listings.made(view, fits, make)
        return Listing(
            total=total,
            image_ids=part.image_ids,
            next=part.next,
            status=status,
            model_version=predicted.model_version,
        )

    def tiles(self, image_ids: Sequence[int], annotator: str) -> Tiles:
        """The current state of these images for the annotator; leaves out images that may not be shown."""
        entries = self._catalog.some(image_ids)
        predicted = NOTHING if self._visibility.hides_hints else self._predictions.last()
        boxed = self._log.fold.task.by_box
        shapes = self._catalog.shapes(list(entries)) if boxed else {}
        with self._store.lock:
            shown = [image_id for image_id in self._visibility.listable(image_ids) if image_id in entries]
            tiles = [
                self._tile(image_id, entries[image_id].uri, entries[image_id].sha256, predicted, annotator)
                for image_id in shown
            ]
            for tile in tiles:
                tile.width, tile.height = shapes.get(tile.image_id, (None, None))
            return Tiles(last_seq=self._log.last_seq, images=tiles)

    def groups(self, count: int) -> GroupViews:
        """The pool in up to `count` groups. Raises Unreachable, and Conflict while they are being computed."""
        groups = []
        for each in self._clusters(count):
            with self._store.lock:
                shown = self._visibility.listable(each.image_ids)
                states = [self._log.fold.state(image_id).status for image_id in shown]
            if shown:
                unlabeled = sum(status == "unlabeled" for status in states)
                groups.append(
                    GroupView(cluster=each.cluster, size=len(shown), image_ids=shown[:TYPICAL], open=unlabeled)
                )
        return GroupViews(clusters=groups)

    def map(self, layout: Drawn = "pca") -> Map:
        """The 2D layout of the pool. Raises Unreachable, and Conflict while there is nothing to show."""
        self._predictions.check()
        flat = self._trainer.map(MAX_LISTED, layout)
        predicted = self._predicted(needed=False)
        fold = self._log.fold
        shown = set(self._listings.fitting(flat.image_ids, lambda _: True))
        labels = {image_id: _drawn_class(fold, fold.state(image_id).label) for image_id in shown}
        with self._store.lock:
            some = min(NEXT, math.ceil(len(shown) / NEXT_SHARE))
            ahead = list(islice((image_id for image_id in self._queue.ranked() if image_id in shown), some))
            live = {label: fold.resolve(label) or 0 for label in predicted.images.classes()}
        points = [point for point in zip(flat.image_ids, flat.x, flat.y, strict=True) if point[0] in shown]
        classes, confidences = predicted.images.of([image_id for image_id, *_ in points])
        return Map(
            total=flat.total,
            image_ids=[image_id for image_id, *_ in points],
            x=[x for _, x, _ in points],
            y=[y for _, _, y in points],
            labels=[labels[image_id] for image_id, *_ in points],
            predicted=[live.get(label, 0) for label in classes.tolist()],
            confidences=np.nan_to_num(confidences.astype(np.float64)).round(4).tolist(),
            next=ahead,
            model_version=predicted.model_version,
            layout=flat.layout,
            computing=flat.computing,
            progress=flat.progress,
            seconds_left=flat.seconds_left,
            problem=flat.problem,
            layouts=flat.layouts,
        )

    def _found(self, view: View, fits: Callable[[int], bool]) -> list[int]:
        """All images of the view: its first criterion gives the order, the others narrow it down."""
        sources: list[Sequence[int]] = []
        if view.similar_to is not None:
            sources.append(self._similar(view.similar_to))
        if view.words is not None:
            sources.append(self._described(view.words))
        if view.cluster is not None:
            sources.append(self._members(view.cluster, view.clusters))
        if view.images is not None:
            sources.append(view.images)
        if view.search is not None:
            sources.append(self._catalog.files.search(view.search))
        if not sources and view.shown_status in ("labeled", "skipped", "flagged"):
            return self._listings.answered(fits)
        if not sources:
            return self._listings.all(None, sys.maxsize, fits).image_ids
        first, *others = sources
        narrowed = [set(each) for each in others]
        some = (image_id for image_id in first if all(image_id in each for each in narrowed))
        return list(self._listings.fitting(some, fits))

    def _similar(self, image_id: int) -> list[int]:
        with self._store.lock:
            if not self._visibility.may_list(image_id):
                raise Missing(f"There is no image {image_id} that the grid can show.")
        self._predictions.check()
        return [image_id, *(each.image_id for each in self._trainer.similar(image_id, MAX_LISTED).similar)]

    def _described(self, words: str) -> list[int]:
        self._predictions.check()
        return [each.image_id for each in self._trainer.described(words, MAX_LISTED).images]

    def _members(self, cluster: int, count: int) -> list[int]:
        for each in self._clusters(count):
            if each.cluster == cluster:
                return each.image_ids
        raise Missing(f"There is no group {cluster}: the images are divided into {count} groups.")

    def _clusters(self, count: int) -> Sequence[Group]:
        self._predictions.check()
        return self._trainer.clusters(count, MAX_LISTED).clusters

    def predictions(self) -> Mapping[int, Prediction]:
        """The prediction for each image, by image id. Raises Unreachable, and Conflict in blind mode or without a
        model."""
        return self._predicted(needed=True).images

    def _predicted(self, *, needed: bool) -> Predicted:
        """The predictions, unless they are hidden; empty if they are missing and not `needed`."""
        if needed:
            self._visibility.refuse_hints()
        if self._visibility.hides_hints:
            return NOTHING
        try:
            return self._predictions.get() if needed else self._predictions.soon()
        except Problem:
            if needed:
                raise
            return NOTHING

    def _tile(self, image_id: int, uri: str, sha256: str, predicted: Predicted, annotator: str) -> Tile:
        state = self._log.fold.state(image_id)
        said = predicted.images.get(image_id)
        others = state.answered - {annotator}
        return Tile(
            image_id=image_id,
            url=thumbnail_url(image_id, sha256),
            name=uri,
            status=state.status,
            label=self._log.fold.shown_class(state.label),
            answer=self._log.fold.shown_answer(state.label),
            predicted=self._log.fold.resolve(said.label) if said else None,
            confidence=said.confidence if said else None,
            held=any(lease.annotator != annotator for lease in self._leases.on(image_id)),
            settles=state.settled or (state.finished(self._settings.overlap) and bool(others)),
        )


def _drawn_class(fold: Fold, label: Value | None) -> int:
    """The class that the map draws: 0 without a label, `SEVERAL` if the label is not a single class."""
    return 0 if label is None else fold.shown_class(label) or SEVERAL


def _by_prediction(found: list[int], view: View, predicted: PredictedImages, fold: Fold) -> list[int]:
    """The images whose predictions match the view, in its order. Images without a prediction come last."""
    ids, (labels, confidences) = np.array(found, np.int64), predicted.of(found)
    shown = np.ones(len(ids), bool)
    if view.filters_predictions:
        confident = np.round(confidences.astype(np.float64), 4)  # as the trainer sent it
        shown = (confident >= view.min_confidence) & (confident <= view.max_confidence)  # False for NaN
        if view.predicted is not None:
            with_class = [label for label in predicted.classes() if fold.resolve(label) == view.predicted]
            shown &= np.isin(labels, with_class)
    places = np.flatnonzero(shown)
    if view.order is not None:
        sign = -1 if view.order == "confidence" else 1
        places = places[np.argsort(sign * confidences[places], kind="stable")]  # NaN comes last
    ordered: list[int] = ids[places].tolist()
    return ordered
