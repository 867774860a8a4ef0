"""Answers of people and programs: what may be written about an image, and undoing it.

A post is written completely or not at all. An id makes an answer repeatable: sent again with the same content, it
changes nothing; with other content, it is refused. An answer is accepted whoever holds the image. Only one without a
lease, after someone else has finished the image, is marked `late` and then never overrides (see `shared.log`). A
request that answers many images at once says which row of the log its page has seen (`as_of`). Images that others
answered since are skipped and reported, never overridden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from labeler.asking.labeling_queue import LabelingQueue
from labeler.asking.leases import Leases
from labeler.errors import AnnotationRefused, Conflict, Forbidden, Missing
from labeler.images.catalog import Catalog
from labeler.store.annotation_log import GRID, AnnotationLog, Draft, Step
from labeler.store.counts import Counts
from labeler.store.database import Store
from shared.log import LATE, UNSURE, Entry
from shared.settings.services import LabelerSettings
from shared.tasks.task import AnswerRefusedError, Value
from shared.wire.log import Annotation, AnnotationReceipt, Row, Undo
from shared.wire.review import ACCEPTED, REVIEW, Verdict

_NEEDS_LABEL = frozenset({"label", "settle"})
_VERDICTS: dict[Verdict, str] = {"keep": "settle", "fix": "settle", "remove": "settle", "unsure": "skip"}
_REVIEWS = frozenset({REVIEW, ACCEPTED})
_Ahead = dict[int, list[Entry]]
"""Image → its answers from earlier annotations in the same post."""


class _NotTakenError(ValueError):
    """Why one annotation cannot be written."""


class Annotations:
    """The rules of one workspace's answers."""

    def __init__(
        self,
        store: Store,
        log: AnnotationLog,
        tally: Counts,
        leases: Leases,
        queue: LabelingQueue,
        catalog: Catalog,
        settings: LabelerSettings,
    ) -> None:
        self._store = store
        self._log = log
        self._tally = tally
        self._leases = leases
        self._queue = queue
        self._catalog = catalog
        self._settings = settings

    def annotate(self, annotations: Sequence[Annotation]) -> AnnotationReceipt:
        """Write the answers; they are on disk when this returns. Skips those that others answered first.

        Raises AnnotationRefused if any annotation is invalid; it names each of them with the reason.
        """
        with self._store.lock:
            known = self._log.find({annotation.id for annotation in annotations})
            drafts: dict[UUID, Draft] = {}
            ahead: _Ahead = {}
            answered, held = self._taken(annotations)
            left_out = 0
            invalid: list[dict[str, str]] = []
            for annotation in annotations:
                same_id = known.get(annotation.id) or drafts.get(annotation.id)
                try:
                    if same_id is None and (annotation.id in answered or annotation.id in held):
                        left_out += 1
                    elif same_id is None:
                        drafts[annotation.id] = self._draft(annotation, ahead)
                    else:
                        self._check_same(same_id, annotation)
                except _NotTakenError as problem:
                    invalid.append({"id": str(annotation.id), "reason": str(problem)})
            if invalid:
                raise AnnotationRefused(invalid)
            self._log.append(_one_batch(list(drafts.values())))
            for annotation in annotations:
                self._leases.release(annotation.image_id, annotation.session or annotation.annotator)
            return AnnotationReceipt(
                last_seq=self._log.last_seq,
                accepted=len(drafts),
                duplicates=len(annotations) - len(drafts) - left_out,
                answered=[image_id for row_id, image_id in answered.items() if row_id not in known],
                held=[image_id for row_id, image_id in held.items() if row_id not in known],
            )

    def undo(self, undo: Undo) -> list[int]:
        """Undo a step and lease its first image to the session; returns the ids of all its images.

        Raises Missing if there is nothing to undo, Forbidden for somebody else's answer, and Conflict if the log has
        this id for something else.
        """
        with self._store.lock:
            before = self._log.find([undo.id]).get(undo.id)
            if before is None:
                image_ids = self._take_back(undo)
            elif before.action == "undo" and before.annotator == undo.annotator:
                image_ids = [row.image_id for row in self._log.written_with(before) if row.image_id is not None]
            else:
                raise Conflict("Another row of the log has this id. Undo again under a new id.")
            if not self._log.fold.state(image_ids[0]).finished(self._settings.overlap):
                self._queue.lease(image_ids[0], undo.annotator, undo.session or undo.annotator)
            return image_ids

    def _take_back(self, undo: Undo) -> list[int]:
        step = self._step(undo)
        ids = [undo.id, *(uuid4() for _ in step[1:])]
        drafts = [
            Draft(action="undo", id=row_id, image_id=image_id, annotator=undo.annotator, target=target)
            for row_id, (target, image_id) in zip(ids, step, strict=True)
        ]
        self._log.append(_one_batch(drafts))
        return [image_id for _, image_id in step]

    def _step(self, undo: Undo) -> Step:
        if undo.target is not None:
            image_id = self._target(undo.target, undo.annotator)
            return self._log.step_of(undo.annotator, undo.target) or [(undo.target, image_id)]
        step, page = self._log.last_step(undo.annotator, undo.page)
        if not step:
            where = f" of the page {undo.page.capitalize()}" if undo.page else ""
            raise Missing(f"There is no answer of {undo.annotator!r}{where} left to undo.")
        if undo.ask and (len(step) > 1 or page != (undo.page or "label")):
            many = f"{len(step):,} answers given at once" if len(step) > 1 else "an answer given"
            raise Conflict(
                f"This undoes {many} on the page {page.capitalize()}.",
                undone=len(step),
                page=page,
                target=str(step[0][0]),
            )
        return step

    def _target(self, target: UUID, annotator: str) -> int:
        row = self._log.find([target]).get(target)
        if row is None or row.image_id is None or target not in self._log.fold.standing(row.image_id):
            raise Missing(f"There is no answer {target} to undo.")
        if row.annotator != annotator:
            raise Forbidden(f"Only {row.annotator!r}, who gave this answer, can undo it; settle the image instead.")
        return row.image_id

    def _draft(self, annotation: Annotation, ahead: _Ahead) -> Draft:
        image_id = annotation.image_id
        if image_id not in self._tally.splits:
            raise _NotTakenError(
                f"there is no image {image_id}" + (" any more" if image_id in self._log.fold.removed else "")
            )
        if annotation.source in {GRID, *_REVIEWS} and self._tally.splits[image_id] != "train":
            raise _NotTakenError(
                f"image {image_id} is held out for measuring: it can only be answered when the queue asks about it"
            )
        if annotation.source in _REVIEWS and (annotation.reason, annotation.action) not in _VERDICTS.items():
            verdicts = ", ".join(f"{reason} ({action})" for reason, action in _VERDICTS.items())
            raise _NotTakenError(f"a review's reason and action must be one of {verdicts}")
        if annotation.action == "undo":
            self._check_undo(annotation)
        value = self._value(annotation, ahead)
        content: dict[str, Any] = annotation.model_dump(exclude={"session", "label", "answer", "source", "as_of"})
        source = LATE if self._is_late(annotation) else annotation.source
        held = {} if value is None else self._log.fold.task.to_row(value)
        unsure = annotation.source == REVIEW and annotation.action == "skip"
        action = UNSURE if unsure else annotation.action
        entry = Entry(annotation.id.bytes, action, value, annotation.annotator, source == LATE)
        ahead.setdefault(image_id, []).append(entry)
        return Draft(**content, **held, source=source)

    def _check_undo(self, annotation: Annotation) -> None:
        if annotation.target is None:
            raise _NotTakenError("an undo needs a target: the id of the answer to undo")
        try:
            image_id = self._target(annotation.target, annotation.annotator)
        except (Missing, Forbidden) as problem:
            raise _NotTakenError(problem.detail) from None
        if image_id != annotation.image_id:
            raise _NotTakenError(f"its target is an answer about image {image_id}")

    def _value(self, annotation: Annotation, ahead: _Ahead) -> Value | None:
        fold, image_id = self._log.fold, annotation.image_id
        answer = fold.task.answer_in(annotation)
        removes = annotation.source in _REVIEWS and annotation.reason == "remove"
        if annotation.action not in _NEEDS_LABEL or removes:
            if answer is not None:
                raise _NotTakenError(f"a {annotation.action} must have no label")
            return None
        if answer is None:
            raise _NotTakenError(f"a {annotation.action} needs a label")
        try:
            value = fold.task.fit(fold.task.check(answer, fold), lambda: self._catalog.shapes([image_id])[image_id])
        except AnswerRefusedError as problem:
            raise _NotTakenError(str(problem)) from None
        if fold.task.completes(answer):
            earlier = self._earlier(annotation, ahead.get(image_id, []))
            value = value if earlier is None else fold.task.complete(earlier, value)
        return value

    def _earlier(self, annotation: Annotation, ahead: Sequence[Entry]) -> Value | None:
        """The annotator's current answer; the image's label if the annotation settles it."""
        if any(entry.action == "undo" for entry in ahead):
            raise _NotTakenError(
                "it changes part of an answer that the same request undoes: send it in the next request"
            )
        state, answers = self._log.fold.ahead(annotation.image_id, ahead, self._log.fold.resolve)
        if annotation.action == "settle":
            return state.label
        return answers[annotation.annotator][1] if annotation.annotator in answers else None

    def _is_late(self, annotation: Annotation) -> bool:
        if annotation.action in ("settle", "undo") or annotation.source in _REVIEWS:
            return False  # it overrides others on purpose, or undoes one's own answer
        state = self._log.fold.state(annotation.image_id)
        by_others = state.answered - {annotation.annotator}
        finished = state.settled or len(by_others) >= self._settings.overlap
        holds = self._leases.holds(annotation.image_id, annotation.session or annotation.annotator)
        return finished and bool(by_others) and not holds

    def _taken(self, annotations: Sequence[Annotation]) -> tuple[dict[UUID, int], dict[UUID, int]]:
        """Annotation id → image, of those that others have answered since `as_of`, and of those on others' screens."""
        dated = [each for each in annotations if each.as_of is not None and each.action != "undo"]
        answered: dict[UUID, int] = {}
        held: dict[UUID, int] = {}
        if not dated:
            return answered, held
        oldest = min(each.as_of for each in dated if each.as_of is not None)
        news = self._log.answered_since(oldest, {each.image_id for each in dated})
        overlap = self._settings.overlap
        for each in dated:
            state = self._log.fold.state(each.image_id)
            since = {who for who, seq in news.get(each.image_id, {}).items() if seq > (each.as_of or 0)}
            others = {lease.annotator for lease in self._leases.on(each.image_id)} - {each.annotator}
            if since - {each.annotator} and state.finished(overlap):
                answered[each.id] = each.image_id
            elif others and not state.finished(overlap) and len(state.answered | others) >= overlap:
                held[each.id] = each.image_id
        return answered, held

    def _check_same(self, known: Row | Draft, annotation: Annotation) -> None:
        same = (known.action, known.image_id, known.annotator) == (
            annotation.action,
            annotation.image_id,
            annotation.annotator,
        )
        fold = self._log.fold
        value, answer = fold.task.of_row(known), fold.task.answer_in(annotation)
        if value is None or answer is None:
            same = same and value is answer
        if not same or not (value is None or fold.task.is_same(value, answer, fold)):
            raise _NotTakenError("another annotation has this id: send it again under a new id")


def _one_batch(drafts: list[Draft]) -> list[Draft]:
    """The drafts under one batch id, so that they are undone together."""
    if len(drafts) < 2:
        return drafts
    batch = uuid4()
    return [replace(draft, batch=batch) for draft in drafts]
