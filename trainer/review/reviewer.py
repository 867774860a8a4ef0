"""The reviewer: judges the labels of a project on request, and keeps the judgement.

Judging takes seconds, ranking takes milliseconds. Judgements are cached and renewed on a background thread while
somebody reviews, and each fix changes the ranking at once. If ranking takes longer, as with thousands of images that
have dozens of classes, no request waits for it, and the ranking lags behind the fixes. Judging waits for the vectors of
all labeled images, because without similar images a correct label looks doubtful. A judgement stays until the next one
replaces it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from shared.tasks.task import Value
from shared.wire.review import LabelIssue, LabelIssues
from trainer.embeddings.space import Space
from trainer.live_detector.pictures import Pictures
from trainer.review.box_issues import BoxJudge
from trainer.review.label_issues import ClassJudge
from trainer.review.label_noise import Errors
from trainer.review.multilabel_issues import SeveralJudge
from trainer.sync.background import Worker
from trainer.sync.snapshot import Snapshot
from trainer.tasks.registry import task_named
from trainer.tasks.targets import train_targets

STALE = 0.01  # share of changed labels after which all are judged again
STALE_LEAST = 10
MISSED = 300  # maximum number of missed boxes in a reply: enough for the pictures on the page Progress
QUICK = 2.0  # seconds of ranking that a request waits for
REST = 3.0  # minimum pause between judgements, as a multiple of the last duration, so that learning has priority


class Found(Protocol):
    """Doubtful labels at one position of the log."""

    @property
    def errors(self) -> Errors:
        """The estimate of how many labels are wrong."""


class Judge(Protocol):
    """Judges the labels of one task. Its findings are of its own type, with the image ids as `ids`."""

    def lacking(self, values: Sequence[Value]) -> int:
        """Minimum number of labels still missing before `values` can be judged."""

    def trusted(self, ids: NDArray[np.int64], snapshot: Snapshot) -> NDArray[np.bool_]:
        """Which labels of the images `ids` (n,) a person has confirmed: (n,), or (n, C) of each class id."""

    def judge(
        self,
        ids: NDArray[np.int64],
        rows: NDArray[np.float32],
        values: Sequence[Value],
        trusted: NDArray[np.bool_],
        *,
        seed: int,
        progress: Callable[[float], None],
    ) -> Any | None:
        """Judge the `values` of the unit `rows` (n, D) by models that have not seen them; None if too few."""

    def doubts(
        self, known: Any, now: Sequence[Value | None], trusted: NDArray[np.bool_], before: Sequence[Value | None]
    ) -> Any:
        """The doubtful ones (`Found`) among the values `now`. A person confirmed those that are `trusted`; `before` are
        the values until then.
        """

    def told(
        self, known: Any, found: Any, now: Sequence[Value | None], names: Mapping[int, str], limit: int
    ) -> list[LabelIssue]:
        """The worst `limit` of these doubts."""

    def missed(self, known: Any, found: Any, names: Mapping[int, str], limit: int) -> list[LabelIssue]:
        """What the models miss, if that can be shown in a picture."""


ONE_CLASS, SEVERAL = ClassJudge(), SeveralJudge()


class Reviewer:
    """Caches judgements of one trainer's labels; `look` returns the current doubts."""

    def __init__(self, seed: int, pictures: Pictures | None = None) -> None:
        self._seed = seed
        self._of_images = None if pictures is None else BoxJudge(pictures)
        self._lock = threading.Lock()
        self._known: Any = None  # the findings of the task's judge
        self._given: dict[int, Value] = {}  # image → its label at the last judgement, whether or not it was sampled
        self._geometry = -1
        self._log_id: UUID | None = None  # of the judgement
        self._wanted: tuple[Space, Snapshot] | None = None
        self._found: tuple[Any, UUID, int, Found] | None = None  # doubts at the log position seen last
        self._outdated: tuple[Any, Snapshot] | None = None  # what to rank on the thread, if that takes long
        self._ranking = 0.0  # seconds of the last ranking
        self._ranked_at = float("-inf")  # when it ended
        self._took = 0.0  # seconds of the last judgement
        self._at = float("-inf")  # when it ended
        self._progress = 0.0  # of the running judgement
        self._too_alike = False  # the last judgement failed: the images are copies of too few different ones
        self.worker = Worker("label-issues", self._judge)

    def close(self) -> None:
        """End the thread. Gives up a judgement of boxes, which would take minutes."""
        if self._of_images is not None:
            self._of_images.closing.set()
        self.worker.close()

    def _judge_of(self, snapshot: Snapshot) -> Judge:
        task = task_named(snapshot.task)
        if task.learns_from_images and self._of_images is not None:
            return self._of_images
        return SEVERAL if task.several else ONE_CLASS

    def look(self, space: Space, snapshot: Snapshot, limit: int, coming: int = 0) -> LabelIssues:
        """The `limit` worst labels; new labels are judged with the next judgement.

        `coming` labeled images will have a vector soon. If they are many, no judgement begins.
        """
        with self._lock:
            known = self._known if self._log_id == snapshot.log_id else None
            another = self._geometry != space.version
        if coming <= max(STALE_LEAST, int(STALE * len(snapshot.labels))):
            coming = 0
        judge = self._judge_of(snapshot)
        stale = not coming and (another or self._is_stale(known, space, snapshot))
        rested = time.monotonic() - self._at > REST * self._took
        if stale and rested:
            with self._lock:
                self._wanted = (space, snapshot)
            self.worker.wake()
        if known is None:
            given = [label for image, label in snapshot.labels.items() if image in space.train.row_of]
            missing = 0 if coming else max(judge.lacking(given), int(self._too_alike))
            return LabelIssues(
                issues=[],
                judged=0,
                expected=0,
                enough=False,
                renewing=missing == 0,
                progress=self._progress,
                missing=missing,
                coming=coming,
                acked_seq=snapshot.acked_seq,
            )
        now = [snapshot.labels.get(int(image)) for image in known.ids]
        doubts = self._doubts(judge, known, snapshot)
        return LabelIssues(
            issues=judge.told(known, doubts, now, snapshot.names, limit),
            judged=len(known.ids),
            expected=doubts.errors.count,
            expected_low=doubts.errors.low,
            expected_high=doubts.errors.high,
            enough=doubts.errors.enough,
            renewing=stale and rested,
            progress=self._progress,
            coming=coming,
            acked_seq=snapshot.acked_seq,
            missed=judge.missed(known, doubts, snapshot.names, MISSED),
        )

    def _doubts(self, judge: Judge, known: Any, snapshot: Snapshot) -> Found:
        """The doubts, computed once per position of the log. While that takes long, those of an earlier position."""
        found = self._found
        if found is not None and found[0] is known and found[1] == snapshot.log_id:
            if found[2] == snapshot.acked_seq:
                return found[3]
            if self._ranking > QUICK:
                if time.monotonic() - self._ranked_at > REST * self._ranking:
                    with self._lock:
                        self._outdated = (known, snapshot)
                    self.worker.wake()
                return found[3]
        self._found = found = self._rank(judge, known, snapshot)
        return found[3]

    def _rank(self, judge: Judge, known: Any, snapshot: Snapshot) -> tuple[Any, UUID, int, Found]:
        began = time.monotonic()
        now = [snapshot.labels.get(int(image)) for image in known.ids]
        trusted = judge.trusted(known.ids, snapshot)
        before = [snapshot.before.get(int(image)) for image in known.ids]
        doubts: Found = judge.doubts(known, now, trusted, before)
        self._ranking, self._ranked_at = time.monotonic() - began, time.monotonic()
        return known, snapshot.log_id, snapshot.acked_seq, doubts

    def _is_stale(self, known: Any, space: Space, snapshot: Snapshot) -> bool:
        labels = {image: label for image, label in snapshot.labels.items() if image in space.train.row_of}
        if known is None:
            return len(labels) > 0
        before = self._given
        changed: int = sum(before.get(image) != label for image, label in labels.items()) + len(before.keys() - labels)
        return changed > max(STALE_LEAST, int(STALE * len(labels)))

    def _judge(self) -> None:
        with self._lock:
            wanted, self._wanted = self._wanted, None
            outdated, self._outdated = self._outdated, None
        if wanted is None:
            if outdated is not None:
                known, snapshot = outdated
                ranked = self._rank(self._judge_of(snapshot), known, snapshot)
                with self._lock:
                    if self._known is known:
                        self._found = ranked
            return
        began = time.monotonic()
        space, snapshot = wanted
        rows, _ = train_targets(space, snapshot)
        images = space.train.ids[rows]
        import_module("cleanlab.filter")  # takes a second or two, so it is not imported in a request
        judge, given = self._judge_of(snapshot), [snapshot.labels[int(image)] for image in images]
        trusted = judge.trusted(images, snapshot)
        known = judge.judge(images, space.train.rows[rows], given, trusted, seed=self._seed, progress=self._advance)
        found = None if known is None else self._rank(judge, known, snapshot)
        with self._lock:
            self._progress, self._too_alike = 0.0, known is None and judge.lacking(given) <= 0
            self._took, self._at = time.monotonic() - began, time.monotonic()
            if known is not None:
                self._known, self._geometry, self._log_id = known, space.version, snapshot.log_id
                self._given = dict(zip(images.tolist(), given, strict=True))
                self._found = found

    def _advance(self, share: float) -> None:
        self._progress = share
