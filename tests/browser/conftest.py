"""A real browser and real services. A missing browser is an error here, never a skip."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urljoin

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    ViewportSize,
    expect,
    sync_playwright,
)
from playwright.sync_api import Error as PlaywrightError

from tests.browser.card import ARTIFACTS, Card, launch
from tests.browser.labeler import StartLabeler
from tests.services import Services, running_services

# Streamlit looks for its health route below the page's own path first when a page is opened by its address.
STREAMLITS_OWN = re.compile(r"/\w+/_stcore/(health|host-config)$")

OURS = re.compile(r"(https?|wss?)://(127\.0\.0\.1|localhost)[:/]|data:|blob:|about:")

LAPTOP = ViewportSize(width=1280, height=800)
SCHEME = "matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'"

OFTEN_TESTED = {"test_set_frac": 0.3, "test_free_labels": 4, "buffer_size": 5}
FAILED = pytest.StashKey[bool]()

expect.set_options(timeout=20_000)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "provokes_errors: requests fail on purpose, which the browser logs as errors")


class Launched(NamedTuple):
    browser: Browser
    context: BrowserContext
    loop: asyncio.AbstractEventLoop


@pytest.fixture(scope="session")
def launched() -> Iterator[Launched]:
    """One browser for all modules, because a launch takes two seconds. Playwright marks its event loop as the running
    one of this thread. Tests of other rooms have loops of their own, so the mark is removed for them.
    """
    with sync_playwright() as playwright:
        browser = launch(playwright)
        launched = Launched(browser, new_context(browser), asyncio.get_running_loop())
        asyncio._set_running_loop(None)
        yield launched
        asyncio._set_running_loop(launched.loop)
        browser.close()


@pytest.fixture(scope="module")
def browser(launched: Launched) -> Iterator[Browser]:
    asyncio._set_running_loop(launched.loop)
    yield launched.browser
    asyncio._set_running_loop(None)


def new_context(browser: Browser) -> BrowserContext:
    """A context for a person who asked for less motion. Our own pages look the same to everybody. Streamlit
    then shows no animation while a page loads, which saves a tenth of a page's CPU time.
    """
    context = browser.new_context(viewport=LAPTOP, color_scheme="light", reduced_motion="reduce")
    context.set_default_timeout(30_000)
    return context


@pytest.fixture(scope="module")
def shared_context(launched: Launched) -> BrowserContext:
    return launched.context


@pytest.fixture
def context(
    shared_context: BrowserContext, browser: Browser, request: pytest.FixtureRequest
) -> Iterator[BrowserContext]:
    """A browser context without cookies and permissions, and with at most one empty page. The files of Streamlit's page
    stay in its cache.
    """
    yield shared_context
    first, *others = shared_context.pages or [shared_context.new_page()]
    for page in others:
        page.close()
    leave(first)
    if FAILED in request.node.stash:
        first.close()
    shared_context.clear_cookies()
    shared_context.clear_permissions()


def leave(page: Page) -> None:
    """Empty the page, and clear the browser's storage for its origin.

    An answer that is still on its way would be kept again, so an empty page of the same origin clears the storage.
    """
    page.unroute_all(behavior="ignoreErrors")
    if page.url.startswith("http"):
        empty = urljoin(page.url, "/an-empty-page")
        page.route(empty, lambda route: route.fulfill(content_type="text/html", body="<title>Empty</title>"))
        page.goto(empty)
        page.evaluate("localStorage.clear(); sessionStorage.clear()")
        page.unroute_all(behavior="ignoreErrors")
    page.mouse.move(0, 0)


@pytest.fixture
def page(context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page that must log no error, except in tests marked `provokes_errors`. A failed test leaves a screenshot.

    All tests share one page, which is emptied in between: to compile Streamlit's scripts in a new page costs as much as
    to run them.
    """
    page = context.pages[0] if context.pages else context.new_page()
    size, scheme = page.viewport_size, page.evaluate(SCHEME)
    assert size is not None
    with watched(page, provokes_errors=bool(request.node.get_closest_marker("provokes_errors"))):
        yield page
        if FAILED in request.node.stash:
            with contextlib.suppress(PlaywrightError):  # a busy machine may not paint one in time
                page.screenshot(path=ARTIFACTS / f"{request.node.name}.png")
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@contextlib.contextmanager
def watched(page: Page, *, provokes_errors: bool = False) -> Iterator[None]:
    """Fail if the page loads anything from another machine, or logs an error although it does not `provokes_errors`."""
    errors: list[str] = []
    foreign: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and not STREAMLITS_OWN.search(message.location["url"]):
            errors.append(f"{message.text} {message.location['url']}")

    def note_error(error: PlaywrightError) -> None:
        errors.append(str(error))

    def look(request: Request) -> None:
        if not OURS.match(request.url):
            foreign.append(request.url)

    page.on("console", note)
    page.on("pageerror", note_error)
    page.on("request", look)
    yield
    page.remove_listener("console", note)
    page.remove_listener("pageerror", note_error)
    page.remove_listener("request", look)
    assert not foreign, "a page loads from elsewhere, so that it does not work offline"
    if not provokes_errors:
        assert not errors


@pytest.fixture(scope="session")
def labeler() -> Iterator[Services]:
    """A labeler without a trainer, shared by many tests; each uses its own annotator name."""
    with running_services(images=600, start_trainer=False) as services:
        yield services


@pytest.fixture(scope="module")
def pair() -> Iterator[Services]:
    """A labeler and a trainer for the tests of one module. Test images come early."""
    with running_services(images=600, labeler=OFTEN_TESTED) as services:
        yield services


@pytest.fixture
def start_labeler() -> Iterator[StartLabeler]:
    """Start a labeler for this test alone, with this many images.

    Request it before the page, so that it outlives the page.
    """

    def start(images: int, classes: Sequence[str]) -> Services:
        labeler = {"classes": ",".join(classes)}
        return running.enter_context(running_services(images=images, labeler=labeler, start_trainer=False))

    with contextlib.ExitStack() as running:
        yield start


@pytest.fixture
def annotator(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


@pytest.fixture
def card(page: Page, labeler: Services, annotator: str) -> Card:
    return Card(page, labeler.labeler.url, annotator).open()


@pytest.fixture
def open_card(page: Page, annotator: str) -> Callable[[Services], Card]:
    return lambda services: Card(page, services.labeler.url, annotator).open()
