"""Requests from the trainer to the labeler, with finite timeouts and one error that means "not now".

This module knows only the HTTP contract. Callers decide what to do while the labeler is offline.
"""

from __future__ import annotations

from typing import Any

import httpx
from pydantic_core import from_json

from shared.web.peers import Peer
from shared.wire.evaluation import Evaluation
from shared.wire.images import ImagePage
from shared.wire.log import AnnotationPage
from shared.wire.queries import QueryPush, QueryReceipt, TestRates

MOST_JSON_BYTES = 8_000_000
"""Limit for an evaluation, in bytes; the labeler's own limit is slightly larger (`max_json_bytes`)."""


class LabelerAway(Exception):  # noqa: N818 - a state of the labeler, not a failure here
    """The labeler did not answer in time, refused the connection, or failed (5xx). Try again later."""


class Refused(Exception):  # noqa: N818 - an answer of the protocol
    """The labeler answered with a refusal (4xx)."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(str(body.get("detail", f"HTTP {status}")))
        self.status = status
        self.body = body


class LabelerClient:
    """One connection pool to the labeler. Thread-safe."""

    def __init__(self, url: str, *, timeout_seconds: float, headers: dict[str, str] | None = None) -> None:
        self.url = url
        # trust_env: an internet proxy must not stand between two services of one project, nor see the token.
        self._http = Peer(
            base_url=url,
            timeout=httpx.Timeout(timeout_seconds, connect=min(3.0, timeout_seconds)),
            headers=headers,
            trust_env=False,
        )

    def images(self, after: int, limit: int = 10_000) -> ImagePage:
        """A page of the catalogue, in order of change."""
        return ImagePage.model_validate_json(self._get(f"/api/images?after={after}&limit={limit}"))

    def annotations(self, after: int, limit: int = 5_000) -> AnnotationPage:
        """A page of the annotation log."""
        return AnnotationPage.model_validate_json(self._get(f"/api/annotations?after={after}&limit={limit}"))

    def project(self) -> dict[str, Any]:
        """The state of the labeler's project."""
        answer: dict[str, Any] = from_json(self._get("/api/project"))
        return answer

    def content(self, image_id: int) -> bytes:
        """The bytes of an image as catalogued. Raises Refused if the labeler does not have them."""
        return self._get(f"/api/images/{image_id}/content")

    def push_queries(self, push: QueryPush) -> QueryReceipt:
        """Offer a ranked list. Raises Refused (409) if a list based on more rows is in use."""
        return QueryReceipt.model_validate_json(self._post("/api/queries", push.model_dump_json()))

    def push_test_rates(self, rates: TestRates) -> None:
        """Suggest how often to ask about each test image. Raises Refused (409) if they are asked at random."""
        self._post("/api/test-rates", rates.model_dump_json())

    def push_evaluation(self, evaluation: Evaluation) -> None:
        """Hand over an evaluation, which the labeler keeps."""
        body = evaluation.model_dump_json()
        if len(body) > MOST_JSON_BYTES:  # thousands of classes: the curve matters more than the confusion matrix
            body = evaluation.model_copy(update={"confusion": []}).model_dump_json()
        self._post("/api/evaluations", body)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _get(self, path: str) -> bytes:
        return self._request("GET", path, None)

    def _post(self, path: str, body: str) -> bytes:
        return self._request("POST", path, body)

    def _request(self, method: str, path: str, body: str | None) -> bytes:
        headers = {"content-type": "application/json"} if body is not None else None
        try:
            response = self._http.request(method, path, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise LabelerAway(f"The labeler at {self.url} does not answer ({error or type(error).__name__}).") from None
        if response.status_code in (httpx.codes.INSUFFICIENT_STORAGE, httpx.codes.SERVICE_UNAVAILABLE):
            raise LabelerAway(str(_json_object(response).get("detail", f"HTTP {response.status_code}")))
        if response.status_code >= 500:
            raise LabelerAway(f"The labeler at {self.url} failed with HTTP {response.status_code}.")
        if response.status_code >= 400:
            raise Refused(response.status_code, _json_object(response))
        return response.content


def _json_object(response: httpx.Response) -> dict[str, Any]:
    try:
        body = from_json(response.content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
