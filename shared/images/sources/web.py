"""Files of web servers, over http and https, only from addresses that a person allowed.

A redirect is followed only to an allowed address. So only hosts that the person named are contacted, and a list of
addresses from somebody else cannot reach into this machine's network.
"""

from __future__ import annotations

import netrc
import os
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from typing import Any, TypeVar
from urllib.request import getproxies

import httpcore
import httpx

from shared.images.opening import ImageProblem
from shared.images.sources.addresses import AddressProblem, checked, is_within, shown
from shared.images.sources.source import ImageAway, Stamp, folded
from shared.images.sources.stores import CONNECT_SECONDS, READ_SECONDS, Patience, asked

REDIRECTS = 5
CONNECTIONS = 32
_LATER = frozenset({408, 425, 429})
T = TypeVar("T")


class WebStore:
    """The web servers behind some `prefixes`."""

    def __init__(self, prefixes: Collection[str]) -> None:
        self._prefixes = tuple(prefixes)
        self._patience: defaultdict[str, Patience] = defaultdict(Patience)  # by host; `prefixes` allow only a few
        self._client = httpx.Client(
            timeout=httpx.Timeout(READ_SECONDS / 2, connect=CONNECT_SECONDS),
            headers={"Accept-Encoding": "identity"},  # ranges refer to the file itself, and answers cannot expand
            follow_redirects=False,
            limits=httpx.Limits(max_connections=CONNECTIONS),
            transport=None if getproxies() else _Transport(),  # a proxy has its own limits
        )
        self._auth = _netrc()
        weakref.finalize(self, self._client.close)

    def read(self, address: str, start: int, end: int) -> bytes:
        """See `stores.Store`."""
        return self._asked(address, lambda: self._read(address, start, end))

    def look(self, address: str) -> tuple[int, Stamp]:
        """See `stores.Store`."""
        return self._asked(address, lambda: self._look(address))

    def entries(self, address: str) -> Iterator[tuple[str, int, Stamp]]:
        """Always refused: a web server cannot list its files."""
        raise ImageProblem(
            "is a web address without a list of files: name an archive (.zip, .tar), a .parquet file, or a .csv of "
            "addresses there"
        )

    def keys(self, address: str) -> Iterator[tuple[str, int, Stamp]] | None:
        """None, for the same reason."""
        return None

    def _asked(self, address: str, request: Callable[[], T]) -> T:
        if not self._allows(address):
            raise ImageProblem(f"leads to {_host(address)}, which image_addresses does not allow")
        _until.time = time.monotonic() + READ_SECONDS
        return asked(self._patience[_host(address)], address, request)

    def _allows(self, address: str) -> bool:
        return is_within(address.partition("?")[0], self._prefixes)

    def _read(self, address: str, start: int, end: int) -> bytes:
        deadline = time.monotonic() + READ_SECONDS
        asked_for = {"Range": f"bytes={start}-{end - 1}"}
        with closing(self._answer("GET", address, asked_for, deadline)) as answer:
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return b""
            if start and answer.status_code != httpx.codes.PARTIAL_CONTENT:
                raise ImageProblem("is on a server that sends only whole files: download the archive")
            data = bytearray()
            for piece in answer.iter_raw():
                data += piece
                if len(data) >= end - start:
                    break
                if time.monotonic() > deadline:
                    raise ImageAway(f"cannot be read now, because it takes more than {READ_SECONDS:.0f} seconds")
            return bytes(data[: end - start])

    def _look(self, address: str) -> tuple[int, Stamp]:
        with closing(self._answer("HEAD", address, {}, time.monotonic() + READ_SECONDS)) as answer:
            size = int(answer.headers.get("Content-Length") or 0)
            mark = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
            return size, (size, folded(mark) or 1)

    def _answer(self, method: str, address: str, headers: dict[str, str], deadline: float) -> httpx.Response:
        for _ in range(REDIRECTS + 1):
            if not self._allows(address):
                raise ImageProblem(f"leads to {_host(address)}, which image_addresses does not allow")
            try:
                request = self._client.build_request(method, address, headers=headers)
            except httpx.InvalidURL:
                raise ImageProblem("has an address that cannot be asked for") from None
            answer = self._client.send(request, stream=True, auth=self._auth)
            if answer.has_redirect_location:
                answer.close()
                address = self._next(answer)
            elif answer.status_code in (401, 403):
                answer.close()
                raise PermissionError
            elif answer.status_code in (404, 410):
                answer.close()
                raise FileNotFoundError
            elif answer.status_code in _LATER or answer.status_code >= 500:
                answer.close()
                said = f"answered with {answer.status_code}"
                raise ImageAway(f"cannot be read now, because {_host(address)} {said}")
            elif answer.status_code >= 400 and answer.status_code != httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                answer.close()
                raise ImageProblem(f"cannot be read: {_host(address)} answered with {answer.status_code}")
            else:
                return answer
            if time.monotonic() > deadline:
                break
        raise ImageProblem("is redirected again and again")

    def _next(self, answer: httpx.Response) -> str:
        try:
            target = answer.url.join(answer.headers["Location"])
            plain = checked(str(target.copy_with(query=None, fragment=None)))
        except (httpx.InvalidURL, AddressProblem, KeyError):
            raise ImageProblem("is redirected to something that is not an address") from None
        query = target.query.decode()  # perhaps a signature, used only in this request
        return f"{plain}?{query}" if query else plain


_until = threading.local()
"""`time`: when the request of this thread must have ended."""


class _Transport(httpx.BaseTransport):
    """Connections on which a whole request has a deadline.

    httpx limits each single read, and a server may send one byte of a header at a time.
    """

    def __init__(self) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(), max_connections=CONNECTIONS, network_backend=_Network()
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the answer's content is still to be read."""
        url = request.url
        answer = self._pool.handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Content(answer), extensions=answer.extensions
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class _Content(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


class _Network(httpcore.SyncBackend):
    def connect_tcp(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        return _Timed(super().connect_tcp(*args, **options))


class _Timed(httpcore.NetworkStream):
    """A connection whose reads end with the deadline of the thread."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = _until.time - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return self._stream.read(max_bytes, left if timeout is None else min(left, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        return _Timed(self._stream.start_tls(*args, **options))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _host(address: str) -> str:
    return shown(address).partition("://")[2].partition("/")[0]


def _netrc() -> httpx.Auth | None:
    """Passwords per host from the file that other tools also read. It is read for each host, even after a redirect."""
    try:
        return httpx.NetRCAuth(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return None
