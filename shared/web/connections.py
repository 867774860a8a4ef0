"""Limits on connections of unknown clients: how many, how large a head, how slow.

The parser accepts a head of any size and waits for it forever, so a client without a token could fill the memory. Hence
this subclass of uvicorn's protocol counts bytes until a part is complete, and the server checks all connections once a
second (`look`). Time is counted in these checks, so that no client times out while this process is busy. If there is no
room for another connection, the one that has kept us waiting longest is closed, so that silent connections never keep
out an active one. This module knows nothing about routes, tokens or WebSocket messages.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from ipaddress import ip_address, ip_network
from itertools import count
from typing import Any, ClassVar, Final, Literal

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.settings.services import is_loopback
from shared.web.attempts import network_of

logger = logging.getLogger(__name__)
_errors_alone = logging.getLogger("uvicorn.error.connections")
_errors_alone.setLevel(logging.ERROR)
_turns = count()
_Part = Literal["head", "body", "answer", "refused"]

KEPT_FILES: Final = 256
"""File descriptors left for everything but connections: the store, photos, the other service."""
LINGER: Final = 2
"""Seconds that a refused client has to read the reason."""


class Connection(HttpToolsProtocol):
    """One client. Limits are class attributes; each server has its own subclass (`of_one_server`)."""

    refusals: ClassVar[Counter[str]] = Counter()  # since they were last logged
    silent: ClassVar[dict[int, Connection]] = {}  # those that we wait for, longest wait first
    most: ClassVar[int] = 1_000  # connections, WebSockets included
    most_per_address: ClassVar[int] = 250  # for addresses beyond loopback; one may be a proxy or a whole office
    most_head_bytes: ClassVar[int] = 65_536  # also of trailers; 5,000 ids in an address fit
    most_headers: ClassVar[int] = 100
    most_waiting: ClassVar[int] = 4  # requests sent ahead on one connection
    head_seconds: ClassVar[int] = 15  # to send a head, since its first byte or since connecting
    body_seconds: ClassVar[int] = 20  # after that, a body must have come at …
    body_rate: ClassVar[int] = 1_000  # … this many bytes per second on average
    unread_seconds: ClassVar[int] = 120  # that a client may leave its answer unread

    @classmethod
    def of_one_server(cls, most: int | None = None) -> type[Connection]:
        """Create the connection class of one server, with at most `most` connections."""
        own = {"silent": {}, "refusals": Counter(), "most": cls.most if most is None else most}
        return type(cls.__name__, (cls,), own)

    @classmethod
    def tell(cls) -> None:
        """Log a summary of recent refusals: a line for each would let strangers flood the log."""
        if cls.refusals:
            most_often = cls.refusals.most_common(1)[0][0]
            logger.warning("Refused %d connections, most often: %s", cls.refusals.total(), most_often)
            cls.refusals.clear()

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.logger = _errors_alone
        self._part: _Part = "head"
        self._begun = True  # a new connection must send its head at once; a kept one after its first byte
        self._received = 0  # bytes of the body
        self._pending = 0  # bytes since the parser last completed something
        self._headers = self._header_bytes = 0
        self._looks = 0  # since this part began
        self._turn = next(_turns)
        self._unsent = self._stuck = 0
        self._why: tuple[int, str] | None = None

    # ------------------------------------------------------------ what uvicorn calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Accept or reject a client."""
        others = len(self.connections)
        super().connection_made(transport)
        if self._room_beside(others):
            self._enter("head")
            return
        self.connections.discard(self)
        self._part = "refused"
        sentence = "Too many connections are open: try again in a few seconds."
        self.refusals[sentence] += 1
        transport.write(_answer(503, sentence))
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a client that left."""
        self.silent.pop(self._turn, None)
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection to a WebSocket, which has its own way to notice a dead client."""
        self.silent.pop(self._turn, None)
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """Count the bytes, then parse them."""
        if self._part == "refused":
            return
        if self._part == "head" and not self._begun:
            self._enter("head", begun=True)
        if self._part == "body":
            self._received += len(data)
        self._pending += len(data)
        super().data_received(data)
        if self._pending > self.most_head_bytes:
            self._refuse(431, f"The request's head is larger than {self.most_head_bytes:,} bytes.")

    def on_message_begin(self) -> None:
        """A request head begins."""
        super().on_message_begin()
        self._headers = self._header_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header or a trailer is complete."""
        self._headers += 1
        self._header_bytes += len(name) + len(value)
        if self._headers > self.most_headers:
            self._stop(431, f"The request has more than {self.most_headers} headers.")
        if self._header_bytes + len(self.url) > self.most_head_bytes:
            self._stop(431, f"The request's head is larger than {self.most_head_bytes:,} bytes.")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A head is complete."""
        if len(self.url) > self.most_head_bytes:
            self._stop(431, f"The request's head is larger than {self.most_head_bytes:,} bytes.")
        if len(self.pipeline) >= self.most_waiting:
            self._stop(429, f"More than {self.most_waiting} requests wait on one connection.")
        self._enter("body")
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """A chunk of a body begins; httptools calls this method if it exists."""
        self._pending = 0

    def on_body(self, body: bytes) -> None:
        """A piece of a body arrived."""
        self._pending = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is complete."""
        self._enter("answer")
        super().on_message_complete()
        if self.cycle is not None and self.cycle.response_complete:  # answered before the body was read
            self._enter("head", begun=False)

    def on_response_complete(self) -> None:
        """An answer is complete."""
        super().on_response_complete()
        if self._part == "answer" and self.cycle.response_complete:  # the answer to the latest request
            self._enter("head", begun=False)

    def send_400_response(self, msg: str) -> None:
        """Answer a request that the parser rejected or that we stopped."""
        status, sentence = self._why or (400, "This is not an HTTP request.")
        self._refuse(status, sentence)

    # ------------------------------------------------------------ called by the server

    def look(self) -> None:
        """Close the connection if it takes too long; called once a second."""
        self._looks += 1
        if self._part == "refused":
            if self._looks >= LINGER:
                self.transport.abort()
            return
        unsent = self.transport.get_write_buffer_size()
        self._stuck = self._stuck + 1 if unsent and unsent == self._unsent else 0
        self._unsent = unsent
        if self._part == "answer":
            if self._stuck:
                self.silent.setdefault(self._turn, self)
            else:
                self.silent.pop(self._turn, None)
        if self._stuck >= self.unread_seconds:
            self.transport.abort()
        elif self._part == "head" and self._begun and self._looks >= self.head_seconds:
            self._refuse(408, f"The request's head did not come within {self.head_seconds} seconds.")
        elif self._part == "body" and self.flow.read_paused:
            self._looks -= 1  # we are the slow side
        elif self._part == "body" and self._looks >= self.body_seconds and self._is_slow:
            self._refuse(408, f"The request's body came slower than {self.body_rate:,} bytes a second.")

    # ------------------------------------------------------------ inside

    @property
    def _is_slow(self) -> bool:
        return self._received < self._looks * self.body_rate

    def _enter(self, part: _Part, *, begun: bool = True) -> None:
        self._part, self._begun = part, begun
        self._looks = self._received = self._pending = 0
        self.silent.pop(self._turn, None)
        self._turn = next(_turns)
        if part in ("head", "body"):
            self.silent[self._turn] = self

    def _room_beside(self, others: int) -> bool:
        """Whether this connection may stay, closing another one if necessary."""
        mine = _network(self.client)
        is_one = not (is_loopback(mine) or _is_proxy(mine, str(self.config.forwarded_allow_ips)))
        if others >= self.most_per_address and is_one:
            count = sum(_network(getattr(each, "client", None)) == mine for each in self.connections)
            if count > self.most_per_address and not self._make_room(mine):
                return False
        return others < self.most or self._make_room()

    def _make_room(self, address: str | None = None) -> bool:
        """Close the connection (of `address`, if given) that has kept us waiting longest; False if there is none."""
        for longest in self.silent.values():
            if longest.flow.read_paused or address not in (None, _network(longest.client)):
                continue  # we are the slow side, or it has another address
            longest._part = "refused"
            self.silent.pop(longest._turn)
            self.connections.discard(longest)
            longest.transport.abort()
            return True
        return False

    def _stop(self, status: int, sentence: str) -> None:
        """Stop the parser by raising an error; uvicorn then calls `send_400_response`."""
        self._why = (status, sentence)
        raise ValueError(sentence)

    def _refuse(self, status: int, sentence: str) -> None:
        """Send the reason, then read on for a moment: a client that is still sending would not read it otherwise."""
        self.refusals[sentence] += 1
        under_way = self.cycle is not None and not self.cycle.response_complete
        answered = self.cycle is not None and self.cycle.response_started and (under_way or self._part == "body")
        self._enter("refused")
        self.pipeline.clear()
        self._unset_keepalive_if_required()
        if under_way:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.flow.resume_writing()
        if self.transport.is_closing():
            return
        if answered:  # the client would take a second answer for part of the first
            self.transport.abort()
            return
        self.flow.resume_reading()
        self.transport.write(_answer(status, sentence))
        if self.transport.can_write_eof():
            self.transport.write_eof()


@lru_cache(maxsize=4_096)
def _network(client: tuple[str, int] | None) -> str:
    return network_of(client)


@lru_cache(maxsize=4_096)
def _is_proxy(address: str, trusted: str) -> bool:
    """Whether uvicorn trusts this address as a proxy, so that many clients share it."""
    with suppress(ValueError):
        return any(
            each.strip() == "*" or ip_address(address) in ip_network(each.strip(), strict=False)
            for each in trusted.split(",")
        )
    return False


def allow_open_files() -> int:
    """Raise the limit of open files as far as allowed; return how many connections fit."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return Connection.most
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = Connection.most + KEPT_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return Connection.most if soft == resource.RLIM_INFINITY else max(16, min(Connection.most, soft - KEPT_FILES))


def look_at(connections: set[Any]) -> None:
    """Call `look` on each connection of a server."""
    for each in list(connections):
        if isinstance(each, Connection):
            each.look()


def _answer(status: int, sentence: str) -> bytes:
    body = json.dumps({"detail": sentence}).encode()
    phrase = HTTPStatus(status).phrase
    retry = "Retry-After: 5\r\n" if status in (429, 503) else ""
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"{retry}Connection: close\r\n\r\n"
    )
    return head.encode() + body
