"""Delays for wrong tokens: each client address waits for its own wrong tokens, never for those of others.

The delay doubles with each wrong token of an address. Only a few answers per address are delayed at the same time.
Further attempts are refused unread, so that guessing in parallel is no faster. The number of remembered addresses and
of delayed answers is bounded. This module knows nothing about HTTP.
"""

from __future__ import annotations

import time
from asyncio import sleep
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from typing import Final

MAX_DELAY: Final = 2.0
MOST_ADDRESSES: Final = 10_000
MOST_WAITING: Final = 8
"""Delayed answers of one address at the same time."""
MOST_WAITING_IN_ALL: Final = 200
FORGET_SECONDS: Final = 900.0


class TooManyAttempts(Exception):  # noqa: N818 - a state of a client, named as one
    """Too many answers to wrong tokens of this address are still delayed; this token was not checked."""


class Attempts:
    """Counts the wrong tokens of each address; `now` is a clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._waiting: Counter[str] = Counter()

    async def check(self, client: tuple[str, int] | None, is_right: Callable[[], bool]) -> bool:
        """Whether the token of `client` is right; a wrong one is answered after a delay. Raises TooManyAttempts."""
        address = network_of(client)
        if self._waiting[address] >= MOST_WAITING:
            raise TooManyAttempts
        if is_right():
            self._wrong.pop(address, None)
            return True
        if self._waiting.total() >= MOST_WAITING_IN_ALL:
            raise TooManyAttempts
        async with self._wait(address):
            await sleep(delay_after(self._note(address)))
        return False

    def _note(self, address: str) -> int:
        """Count a wrong token; return how many came in a row."""
        count, at = self._wrong.pop(address, (0, 0.0))
        if self._now() - at > FORGET_SECONDS:
            count = 0
        self._wrong[address] = (count + 1, self._now())
        if len(self._wrong) > MOST_ADDRESSES:
            self._wrong.popitem(last=False)
        return count + 1

    @asynccontextmanager
    async def _wait(self, address: str) -> AsyncIterator[None]:
        self._waiting[address] += 1
        try:
            yield
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]


def delay_after(failures: int) -> float:
    """Delay in seconds after the n-th wrong token in a row: it doubles from 0.1 up to MAX_DELAY."""
    return float(min(MAX_DELAY, 0.1 * 2 ** min(failures - 1, 10)))


def network_of(client: tuple[str, int] | None) -> str:
    """What counts as one address: for IPv6 the /64 network, because one client usually owns all of it."""
    host = client[0] if client else ""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(address) if address.is_loopback else str(ip_network((address, 64), strict=False).network_address)
