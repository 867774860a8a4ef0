"""Requests to the trainer. Each has a timeout; every failure raises `TrainerProblem` or one of its subclasses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.message import Message
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlencode

import httpx
import numpy as np
from pydantic import TypeAdapter
from pydantic_core import from_json

from shared.pool_predictions import MEDIA_TYPE, PredictionColumns
from shared.web import audit
from shared.web.auth import client_headers
from shared.web.peers import Peer, reason
from shared.wire.images import Described, Drawn, Groups, Neighbours, PoolMap, PoolPredictions
from shared.wire.jobs import ComparisonRequest, Job, JobList
from shared.wire.log import Acknowledgement, AnnotationBatch
from shared.wire.models import ModelList, Predictions, TrainRequest
from shared.wire.project import SettingView, StrategyEntry, StrategyList
from shared.wire.review import LabelIssues, NearDuplicates
from shared.wire.trainer import Saved, TrainerStatus

LONG_SECONDS = 120.0
"""Timeout of requests that load or write a network."""
EXPORT_SECONDS = 700.0
"""Timeout for a model file that may have to be created first. The trainer's own limit is shorter."""
T = TypeVar("T")
_STATUS = TypeAdapter(TrainerStatus)
_ACKNOWLEDGEMENT = TypeAdapter(Acknowledgement)
_SETTINGS = TypeAdapter(dict[str, SettingView])
_STRATEGIES = TypeAdapter(StrategyList)
_PREDICTIONS = TypeAdapter(PoolPredictions)
_DESCRIBED = TypeAdapter(Described)
_NEIGHBOURS = TypeAdapter(Neighbours)
_GROUPS = TypeAdapter(Groups)
_MAP = TypeAdapter(PoolMap)
_ISSUES = TypeAdapter(LabelIssues)
_COPIES = TypeAdapter(NearDuplicates)

_PREDICTED = TypeAdapter(Predictions)
_MODELS = TypeAdapter(ModelList)
_SAVED = TypeAdapter(Saved)
_JOB = TypeAdapter(Job)
_JOBS = TypeAdapter(JobList)


class TrainerProblem(Exception):  # noqa: N818 - the trainer's problem, not ours
    """The trainer refused or failed. The message is a sentence for the person."""


class Away(TrainerProblem):
    """Nothing listens at the trainer's address, perhaps not yet."""


class Rewind(TrainerProblem):
    """The trainer has the log only up to `acked_seq`: send the rest again."""

    def __init__(self, acked_seq: int) -> None:
        super().__init__(f"The trainer has the log up to {acked_seq}. Sending the rows after that again.")
        self.acked_seq = acked_seq


class Taken(TrainerProblem):
    """The trainer follows another labeler. The message is the trainer's sentence."""


class NoRoom(TrainerProblem):
    """The trainer's disk refuses writes, or the trainer is too busy. The message is the trainer's sentence."""


class Refusal(TrainerProblem):
    """The trainer refused an invalid request. The message is the trainer's sentence."""


class NotYet(TrainerProblem):
    """The trainer cannot do this in its current state. The message is the trainer's sentence."""


class ModelFile:
    """A file being downloaded from the trainer: read `pieces` to the end, or close it."""

    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer
        said = Message()
        said["content-disposition"] = answer.headers.get("content-disposition", "")
        self.name = (said.get_filename() or "model").replace('"', "")
        length = answer.headers.get("content-length", "")
        self.bytes = int(length) if length.isdigit() else None

    @property
    def pieces(self) -> Iterator[bytes]:
        """The file's bytes, in pieces."""
        try:
            yield from self._answer.iter_raw()
        finally:
            self._answer.close()

    def close(self) -> None:
        """Stop the download."""
        self._answer.close()


