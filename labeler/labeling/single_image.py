"""An image opened by its own URL, to view or correct it on the page Label.

URLs reveal nothing that the queue would not: a held-out image opens only for an annotator who has answered it, and then
shows only that answer and nothing from the model. Opening an image takes it from nobody: if it is on another person's
screen, it can be viewed, and can be answered once it is free.
"""

from __future__ import annotations

from labeler.asking.labeling_queue import LabelingQueue
from labeler.errors import Conflict, Missing
from labeler.labeling.questions import Questions
from labeler.store.annotation_log import AnnotationLog
from labeler.store.counts import Counts
from labeler.store.database import Store
from labeler.visibility import Visibility
from shared.log import ANSWERS
from shared.settings.services import LabelerSettings
from shared.wire.queries import GivenAnswer, OpenedImage


class SingleImage:
    """Opens the images of one workspace by URL."""

    def __init__(
        self,
        store: Store,
        log: AnnotationLog,
        tally: Counts,
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
        """The image as this annotator may see it; leased to the session if it is unfinished and not held by others.

        Raises Missing if it does not exist, and Conflict if it is held out and not answered by the annotator.
        """
        with self._store.lock:
            if image_id not in self._tally.splits:
                gone = " any more" if image_id in self._log.fold.removed else ""
                raise Missing(f"There is no image {image_id}{gone}.")
            given = self._given(image_id, annotator)
            if not self._visibility.may_open(image_id, answered=given is not None):
                raise Conflict(
                    f"Image {image_id} is held out for measuring, so only the queue shows it. "
                    "Once you have answered it, this URL opens it."
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
                answer=self._log.fold.shown_answer(state.label),
                status=state.status,
                settles=self._visibility.may_list(image_id) and (state.settled or (given is None and finished)),
                held=given is None and not finished and not free,
            )

    def _given(self, image_id: int, annotator: str) -> GivenAnswer | None:
        """The annotator's last answer that is not undone."""
        rows = self._log.answers_about([image_id]).get(image_id, [])
        mine = [row for row in rows if row.annotator == annotator and row.action in ANSWERS]
        if not mine:
            return None
        last = mine[-1]
        fold = self._log.fold
        value = fold.live(fold.task.of_row(last))
        if last.action == "label" and value is None:
            return None  # its class was deleted
        return GivenAnswer(
            id=last.id,
            action=last.action,
            label=fold.task.shown_class(value),
            note=last.note,
            answer=fold.shown_answer(value),
        )
