"""Reviewing labels: the trainer's doubtful labels that nobody has judged yet, and accepting many proposals at once.

The trainer says which labels are doubtful. The labeler knows the newest labels and all verdicts, so it decides what to
show: only train images that still have the doubtful label and are not judged yet.
"""

from __future__ import annotations

from uuid import uuid4

from labeler.images.catalog import Catalog
from labeler.images.thumbnails import thumbnail_url
from labeler.labeling.answers import Annotations
from labeler.review.verdicts import Verdicts
from labeler.store.annotation_log import AnnotationLog
from labeler.store.database import Store
from labeler.trainer_link.controls import Trainer
from labeler.visibility import Visibility
from shared.settings.services import LabelerSettings
from shared.wire.log import Annotation, AnnotationReceipt
from shared.wire.review import ACCEPTED, AcceptPost, LabelIssue, LabelIssues, Picture, ReviewItem, ReviewPage

AHEAD = 1_000  # doubts requested from the trainer beyond those judged
MOST = 10_000  # maximum doubts requested
CONFIDENCES = (0.99, 0.95, 0.9, 0.8)  # thresholds for accepting many proposals at once
EVIDENCE_SIZE = 160  # pixels of a neighbour's longer side


class Review:
    """The review of one workspace."""

    def __init__(
        self,
        store: Store,
        log: AnnotationLog,
        visibility: Visibility,
        catalog: Catalog,
        annotations: Annotations,
        verdicts: Verdicts,
        trainer: Trainer,
        settings: LabelerSettings,
    ) -> None:
        self._store = store
        self._log = log
        self._visibility = visibility
        self._catalog = catalog
        self._annotations = annotations
        self._verdicts = verdicts
        self._trainer = trainer
        self._settings = settings

    def page(self, limit: int) -> ReviewPage:
        """The worst open doubts. Raises Unreachable, and Conflict while nothing can be judged."""
        with self._store.lock:
            as_of = self._log.last_seq  # before the list: nobody has seen rows that come later
        found, waiting = self._waiting(AHEAD)
        with self._store.lock:
            judged, errors = self._verdicts.counts()
            recent, recent_errors = self._verdicts.recent()
            missed = [each for each in found.missed if self._is_shown(each)]
        pictured = {each.image_id for each in self._one_per_image(missed)[:limit]}
        return ReviewPage(
            items=self._items(self._one_per_image(waiting)[:limit]),
            missed=self._items([each for each in missed if each.image_id in pictured]),
            as_of=as_of,
            open=len(waiting),
            acceptable={
                f"{least:g}": sum(each.confident and each.confidence >= least for each in waiting)
                for least in CONFIDENCES
            },
            judged=judged,
            errors=errors,
            expected=errors + found.expected,
            expected_low=errors + found.expected_low,
            expected_high=errors + found.expected_high,
            enough=found.enough,
            recent=recent,
            recent_errors=recent_errors,
            renewing=found.renewing,
            progress=found.progress,
            missing=found.missing,
            coming=found.coming,
            labels=found.judged,
        )

    def accept(self, post: AcceptPost) -> AnnotationReceipt:
        """Accept the proposals of all confident doubts at or above `post.confidence`, as one undo step of at most
        MAX_ROWS."""
        _, waiting = self._waiting(MOST)
        taken = [each for each in waiting if each.confident and each.confidence >= post.confidence][: post.most]
        return self._annotations.annotate(
            [
                Annotation(
                    id=uuid4(),
                    image_id=each.image_id,
                    action="settle",
                    **self._log.fold.task.proposal(each),
                    annotator=post.annotator,
                    session=post.session,
                    reason="fix",
                    source=ACCEPTED,
                    proposed=each.proposed,
                )
                for each in taken
            ]
        )

    def _waiting(self, ahead: int) -> tuple[LabelIssues, list[LabelIssue]]:
        self._visibility.refuse_hints()
        with self._store.lock:
            judged, _ = self._verdicts.counts()
        found = self._trainer.label_issues(min(judged + ahead, MOST))
        with self._store.lock:
            return found, [each for each in found.issues if self._is_open(each)]

    def _one_per_image(self, issues: list[LabelIssue]) -> list[LabelIssue]:
        """For boxes, only the worst doubt about each image: the next one is shown after that one is answered."""
        if not self._log.fold.task.by_box:
            return issues
        worst: dict[int, LabelIssue] = {}
        for each in issues:
            worst.setdefault(each.image_id, each)
        return list(worst.values())

    def _is_open(self, issue: LabelIssue) -> bool:
        return self._is_shown(issue) and self._verdicts.is_open(issue.image_id, issue.proposed)

    def _is_shown(self, issue: LabelIssue) -> bool:
        """Whether the image may be shown, and still has what the issue is about."""
        fold = self._log.fold
        return self._visibility.may_list(issue.image_id) and fold.task.is_doubted(
            fold.state(issue.image_id).label, issue, fold.resolve
        )

    def _items(self, issues: list[LabelIssue]) -> list[ReviewItem]:
        with self._store.lock:
            shown = {
                each.image_id: [near for near in each.evidence if self._visibility.may_list(near.image_id)]
                for each in issues
            }
            wanted = {near.image_id for evidence in shown.values() for near in evidence} | shown.keys()
            fold = self._log.fold
            classes = {
                known: (live, fold.classes[live].name)
                for issue in issues
                for known in (issue.label, issue.proposed)
                if (live := fold.resolve(known)) is not None
            }
            parts = {
                id(each): (value, fold.task.corrected(value, each, fold.resolve))
                for each in issues
                if (value := fold.state(each.image_id).label) is not None
            }
            answers = {
                key: tuple(None if part is None else fold.shown_answer(part) for part in both)
                for key, both in parts.items()
                if fold.task.by_box
            }
        sizes = self._catalog.shapes([each.image_id for each in issues]) if answers else {}
        hashes = self._catalog.hashes(sorted(wanted))
        large = self._settings.display_pixels
        return [
            ReviewItem(
                image_id=each.image_id,
                url=thumbnail_url(each.image_id, hashes[each.image_id], large),
                label=classes[each.label][0],
                label_name=classes[each.label][1],
                proposed=classes[each.proposed][0],
                proposed_name=classes[each.proposed][1],
                given=each.given,
                kind=each.kind,
                box=each.box,
                at=each.at,
                kept=answers.get(id(each), (None, None))[0],
                answer=answers.get(id(each), (None, None))[1],
                width=sizes.get(each.image_id, (None, None))[0],
                height=sizes.get(each.image_id, (None, None))[1],
                confidence=each.confidence,
                confident=each.confident,
                agreeing=each.agreeing,
                neighbours=each.neighbours,
                evidence=[
                    Picture(
                        image_id=near.image_id,
                        url=thumbnail_url(near.image_id, hashes[near.image_id], EVIDENCE_SIZE),
                        similarity=near.similarity,
                    )
                    for near in shown[each.image_id]
                ],
            )
            for each in issues
        ]
