"""A real browser and real services. A missing browser is an error here, never a skip."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.browser.card import Card
from tests.browser.processes import COLOURS, ROOT, Service, running_labeler, running_pair, write_images

StartLabeler = Callable[[Path, Sequence[str]], Service]
ARTIFACTS = ROOT / "test-artifacts"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
# Streamlit looks for its health route below the page's own path first when a page is opened by its address.
STREAMLITS_OWN = re.compile(r"/\w+/_stcore/(health|host-config)$")


expect.set_options(timeout=20_000)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "provokes_errors: requests fail on purpose, which the browser logs as errors")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Debian's browser where there is one, else Playwright's own (`playwright install chromium`).
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    context.set_default_timeout(30_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page that must log no error, but in tests marked `provokes_errors`; its last sight is kept as a screenshot."""
    page = context.new_page()
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and not STREAMLITS_OWN.search(message.location["url"]):
            errors.append(f"{message.text} {message.location['url']}")

    page.on("console", note)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{request.node.name}.png")
    if request.node.get_closest_marker("provokes_errors") is None:
        assert not errors


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("browser") / "images", 600)


@pytest.fixture(scope="session")
def labeler(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Iterator[Service]:
    """A labeler without trainer that many tests share, each under its own name."""
    with running_labeler(tmp_path_factory.mktemp("labeler"), images, list(COLOURS)) as service:
        yield service


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Iterator[tuple[Service, Service]]:
    with running_pair(
        tmp_path_factory.mktemp("pair"), images, list(COLOURS), "--test-free-labels", "4", "--buffer-size", "5"
    ) as services:
        yield services


@pytest.fixture
def start_labeler(tmp_path: Path) -> Iterator[StartLabeler]:
    """Start a labeler of one's own. Ask for it before the page, so that it outlives the page."""
    with contextlib.ExitStack() as running:
        yield lambda images, classes: running.enter_context(running_labeler(tmp_path / "workspace", images, classes))


@pytest.fixture
def annotator(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


@pytest.fixture
def card(page: Page, labeler: Service, annotator: str) -> Card:
    return Card(page, labeler.url, annotator).open()


@pytest.fixture
def open_card(page: Page, annotator: str) -> Callable[[Service], Card]:
    return lambda service: Card(page, service.url, annotator).open()
