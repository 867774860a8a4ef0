"""An image opened by its own address, to be looked at and corrected on the page Label.

Addresses give away nothing that the queue would not: an image held out for measuring is opened by nobody but whoever
has answered it, and then as it comes back from the strip of last answers, without a word of the model. They take no
image from anybody: what is on another screen can be looked at, and an answer waits until it is free.
"""

from __future__ import annotations

from labeler.asking.labeling_queue import LabelingQueue
from labeler.errors import Conflict, Missing
from labeler.labeling.questions import Questions
from labeler.store.annotation_log import AnnotationLog
from labeler.store.counts import Tally
from labeler.store.database import Store
from labeler.visibility import Visibility
from shared.log import ANSWERS
from shared.settings.services import LabelerSettings
from shared.wire.queries import GivenAnswer, OpenedImage


class Addresses:
    """Those of one workspace's images."""

    def __init__(
        self,
        store: Store,
        log: AnnotationLog,
        tally: Tally,
        queue: LabelingQueue,
        questions: Questions,
        visibility: Visibility,
        settings: LabelerSettings,
    ) -> None:
        self._store = store
        self._log = log
        self._tally = tally
        self._queue = queue
        self._questions = questions
        self._visibility = visibility
        self._settings = settings

    def open(self, image_id: int, annotator: str, session: str) -> OpenedImage:
        """The image as this annotator may see it; leased to the session where nobody has finished or holds it.

        Raises Missing for one that there is not, Conflict for one that is held out and not answered by the annotator.
        """
        with self._store.lock:
            if image_id not in self._tally.splits:
                gone = " any more" if image_id in self._log.fold.removed else ""
                raise Missing(f"There is no image {image_id}{gone}.")
            given = self._given(image_id, annotator)
            if not self._visibility.may_open(image_id, answered=given is not None):
                raise Conflict(
                    f"Image {image_id} is held out for measuring, so only the queue shows it. "
                    "Once you have answered it, this address opens it."
                )
            state = self._log.fold.state(image_id)
            finished = state.finished(self._settings.overlap)
            free = given is None and self._queue.may_hold(image_id, annotator, session)
            if free:
                self._queue.lease(image_id, annotator, session)
            (item,) = self._questions.of([self._queue.pick(image_id)])
            return OpenedImage(
                **item.model_dump(),
                given=given,
                label=self._log.fold.shown_class(state.label),
                status=state.status,
                settles=self._visibility.may_list(image_id) and (state.settled or (given is None and finished)),
                held=given is None and not finished and not free,
            )

    def _given(self, image_id: int, annotator: str) -> GivenAnswer | None:
        """What the annotator answered last and has not taken back."""
        rows = self._log.answers_about([image_id]).get(image_id, [])
        mine = [row for row in rows if row.annotator == annotator and row.action in ANSWERS]
        if not mine:
            return None
        last = mine[-1]
        fold = self._log.fold
        value = fold.live(fold.task.of_row(last))
        if last.action == "label" and value is None:
            return None  # its class was deleted
        return GivenAnswer(id=last.id, action=last.action, label=fold.task.shown_class(value), note=last.note)
