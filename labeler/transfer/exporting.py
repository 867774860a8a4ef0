"""Exports labels: which images, in which format, in the current state or that of a snapshot.

Predictions are included only where annotators may see them: for train images, and not in blind mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from labeler.errors import Invalid
from labeler.images.catalog import Catalog
from labeler.labeling.classes import name_of
from labeler.store.annotation_log import AnnotationLog
from labeler.store.counts import Counts
from labeler.store.database import Store
from labeler.trainer_link.predictions import Prediction
from labeler.transfer.boxes.opening import FORMATS as BOX_FORMATS
from labeler.transfer.boxes.opening import BoxFormat
from labeler.transfer.downloads import Downloads
from labeler.transfer.formats import FORMATS, Format
from labeler.transfer.rows.exported import BOXED, EVERYTHING, SEVERAL, USUAL, Extras, Wanted, count_rows, export_rows
from labeler.transfer.snapshots import Snapshots
from labeler.visibility import Visibility
from shared.wire.dataset import ExportCount

_AT_ONCE = 5_000  # images counted under one hold of the lock


class Exports:
    """The exports of one workspace."""

    def __init__(
        self,
        store: Store,
        log: AnnotationLog,
        tally: Counts,
        visibility: Visibility,
        catalog: Catalog,
        snapshots: Snapshots,
        downloads: Downloads,
        predictions: Callable[[], Mapping[int, Prediction]],
        content: Callable[[int], tuple[bytes, str, str]],
    ) -> None:
        """`predictions` returns the prediction for each image. `content` returns an image's bytes, media type
        and hash.
        """
        self._store = store
        self._log = log
        self._tally = tally
        self._visibility = visibility
        self._catalog = catalog
        self._snapshots = snapshots
        self._downloads = downloads
        self._predictions = predictions
        self._content = content

    def begin(
        self, name: str, *, wanted: Wanted = EVERYTHING, extras: Extras = USUAL, snapshot: str | None = None
    ) -> tuple[Iterator[bytes], Format | BoxFormat]:
        """Stream the labels in the format with this name.

        Raises Invalid for an unknown format or class, Missing for an unknown snapshot, and, with predictions, what
        `Grid.predictions` raises.
        """
        format, task = self._format(name), self._log.fold.task
        if isinstance(format, BoxFormat):
            extras = extras | {BOXED}
            if "predictions" in extras:
                raise Invalid("An export of boxes holds no predictions: leave out `predictions`.")
        elif task.by_class:
            extras = extras | {SEVERAL}
        said = self._predictions() if "predictions" in extras else {}
        then = self._snapshots.fold(snapshot) if snapshot is not None else None
        with self._store.lock:
            if wanted.label is not None:
                wanted = replace(wanted, label=name_of(then or self._log.fold, wanted.label))
            predictions = {image: said[image] for image in self._visibility.listable(said)}
            classes = [each.name for each in (then or self._log.fold).live_classes()]
        rows = export_rows(
            self._store,
            self._log,
            self._catalog,
            lambda image_id: self._content(image_id)[0],
            wanted,
            predictions,
            then,
        )
        total = self.count(wanted).images if snapshot is None else None
        running = self._downloads.begin(f"flywheel-labels.{format.suffix}", "image", total)
        counted = self._downloads.counted(rows, running)
        if isinstance(format, BoxFormat):
            return format.write(counted, extras, classes), format
        return format.write(counted, extras), format

    def _format(self, name: str) -> Format | BoxFormat:
        """The format with this name. Raises Invalid if there is none, or if it has no room for the project's labels."""
        if name not in FORMATS and name not in BOX_FORMATS:
            raise Invalid(f"There is no format {name!r}; it can be {', '.join(sorted(self.formats()))}.")
        if self._log.fold.task.by_box:
            if name not in BOX_FORMATS:
                raise Invalid(f"The format {name} has no place for boxes: choose {', '.join(sorted(BOX_FORMATS))}.")
            return BOX_FORMATS[name]
        if name not in FORMATS:
            raise Invalid(f"The format {name} holds boxes, and this project has none: choose another.")
        if self._log.fold.task.by_class and FORMATS[name].one_class:
            raise Invalid(
                f"The format {name} has a folder per class, and an image of this project may have several classes. "
                "The format datasets writes the images with a list of classes beside each."
            )
        return FORMATS[name]

    def formats(self) -> list[str]:
        """The formats that have room for the project's labels."""
        if self._log.fold.task.by_box:
            return [*BOX_FORMATS]
        several = self._log.fold.task.by_class
        return [name for name, each in FORMATS.items() if not (several and each.one_class)]

    def count(self, wanted: Wanted) -> ExportCount:
        """How many images an export contains. Raises Invalid for an unknown class."""
        with self._store.lock:
            if wanted.label is not None:
                wanted = replace(wanted, label=name_of(self._log.fold, wanted.label))
            there = list(self._tally.splits.items())
        images = labeled = 0
        for start in range(0, len(there), _AT_ONCE):
            with self._store.lock:  # for a moment: a label must not wait until a million images are counted
                some, with_label = count_rows(self._log, there[start : start + _AT_ONCE], wanted)
            images, labeled = images + some, labeled + with_label
        return ExportCount(images=images, labeled=labeled)
