"""A real browser and real services. A missing browser is an error here, never a skip."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Generator, Iterator, Sequence

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from tests.browser.card import ARTIFACTS, Card, launch
from tests.browser.labeler import StartLabeler
from tests.services import Services, running_services

# Streamlit looks for its health route below the page's own path first when a page is opened by its address.
STREAMLITS_OWN = re.compile(r"/\w+/_stcore/(health|host-config)$")

OURS = re.compile(r"(https?|wss?)://(127\.0\.0\.1|localhost)[:/]|data:|blob:|about:")

FAILED = pytest.StashKey[bool]()

expect.set_options(timeout=20_000)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "provokes_errors: requests fail on purpose, which the browser logs as errors")


@pytest.fixture(scope="module")  # Playwright keeps an event loop in this thread, which other rooms' tests must not meet
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shared_context(browser: Browser) -> Iterator[BrowserContext]:
    with new_context(browser) as context:
        yield context


@pytest.fixture
def context(shared_context: BrowserContext) -> Iterator[BrowserContext]:
    """A context without pages, cookies or permissions. What Streamlit's page is made of stays in its cache: to fetch
    and compile that anew takes a third of an opening.
    """
    yield shared_context
    for page in shared_context.pages:
        leave(page)
    shared_context.clear_cookies()
    shared_context.clear_permissions()


def leave(page: Page) -> None:
    """Close the page, and have the browser forget what it kept there."""
    with contextlib.suppress(PlaywrightError):  # it shows nothing that could keep something
        page.evaluate("localStorage.clear(); sessionStorage.clear()")
    page.close()


@contextlib.contextmanager
def new_context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    context.set_default_timeout(30_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page that must log no error, except in tests marked `provokes_errors`; a failure leaves a screenshot."""
    with new_page(context, provokes_errors=bool(request.node.get_closest_marker("provokes_errors"))) as page:
        yield page
        if FAILED in request.node.stash:
            with contextlib.suppress(PlaywrightError):  # a busy machine may not paint one in time
                page.screenshot(path=ARTIFACTS / f"{request.node.name}.png")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@contextlib.contextmanager
def new_page(context: BrowserContext, *, provokes_errors: bool = False) -> Iterator[Page]:
    page = context.new_page()
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and not STREAMLITS_OWN.search(message.location["url"]):
            errors.append(f"{message.text} {message.location['url']}")

    page.on("console", note)
    page.on("pageerror", lambda error: errors.append(str(error)))
    foreign: list[str] = []
    page.on("request", lambda request: None if OURS.match(request.url) else foreign.append(request.url))
    yield page
    assert not foreign, "a page loads from elsewhere, so that it does not work offline"
    if not provokes_errors:
        assert not errors


@pytest.fixture(scope="session")
def labeler() -> Iterator[Services]:
    """A labeler without trainer that many tests share, each under its own name."""
    with running_services(images=600, start_trainer=False) as services:
        yield services


@pytest.fixture
def pair() -> Iterator[Services]:
    """Labeler and trainer, with test images from early on."""
    with running_services(images=600, labeler={"test_free_labels": 4, "buffer_size": 5}) as services:
        yield services


@pytest.fixture
def start_labeler() -> Iterator[StartLabeler]:
    """Start a labeler of one's own, over so many images. Ask for it before the page, so that it outlives the page."""

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