class TrainerClient:
    """Talks to the trainer at `url`, which may change at any time. The headers `sender` say who asks. Thread-safe."""

    def __init__(self, url: str, *, timeout: float, token: str | None, sender: Mapping[str, str] | None = None) -> None:
        self.url = url
        # trust_env=False: a proxy for the internet must not come between two services of one project.
        self._http = Peer(timeout=timeout, headers={**(sender or {}), **client_headers(token)}, trust_env=False)

    def status(self) -> TrainerStatus:
        """The trainer's status. Raises TrainerProblem."""
        return _understood(_STATUS, self._request("GET", "/status"))

    def send(self, batch: AnnotationBatch) -> int:
        """Send rows of the log; returns the last `seq` that the trainer has. Raises Rewind, Taken, TrainerProblem."""
        answer = self._request("POST", "/annotations", batch.model_dump(mode="json"))
        try:
            if answer.status_code == httpx.codes.CONFLICT and "acked_seq" not in answer.json():
                raise Taken(answer.json()["detail"])
            if answer.status_code == httpx.codes.CONFLICT:
                raise Rewind(Acknowledgement.model_validate_json(answer.content).acked_seq)
        except (ValueError, KeyError, TypeError) as error:
            raise _garbled(error) from None
        return _understood(_ACKNOWLEDGEMENT, answer).acked_seq

    def order(self, order: Literal["pause", "resume", "stop"]) -> TrainerStatus:
        """Pause, resume or stop the trainer; returns its new status. Raises TrainerProblem."""
        return _understood(_STATUS, self._request("POST", f"/{order}"))

    def settings(self) -> dict[str, SettingView]:
        """Every setting of the trainer. Raises TrainerProblem."""
        return _understood(_SETTINGS, self._request("GET", "/settings"))

    def change_settings(self, patch: Mapping[str, Any]) -> dict[str, SettingView]:
        """Change settings, all or none. Raises Refusal for invalid values, TrainerProblem."""
        return _understood(_SETTINGS, self._request("PATCH", "/settings", dict(patch)))

    def strategies(self) -> list[StrategyEntry]:
        """The query strategies that the trainer offers. Raises TrainerProblem."""
        return _understood(_STRATEGIES, self._request("GET", "/strategies")).strategies

    def predictions(self) -> PredictionColumns:
        """The model's prediction for every image of the pool. Raises NotYet without a model, TrainerProblem."""
        answer = self._request("GET", "/predictions", accept=f"{MEDIA_TYPE}, application/json")
        if answer.is_success and answer.headers.get("content-type", "").startswith(MEDIA_TYPE):
            try:
                return PredictionColumns.from_bytes(answer.content)
            except ValueError as error:
                raise _garbled(error) from None
        said = _understood(_PREDICTIONS, answer)  # from a trainer of an earlier version
        columns = (np.array(each) for each in (said.image_ids, said.labels, said.confidences))
        return PredictionColumns(said.model_version, *columns)

    def similar(self, image_id: int, limit: int, *, labeled: bool = False) -> Neighbours:
        """Neighbours of an image, or only the labeled ones, most similar first. Raises NotYet if it is not embedded,
        TrainerProblem."""
        query = f"image_id={image_id}&limit={limit}&labeled={str(labeled).lower()}"
        return _understood(_NEIGHBOURS, self._request("GET", f"/similar?{query}"))

    def described(self, words: str, limit: int) -> Described:
        """The images that words describe best. Raises NotYet without a text network, TrainerProblem."""
        return _understood(
            _DESCRIBED, self._request("GET", f"/described?{urlencode({'words': words, 'limit': limit})}")
        )

    def clusters(self, count: int, limit: int) -> Groups:
        """The pool in up to `count` groups, with up to `limit` images of each. Raises NotYet, TrainerProblem."""
        return _understood(_GROUPS, self._request("GET", f"/clusters?count={count}&limit={limit}"))

    def map(self, limit: int, layout: Drawn = "pca") -> PoolMap:
        """Positions of up to `limit` images of the pool. Raises NotYet, TrainerProblem."""
        return _understood(_MAP, self._request("GET", f"/map?limit={limit}&layout={layout}"))

    def label_issues(self, limit: int) -> LabelIssues:
        """Doubtful labels, worst first. Raises TrainerProblem."""
        return _understood(_ISSUES, self._request("GET", f"/label-issues?limit={limit}"))

    def models(self) -> ModelList:
        """Saved versions. Raises TrainerProblem."""
        return _understood(_MODELS, self._request("GET", "/models"))

    def save_model(self, name: str) -> Saved:
        """Save the live model. Raises Refusal for a bad name, NotYet without a model or if the name is taken."""
        return _understood(_SAVED, self._request("POST", "/models", {"name": name}, LONG_SECONDS))

    def train(self, name: str, request: TrainRequest) -> Job:
        """Start training a version. Raises Refusal, NotYet, TrainerProblem."""
        body = {"name": name, "train": request.model_dump(mode="json")}
        return _understood(_JOB, self._request("POST", "/models", body, LONG_SECONDS))

    def promote(self, version: str, *, confirmed: bool) -> ModelList:
        """Let a version answer predictions. Raises Refusal if it cannot, TrainerProblem."""
        path = f"/models/{quote(version)}/promote?confirmed={str(confirmed).lower()}"
        return _understood(_MODELS, self._request("POST", path, timeout=LONG_SECONDS))

    def compare(self, request: ComparisonRequest) -> Job:
        """Start comparing two versions. Raises Refusal, NotYet, TrainerProblem."""
        body = request.model_dump(mode="json")
        return _understood(_JOB, self._request("POST", "/models/compare", body, LONG_SECONDS))

    def predict(self, images: Sequence[bytes], version: str | None) -> Predictions:
        """Predictions of a version, by default the promoted one, for images. Raises Refusal, NotYet, TrainerProblem."""
        files = [("images", (f"{number}", data)) for number, data in enumerate(images)]
        query = f"?version={quote(version)}" if version else ""
        return _understood(_PREDICTED, self._request("POST", f"/predict{query}", files=files, timeout=LONG_SECONDS))

    def delete_model(self, version: str) -> ModelList:
        """Delete a version. Raises NotYet if something needs it, TrainerProblem."""
        return _understood(_MODELS, self._request("DELETE", f"/models/{quote(version)}", timeout=LONG_SECONDS))

    def model_file(self, version: str, format: str) -> ModelFile:
        """A version as a file in a format, created if missing. Raises Refusal, NotYet, TrainerProblem."""
        query = {"format": format}
        request = self._http.build_request(
            "GET", f"{self.url}/models/{quote(version, safe='')}/export", params=query, timeout=EXPORT_SECONDS
        )
        with self._told():
            answer = self._http.send(request, stream=True)
        if answer.is_success:
            return ModelFile(answer)
        with self._told():
            answer.read()
        _checked(answer)
        raise TrainerProblem(f"The trainer answered {answer.status_code}.")

    def jobs(self) -> list[Job]:
        """All jobs, newest first. Raises TrainerProblem."""
        return _understood(_JOBS, self._request("GET", "/jobs")).jobs

    def cancel(self, job: str) -> Job:
        """Cancel a job. Raises NotYet if it is unknown, TrainerProblem."""
        return _understood(_JOB, self._request("DELETE", f"/jobs/{quote(job)}"))

    def near_duplicates(self, limit: int) -> NearDuplicates:
        """Unwanted near copies. Raises TrainerProblem."""
        return _understood(_COPIES, self._request("GET", f"/near-duplicates?limit={limit}"))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _request(
        self,
        method: str,
        path: str,
        body: Any = None,
        timeout: float | None = None,
        files: Any = None,
        accept: str = "application/json",
    ) -> httpx.Response:
        patience: Any = httpx.USE_CLIENT_DEFAULT if timeout is None else timeout
        with self._told():
            return self._http.request(
                method,
                self.url + path,
                json=body,
                files=files,
                timeout=patience,
                headers={audit.HEADER: audit.origin(), "accept": accept},
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException:
            raise TrainerProblem(f"The trainer at {self.url} takes too long to answer.") from None
        except httpx.HTTPError as error:
            kind = Away if isinstance(error, httpx.ConnectError) else TrainerProblem
            raise kind(f"The trainer at {self.url} cannot be reached ({reason(error)}).") from None


def _understood(expected: TypeAdapter[T], answer: httpx.Response) -> T:
    try:
        return expected.validate_python(_checked(answer))
    except ValueError as error:  # not JSON, or not of the expected type
        raise _garbled(error) from None


def _garbled(error: Exception) -> TrainerProblem:
    return TrainerProblem(f"The trainer's answer is not valid: {error}")


def _checked(answer: httpx.Response) -> Any:
    if answer.is_success:
        return from_json(answer.content)
    try:
        detail = str(from_json(answer.content)["detail"])
    except (ValueError, KeyError, TypeError):
        detail = answer.reason_phrase
    if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
        raise Refusal(detail)
    if answer.status_code in (httpx.codes.CONFLICT, httpx.codes.NOT_FOUND):
        raise NotYet(detail)
    if answer.status_code in (httpx.codes.INSUFFICIENT_STORAGE, httpx.codes.SERVICE_UNAVAILABLE):
        raise NoRoom(detail)
    raise TrainerProblem(f"The trainer answered {answer.status_code}: {detail}")
