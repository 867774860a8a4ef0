"""Stores the trainer's evaluations in the labeler, so that the curve survives the trainer."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select

from labeler.errors import Conflict
from labeler.store.database import Store
from labeler.store.tables import EVALUATED
from shared.wire.evaluation import Evaluation


class Evaluations:
    """The evaluations of one workspace, in order of arrival."""

    def __init__(self, store: Store, log_id: UUID) -> None:
        self._store = store
        self._log_id = log_id
        self._all: list[Evaluation] = []
        with store.read() as connection:
            for body in connection.execute(select(EVALUATED.c.body).order_by(EVALUATED.c.position)).scalars():
                self._append(Evaluation.model_validate(body))

    @property
    def last(self) -> Evaluation | None:
        """The newest evaluation, if any."""
        with self._store.lock:
            return self._all[-1] if self._all else None

    def add(self, evaluation: Evaluation) -> None:
        """Store an evaluation; a repeated id changes nothing. Raises Conflict for another workspace's evaluation."""
        if evaluation.log_id != self._log_id:
            raise Conflict(
                f"The evaluation is for log {evaluation.log_id}, but this workspace's log is {self._log_id}.",
                log_id=str(self._log_id),
            )
        with self._store.lock:
            with self._store.write() as connection:
                same = select(EVALUATED.c.position).where(EVALUATED.c.id == evaluation.id)
                if connection.execute(same).first() is not None:
                    return
                connection.execute(EVALUATED.insert().values(id=evaluation.id, body=evaluation.model_dump(mode="json")))
            self._append(evaluation)

    def all(self) -> list[Evaluation]:
        """All evaluations; only the newest has its confusion matrix, whose size is the square of the number of
        classes."""
        with self._store.lock:
            return list(self._all)

    def _append(self, evaluation: Evaluation) -> None:
        if self._all:
            self._all[-1] = self._all[-1].model_copy(update={"confusion": []})
        self._all.append(evaluation)
