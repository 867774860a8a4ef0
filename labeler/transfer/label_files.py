"""Label files uploaded on a page: stored in the workspace, checked without writing, and imported on request.

One thread processes one file after another, so a million rows do not block requests. Imported rows are in the log, and
an interrupted import can be repeated with the same file: nothing is written twice. So the files themselves are deleted
when the labeler starts.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO
from uuid import uuid4

from labeler.errors import Conflict, Invalid, Missing
from labeler.images.adding import ImageAdder
from labeler.images.scanner import Scanner
from labeler.transfer.importing import Imports
from labeler.transfer.rows.imported import Chosen
from labeler.transfer.sources import Source, open_source
from labeler.transfer.unpacking import Unpacked, unpack
from shared.importing import Outcome, take_rows
from shared.settings.services import SettingsError
from shared.storage import safe_names
from shared.wire.imports import BUSY, Conflicts, ImportPost, ImportReceipt, LabelFile, LabelFileState

MOST = 20
"""Maximum number of files that are listed."""
SCAN_SECONDS = 0.3

logger = logging.getLogger(__name__)


_UNSAID = LabelFile(id="", name="", state="waiting").model_dump(exclude={"id", "name", "state", "folder"})
"""The fields of a file that has not been checked yet."""


class _Cut(Exception):  # noqa: N818 - nothing failed
    """The file was removed, or the labeler is stopping."""


class _Given:
    """One file: its path and its progress."""

    def __init__(self, name: str, path: Path, folder: Path, columns: Chosen | None = None) -> None:
        self.path, self.folder, self.columns = path, folder, columns
        self.layout = ""  # for a folder: its layout; "" to detect it
        self.cut = threading.Event()
        self.unpacked: Unpacked | None = None
        self.view = LabelFile(id=uuid4().hex, name=name, state="waiting", folder=path.is_dir())


class LabelFiles:
    """The label files of one workspace, stored in `folder`; image names in them are relative to `uploads`."""

    def __init__(self, folder: Path, uploads: Path, imports: Imports, scanner: Scanner, adder: ImageAdder) -> None:
        self._folder, self._uploads, self._adder = folder, uploads, adder
        self._imports, self._scanner = imports, scanner
        self._lock = threading.Lock()
        self._files: dict[str, _Given] = {}
        self._closing = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="label-files")
        shutil.rmtree(folder, ignore_errors=True)

    def add(self, name: str, stream: IO[bytes], columns: str = "") -> LabelFile:
        """Store a file and start to check it. `name` may begin with the folder in which it was uploaded.

        `columns` of a table have the form `image=…,label=…`. Raises Invalid otherwise.
        """
        chosen = _chosen(columns)
        place = PurePosixPath(
            *(part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("..", "/"))
        )
        kept = self._folder / uuid4().hex / (safe_names.plain(place.name.lstrip(".")) or "labels")
        try:
            kept.parent.mkdir(parents=True)
            with kept.open("wb") as target:
                shutil.copyfileobj(stream, target)
        except OSError:  # a partial copy is useless
            shutil.rmtree(kept.parent, ignore_errors=True)
            raise
        return self._begin(_Given(name, kept, self._uploads / place.parent, chosen))

    def add_folder(self, folder: str) -> LabelFile:
        """Start to check photos that were uploaded in one folder per class. Raises Invalid if there is no such
        folder.
        """
        path = Path(os.path.realpath(self._uploads / folder))
        if not path.is_relative_to(self._uploads.resolve()) or not os.path.isdir(path):  # noqa: PTH112 - or too long a name
            raise Invalid(f"No photos were uploaded in a folder {folder!r}.")
        return self._begin(_Given(folder or "uploaded folders", path, path))

    def list(self) -> list[LabelFile]:
        """All files, newest first."""
        with self._lock:
            return [each.view for each in reversed(self._files.values())]

    def get(self, file_id: str) -> LabelFile:
        """One file. Raises Missing."""
        return self._one(file_id).view

    def take(self, file_id: str, *, add_classes: bool, conflicts: Conflicts = "keep") -> LabelFile:
        """Start to import a checked file. Raises Missing, Conflict."""
        given = self._one(file_id)
        with self._lock:
            if given.view.state != "looked":
                raise Conflict(f"{given.view.name} is {given.view.state}: it can be imported once it is checked.")
            given.view = given.view.model_copy(update=_UNSAID | {"state": "importing", "total": given.view.total})
        self._pool.submit(self._work, given, "importing", "imported", add_classes, conflicts)
        return given.view

    def look_again(self, file_id: str, columns: str) -> LabelFile:
        """Check a table again with these columns, or a folder with this layout.

        Raises Missing, Conflict while it is being processed, Invalid.
        """
        given = self._one(file_id)
        chosen = None if given.view.folder else _chosen(columns)
        with self._lock:
            if given.view.state not in ("looked", "failed"):
                raise Conflict(
                    f"{given.view.name} is {given.view.state}: its columns can only be named before the import."
                )
            given.columns = chosen
            given.layout = columns.strip() if given.view.folder else ""
            given.view = given.view.model_copy(update=_UNSAID | {"state": "waiting"})
        self._pool.submit(self._work, given, "looking", "looked", True, "keep")
        return given.view

    def drop(self, file_id: str) -> None:
        """Remove a file. A running import stops after the current rows, which stay. Raises Missing."""
        given = self._one(file_id)
        given.cut.set()
        with self._lock:
            self._files.pop(file_id, None)
        if given.view.state not in BUSY:
            self._delete(given)

    def close(self) -> None:
        """Stop after the current rows."""
        self._closing.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _one(self, file_id: str) -> _Given:
        with self._lock:
            given = self._files.get(file_id)
        if given is None:
            raise Missing("This label file is no longer here: upload it again.")
        return given

    def _begin(self, given: _Given) -> LabelFile:
        with self._lock:
            self._files[given.view.id] = given
            ended = [each for each in self._files.values() if each.view.state not in BUSY]
            surplus = ended[: max(0, len(self._files) - MOST)]
        for each in surplus:
            self.drop(each.view.id)
        self._pool.submit(self._work, given, "looking", "looked", True, "keep")
        return given.view

    def _work(
        self, given: _Given, doing: LabelFileState, done: LabelFileState, add_classes: bool, conflicts: Conflicts
    ) -> None:
        """Check all rows, or import them; errors are shown in the file's view, never raised."""
        try:
            given.view = given.view.model_copy(update={"state": doing})
            self._unpack(given)
            source = open_source(given.path, given.columns, given.layout, task=self._imports.task)
            self._wait_for_scan(given)
            take = partial(take_rows, dry_run=doing == "looking", add_classes=add_classes, conflicts=conflicts)
            outcome = self._bring(given, source, take)
            meant = self._imports.like(outcome.new_classes) if doing == "looking" else given.view.misspelled
            told = [*(given.unpacked.told() if given.unpacked else []), *source.told(), *outcome.names]
            update = {"state": done, "misspelled": meant, "told": told}
            given.view = _told(given.view, outcome, None).model_copy(update=update)
        except _Cut:
            self._delete(given)
        except SettingsError as error:
            said = str(error).replace(str(given.path), given.view.name)
            given.view = given.view.model_copy(update={"state": "failed", "error": said})
        except Exception as error:  # a reader's bug must be reported, too
            logger.exception("The label file %s cannot be read", given.view.name)
            said = f"{given.view.name} cannot be read ({type(error).__name__}: {error})."
            given.view = given.view.model_copy(update={"state": "failed", "error": said})

    def _unpack(self, given: _Given) -> None:
        """Unpack a zip into a folder. Its photos are added as if the folder had been uploaded."""
        if given.unpacked is not None or given.path.suffix.lower() != ".zip":
            return
        inside, place = given.path.parent / "unpacked", PurePosixPath(given.path.stem)
        shutil.rmtree(inside, ignore_errors=True)  # from an earlier attempt
        given.unpacked = unpack(given.path, inside, place, self._adder, partial(self._check, given))
        given.path.unlink()
        given.path, given.folder = given.unpacked.folder, self._uploads / given.unpacked.place
        given.view = given.view.model_copy(update={"folder": True})

    def _bring(self, given: _Given, source: Source, take_rows: Callable[..., Outcome]) -> Outcome:
        began = time.monotonic()

        def take(post: ImportPost) -> ImportReceipt:
            self._check(given)
            return self._imports.take(post)

        def progress(outcome: Outcome) -> None:
            total, seconds = source.total, time.monotonic() - began
            left = seconds / outcome.rows * max(0, total - outcome.rows) if total and outcome.rows else None
            given.view = _told(given.view, outcome, left).model_copy(update={"total": total})

        told = source.vocabulary()
        outcome = take_rows(source.rows(), given.folder, take, vocabulary=told, on_progress=progress)
        if not outcome.rows:
            raise SettingsError(source.without_label(given.view.name))
        return outcome

    def _wait_for_scan(self, given: _Given) -> None:
        """Wait for the scan; otherwise the same files would be read twice."""
        while self._scanner.view().running:
            self._check(given)
            time.sleep(SCAN_SECONDS)

    def _check(self, given: _Given) -> None:
        if self._closing.is_set() or given.cut.is_set():
            raise _Cut

    def _delete(self, given: _Given) -> None:
        if given.path.is_relative_to(self._folder):
            own = given.path.relative_to(self._folder).parts[0]
            shutil.rmtree(self._folder / own, ignore_errors=True)


def _chosen(columns: str) -> Chosen | None:
    try:
        return Chosen.of(columns) if columns.strip() else None
    except SettingsError as error:
        raise Invalid(str(error)) from None


def _told(view: LabelFile, outcome: Outcome, seconds_left: float | None) -> LabelFile:
    counts = outcome.counts
    return view.model_copy(
        update={
            "rows": outcome.rows,
            "seconds_left": seconds_left,
            "labels": counts["labels"],
            "known": counts["known"],
            "images": counts["images"],
            "held_out": counts["held_out"],
            "conflicts": counts["conflict"],
            **{name: counts[name] for name in ("kept", "overwritten", "reopened")},
            "rejected": counts["rejected"],
            "cells": counts["cell"],
            "new_classes": dict(outcome.new_classes.most_common()),
            "issues": [issue for kind in ("rejected", "conflict", "cell") for issue in outcome.issues[kind]],
        }
    )
