"""Requests to the trainer. Every one is finite, and its failure is one of two named errors."""

from __future__ import annotations

from typing import Any, Literal

import httpx
from pydantic import ValidationError

from shared.auth import client_headers
from shared.messages import Acknowledgement, AnnotationBatch, TrainerStatus


class TrainerProblem(Exception):  # noqa: N818 - the trainer's problem, not ours
    """The trainer did not do what it was asked. The message is a sentence for the person."""


class Rewind(TrainerProblem):
    """The trainer has the log only up to `acked_seq`."""

    def __init__(self, acked_seq: int) -> None:
        super().__init__(f"The trainer has the log up to {acked_seq}; sending again from there.")
        self.acked_seq = acked_seq


class TrainerClient:
    """Talks to the trainer at `url`, which may be changed while it is used; safe from any thread."""

    def __init__(self, url: str, *, timeout: float, token: str | None) -> None:
        self.url = url
        # trust_env: a proxy for the internet must not come between two services of one project.
        self._http = httpx.Client(timeout=timeout, headers=client_headers(token), trust_env=False)

    def status(self) -> TrainerStatus:
        """What the trainer is doing. Raises TrainerProblem."""
        return self._status(self._request("GET", "/status"))

    def send(self, batch: AnnotationBatch) -> int:
        """Hand over rows of the log; returns how far the trainer then has it. Raises Rewind, TrainerProblem."""
        answer = self._request("POST", "/annotations", batch.model_dump(mode="json"))
        try:
            if answer.status_code == httpx.codes.CONFLICT:
                raise Rewind(Acknowledgement.model_validate(answer.json()).acked_seq)
            return Acknowledgement.model_validate(_checked(answer)).acked_seq
        except (ValidationError, ValueError) as error:
            raise TrainerProblem(f"The trainer's answer cannot be understood: {error}") from None

    def order(self, order: Literal["pause", "resume", "stop"]) -> TrainerStatus:
        """Returns what the trainer is doing then. Raises TrainerProblem."""
        return self._status(self._request("POST", f"/{order}"))

    def close(self) -> None:
        """Drop the connections."""
        self._http.close()

    def _request(self, method: str, path: str, body: Any = None) -> httpx.Response:
        try:
            return self._http.request(method, self.url + path, json=body)
        except httpx.TimeoutException:
            raise TrainerProblem(f"The trainer at {self.url} takes too long to answer.") from None
        except httpx.HTTPError as error:
            raise TrainerProblem(f"The trainer at {self.url} cannot be reached ({error}).") from None

    def _status(self, answer: httpx.Response) -> TrainerStatus:
        try:
            return TrainerStatus.model_validate(_checked(answer))
        except (ValidationError, ValueError) as error:
            raise TrainerProblem(f"The trainer's answer cannot be understood: {error}") from None


def _checked(answer: httpx.Response) -> Any:
    if answer.is_success:
        return answer.json()
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.reason_phrase
    raise TrainerProblem(f"The trainer answered {answer.status_code}: {detail}")
