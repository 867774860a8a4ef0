"""What each page says and advises while there are no images or no trainer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.pages import TITLES, follow
from tests.services import Services, running_services, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.provokes_errors]  # what only a trainer can say is refused with 503


@pytest.fixture(scope="module")
def empty() -> Iterator[Services]:
    with running_services(images=0, start_trainer=False) as services:
        yield services


def test_without_images_each_page_says_where_to_put_them(empty: Services, page: Page) -> None:
    page.goto(empty.labeler.url)
    for address in ("", "grid", "map", "review", "progress", "finish"):
        if address:
            follow(page, address)
        expect(page.get_by_text("No images yet"), address).to_be_visible()
        expect(page.get_by_text("Flywheel adds them automatically"), address).to_be_visible()


def test_without_a_trainer_each_page_that_needs_it_says_how_to_start_it(labeler: Services, page: Page) -> None:
    page.goto(f"{labeler.labeler.url}/map")
    main = page.get_by_test_id("stMainBlockContainer")
    for address in ("map", "review", "models", "progress", "finish", "settings"):
        if address != "map":
            follow(page, address)
        start = main.get_by_text("start it with: flywheel trainer", exact=False).nth(1)  # the bar says it too
        expect(start, address).to_be_visible()


@pytest.fixture(scope="module")
def slow() -> Iterator[Services]:
    """A trainer that takes a minute to look at the images, one at a time."""
    trainer = {"model_fn": "tests.browser.trouble:slow", "batch_size": 1, "input_size": 8}
    with running_services(images=90, trainer=trainer) as services:
        wait_for(lambda: services.status()["embedding"]["done"] > 0, "the first images")
        yield services


def test_while_the_trainer_processes_the_images_each_page_says_how_far_it_is(slow: Services, page: Page) -> None:
    page.goto(slow.labeler.url)
    for address in TITLES:
        if address:
            follow(page, address)
        work = page.get_by_test_id("embedding")
        expect(work, address).to_contain_text("processing images")
        expect(work.get_by_role("progressbar"), address).to_be_visible()
        if address in ("progress", "finish"):
            expect(page.get_by_text("You can continue labeling"), address).to_be_visible()
        elif address == "":
            expect(page.get_by_role("img", name="to be labeled")).to_be_visible()  # nobody waits for it
        elif address == "review":
            expect(page.get_by_text("No labels yet")).to_be_visible()
        embedding = slow.status()["embedding"]
        assert 0 < embedding["done"] < embedding["total"]


@pytest.fixture(scope="module")
def failed() -> Iterator[Services]:
    trainer = {"query_strategy": "tests.browser.trouble:failing"}
    with running_services(images=30, trainer=trainer) as services:
        services.label(4)
        wait_for(lambda: services.status()["state"] == "failed", "the failure")
        yield services


def test_when_the_trainer_fails_each_page_says_why_and_what_to_do(failed: Services, page: Page) -> None:
    page.goto(failed.labeler.url)
    for address in TITLES:
        if address:
            follow(page, address)
        bar = page.get_by_test_id("bar")
        expect(bar.get_by_text("Failed", exact=True), address).to_be_visible()
        expect(bar.get_by_text("cannot order"), address).to_be_visible()
        expect(bar.get_by_text("press Resume to try again"), address).to_be_visible()
        expect(bar.get_by_role("button", name="Resume"), address).to_be_visible()
        if address in ("progress", "finish"):
            expect(page.get_by_text("The trainer failed"), address).to_be_visible()
