"""Requests to a service of ours: what comes back is bounded, and one that is told to come again does.

Every program of ours that asks a service does it through this client, so that an answer without end fills nobody's
memory, whoever it is that answers at the address.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import httpx

MOST_ANSWER_BYTES: Final = 268_435_456
"""Of an answer that is held as a whole: what a model says of 5,000,000 images takes half of it."""
_COME_AGAIN = frozenset({httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE})


class Peer(httpx.Client):
    """An `httpx.Client`; `patience` are the seconds that it may wait altogether when it is told to come again.

    An answer that is streamed is for its reader to bound.
    """

    def __init__(self, *, patience: float = 0.0, most_bytes: int = MOST_ANSWER_BYTES, **options: Any) -> None:
        super().__init__(**{"verify": _certificates(options.get("trust_env", True)), **options})
        self.headers["Accept-Encoding"] = "identity"  # a small answer must not unfold into a large one
        self._patience = patience
        self._most_bytes = most_bytes

    def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """As httpx does, but again after a Retry-After, and at most `most_bytes` of the answer."""
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
    """The authorities to trust. Reading them takes 30 ms, so all clients of a process share them."""
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
        raise httpx.RemoteProtocolError("the answer is compressed, which nobody asked for", request=answer.request)


def _wait(answer: httpx.Response) -> float | None:
    """Seconds after which to come again, or None when the answer does not say so."""
    told = answer.headers.get("retry-after", "")
    return float(told) if answer.status_code in _COME_AGAIN and told.isascii() and told.isdecimal() else None
