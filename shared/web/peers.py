"""HTTP client for requests to a Flywheel service: it bounds answers, and obeys a "try again later".

Every program of this project calls services through this client, so that no endless answer can fill the memory.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import httpx

MOST_ANSWER_BYTES: Final = 268_435_456
"""Limit for an answer that is held in memory: predictions for 5,000,000 images take half of it."""
_COME_AGAIN = frozenset({httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE})


class Peer(httpx.Client):
    """An `httpx.Client`. `patience`: total seconds that it may spend waiting when the server sends Retry-After.

    Streamed answers are not bounded; their reader must do that.
    """

    def __init__(self, *, patience: float = 0.0, most_bytes: int = MOST_ANSWER_BYTES, **options: Any) -> None:
        super().__init__(**{"verify": _certificates(options.get("trust_env", True)), **options})
        self.headers["Accept-Encoding"] = "identity"  # a small compressed answer must not expand into a large one
        self._patience = patience
        self._most_bytes = most_bytes

    def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """Like httpx, but retries after Retry-After, and reads at most `most_bytes` of the answer. Raises
        RemoteProtocolError for a longer or compressed answer."""
        deadline = time.monotonic() + self._patience
        answer = super().send(request, stream=True, **options)
        while (wait := _wait(answer)) is not None and time.monotonic() + wait < deadline:
            answer.close()
            time.sleep(wait)
            answer = super().send(request, stream=True, **options)
        if stream:
            return answer
        try:
            answer.stream = _Bounded(answer.stream, self._most_bytes, request)
            _check_plain(answer)
            answer.read()
        except BaseException:
            answer.close()
            raise
        return answer


@cache
def _certificates(trust_env: bool) -> ssl.SSLContext:
    """The trusted certificate authorities. Reading them takes 30 ms, so all clients of a process share them."""
    return httpx.create_ssl_context(trust_env=trust_env)


class _Bounded(httpx.SyncByteStream):
    def __init__(self, stream: Any, most_bytes: int, request: httpx.Request) -> None:
        self._stream = stream
        self._most_bytes = most_bytes
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        read = 0
        for piece in self._stream:
            read += len(piece)
            if read > self._most_bytes:
                message = f"the answer is larger than {self._most_bytes:,} bytes"
                raise httpx.RemoteProtocolError(message, request=self._request)
            yield piece

    def close(self) -> None:
        self._stream.close()


def _check_plain(answer: httpx.Response) -> None:
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise httpx.RemoteProtocolError("the answer is compressed despite the request", request=answer.request)


def _wait(answer: httpx.Response) -> float | None:
    """Seconds to wait before a retry, or None if the answer asks for none."""
    told = answer.headers.get("retry-after", "")
    return float(told) if answer.status_code in _COME_AGAIN and told.isascii() and told.isdecimal() else None


def reason(error: Exception) -> str:
    """Why nothing answers, in our words if the library only gives an error number."""
    said = str(error)
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return "no connection in time"
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return "not an address like http://127.0.0.1:3334"
    if "refused" in said:
        return "connection refused"
    if any(words in said for words in ("not known", "No address", "name resolution", "getaddrinfo")):
        return "there is no machine with this name"
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError):
        return "the connection was closed"
    return said or type(error).__name__
