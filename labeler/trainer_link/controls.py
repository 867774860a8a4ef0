"""The trainer as the pages use it: its last known status, the actions Pause, Resume and Stop, and its settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from labeler.errors import Conflict, Invalid, Unreachable
from labeler.trainer_link.client import ModelFile, NotYet, Refusal, TrainerClient, TrainerProblem
from labeler.trainer_link.log_sender import LogSender
from shared.pool_predictions import PredictionColumns
from shared.wire.images import Described, Drawn, Groups, Neighbours, PoolMap
from shared.wire.jobs import ComparisonRequest, Job
from shared.wire.models import ModelList, Predictions, TrainRequest
from shared.wire.project import SettingView, StrategyEntry, TrainerView
from shared.wire.review import LabelIssues, NearDuplicates
from shared.wire.trainer import Saved, TrainerStatus

FLUSH_SECONDS = 3.0


class Trainer:
    """Each method that sends a request has a timeout, and raises Unreachable if the trainer fails."""

    def __init__(self, client: TrainerClient, outbox: LogSender) -> None:
        self._client = client
        self._outbox = outbox

    def status(self) -> TrainerStatus | None:
        """The latest status, without a request; None while the trainer does not answer."""
        return self._outbox.status

    @property
    def away(self) -> Literal["absent", "taken"]:
        """Why there is no status."""
        return self._outbox.away

    def status_now(self) -> TrainerStatus | None:
        """The current status, by a request; None if the trainer does not answer."""
        try:
            return self._client.status()
        except TrainerProblem:
            return None

    def view(self) -> TrainerView:
        """The latest status, combined with the outbox's state."""
        return self._outbox.trainer_view()

    def pause(self) -> TrainerStatus:
        """Stop training until resumed; labels are still accepted."""
        return self._order("pause")

    def resume(self) -> TrainerStatus:
        """Continue after a pause or a stop."""
        return self._order("resume")

    def stop(self) -> TrainerStatus:
        """Send the waiting rows, so that the last evaluation includes them, then finish and save."""
        self._outbox.flush(FLUSH_SECONDS)
        return self._order("stop")

    def settings(self) -> dict[str, SettingView]:
        """Every setting of the trainer with its value, its source and whether it can be changed now."""
        with _told():
            return self._client.settings()

    def change_settings(self, patch: Mapping[str, Any]) -> dict[str, SettingView]:
        """Change settings, all or none; the project keeps them. Raises Invalid with the trainer's sentence."""
        with _told():
            return self._client.change_settings(patch)

    def strategies(self) -> list[StrategyEntry]:
        """The query strategies that the trainer offers, with when to use each."""
        with _told():
            return self._client.strategies()

    def predictions(self) -> PredictionColumns:
        """The model's prediction for every image of the pool. Raises Conflict while there is no model."""
        with _told():
            return self._client.predictions()

    def similar(self, image_id: int, limit: int) -> Neighbours:
        """Neighbours of an image, most similar first. Raises Conflict if it is not embedded."""
        with _told():
            return self._client.similar(image_id, limit)

    def described(self, words: str, limit: int) -> Described:
        """The images that words describe best. Raises Conflict without a text network."""
        with _told():
            return self._client.described(words, limit)

    def clusters(self, count: int, limit: int) -> Groups:
        """The pool in up to `count` groups. Raises Conflict while they are being computed."""
        with _told():
            return self._client.clusters(count, limit)

    def map(self, limit: int, layout: Drawn = "pca") -> PoolMap:
        """Positions of the pool's images. Raises Conflict while they are being computed."""
        with _told():
            return self._client.map(limit, layout)

    def label_issues(self, limit: int) -> LabelIssues:
        """Doubtful labels, worst first. Raises Conflict while no image is embedded."""
        with _told():
            return self._client.label_issues(limit)

    def models(self) -> ModelList:
        """Saved versions, oldest first."""
        with _told():
            return self._client.models()

    def save_model(self, name: str) -> Saved:
        """Save the live model under a name. Raises Invalid and Conflict with the trainer's sentence."""
        with _told():
            return self._client.save_model(name)

    def train(self, name: str, request: TrainRequest) -> Job:
        """Start training a version. Raises Invalid and Conflict with the trainer's sentence."""
        with _told():
            return self._client.train(name, request)

    def promote(self, version: str, *, confirmed: bool) -> ModelList:
        """Let a version answer predictions; one with a warning only if `confirmed`. Raises Invalid if it cannot."""
        with _told():
            return self._client.promote(version, confirmed=confirmed)

    def delete_model(self, version: str) -> ModelList:
        """Delete a version. Raises Conflict with the trainer's sentence if something needs it."""
        with _told():
            return self._client.delete_model(version)

    def model_file(self, version: str, format: str) -> ModelFile:
        """A version as a file in a format. Raises Invalid and Conflict with the trainer's sentence."""
        with _told():
            return self._client.model_file(version, format)

    def compare(self, request: ComparisonRequest) -> Job:
        """Start comparing two versions. Raises Invalid and Conflict with the trainer's sentence."""
        with _told():
            return self._client.compare(request)

    def predict(self, images: Sequence[bytes], version: str | None = None) -> Predictions:
        """Predictions of a version, by default the promoted one, for any images."""
        with _told():
            return self._client.predict(images, version)

    def jobs(self) -> list[Job]:
        """All jobs, newest first."""
        with _told():
            return self._client.jobs()

    def cancel(self, job: str) -> Job:
        """Cancel a job."""
        with _told():
            return self._client.cancel(job)

    def near_duplicates(self, limit: int) -> NearDuplicates:
        """Unwanted near copies. Raises Conflict while no image is embedded."""
        with _told():
            return self._client.near_duplicates(limit)

    def _order(self, order: Literal["pause", "resume", "stop"]) -> TrainerStatus:
        with _told():
            status = self._client.order(order)
        self._outbox.look()
        return status


@contextmanager
def _told() -> Iterator[None]:
    """Turn the trainer's problems into the labeler's."""
    try:
        yield
    except Refusal as refusal:
        raise Invalid(str(refusal)) from None
    except NotYet as state:
        raise Conflict(str(state)) from None
    except TrainerProblem as problem:
        raise Unreachable(str(problem)) from None
