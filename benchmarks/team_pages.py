"""The browser pages of `benchmarks.team`, and the one address at which they find whichever labeler is there."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.browser import VIEWPORT, latencies
from shared.web.auth import SESSION_PATH
from tests.browser.card import READY_MS, Card, launch
from tests.services import free_port

KEPT = "document.addEventListener('flywheel:answer', (event) => keepAnswer(event.detail.id))"
PAINTED = "() => Boolean(stage()?.querySelector('img')?.complete)"


class LoadBalancer(threading.Thread):
    """Forwards each connection to the first of these ports that accepts it, as a balancer in front of a team would."""

    def __init__(self, ports: list[int]) -> None:
        super().__init__(name="balancer", daemon=True)
        self._ports, self.port = ports, free_port()
        self._listening = threading.Event()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it listens."""
        super().start()
        self._listening.wait()

    def run(self) -> None:
        """Forward, until the process ends."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        async with await asyncio.start_server(self._forward, "127.0.0.1", self.port) as server:
            self._listening.set()
            await server.serve_forever()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for port in self._ports:
            with suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
                return
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


class Pages(threading.Thread):
    """Real browser pages with the card open. One key after the other goes round them, until `ended` is set."""

    def __init__(self, url: str, token: str, count: int, think_seconds: float, ended: threading.Event) -> None:
        super().__init__(name="pages", daemon=True)
        self._url, self._token, self._count = url, token, count
        self._pause, self._ended = think_seconds / max(1, count), ended
        self.opened = threading.Event()
        self.answers: list[str] = []
        """Ids of the answers that pages counted as given."""
        self.painted: list[float] = []
        """Milliseconds from each key to the paint of the next image."""
        self.error: Exception | None = None

    def run(self) -> None:
        """Open the pages, label, and wait until each page says that all is saved."""
        try:
            with sync_playwright() as playwright:
                browser = launch(playwright)
                self._label([self._open(browser, number) for number in range(self._count)])
                browser.close()
        except Exception as error:
            self.error = error
        finally:
            self.opened.set()

    def _open(self, browser: Browser, number: int) -> Card:
        context = browser.new_context(viewport=VIEWPORT)
        context.set_default_timeout(READY_MS)
        context.expose_function(
            "keepAnswer", lambda answer: self.answers.append(answer)
        )  # Playwright looks at its source
        signed_in = context.request.post(self._url + SESSION_PATH, form={"token": self._token})
        assert signed_in.ok, signed_in.text()
        page = context.new_page()
        page.add_init_script(KEPT)
        return Card(page, self._url, f"page{number}").open()

    def _label(self, cards: list[Card]) -> None:
        self.opened.set()
        for card in itertools.cycle(cards):
            if self._ended.wait(self._pause):
                break
            if card.page.evaluate(PAINTED):
                card.page.keyboard.press("1")
        for card in cards:
            _wait(card.page, card.wait_saved)
            self.painted += latencies(card.recorded)


def _wait(page: Page, saved: Callable[[], None]) -> None:
    """Wait until the page has saved all. Its labeler may have come back only now."""
    end = time.monotonic() + 60
    while True:
        try:
            return saved()
        except AssertionError:
            if time.monotonic() > end:
                raise
            page.wait_for_timeout(500)
