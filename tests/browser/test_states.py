"""What each page says while there is nothing to show: no images yet, or no trainer, with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.services import Services, running_services, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.provokes_errors]  # what only a trainer can say is refused with 503


PAGES = ["", "grid", "map", "review", "progress", "models", "disagreements", "data", "finish", "settings"]


@pytest.fixture(scope="module")
def empty() -> Iterator[Services]:
    with running_services(images=0, start_trainer=False) as services:
        yield services


@pytest.mark.parametrize("address", ["", "grid", "map", "review", "progress", "finish"])
def test_without_images_each_page_says_where_to_put_them(empty: Services, page: Page, address: str) -> None:
    page.goto(f"{empty.labeler.url}/{address}")
    expect(page.get_by_text("No images yet")).to_be_visible()
    expect(page.get_by_text("they join by themselves")).to_be_visible()
    page.goto("about:blank")


@pytest.mark.parametrize("address", ["map", "review", "models", "progress", "finish", "settings"])
def test_without_a_trainer_each_page_that_needs_it_says_how_to_start_it(
    labeler: Services, page: Page, address: str
) -> None:
    page.goto(f"{labeler.labeler.url}/{address}")
    main = page.get_by_test_id("stMainBlockContainer")
    expect(
        main.get_by_text("start it with: flywheel trainer", exact=False).nth(1)
    ).to_be_visible()  # the bar says it too
    page.goto("about:blank")


@pytest.fixture(scope="module")
def slow() -> Iterator[Services]:
    """A trainer that takes a minute to look at the images, one at a time."""
    trainer = {"model_fn": "tests.browser.trouble:slow", "batch_size": 1, "input_size": 8}
    with running_services(images=90, trainer=trainer) as services:
        wait_for(lambda: services.status()["embedding"]["done"] > 0, "the first images")
        yield services


@pytest.mark.parametrize("address", PAGES)
def test_while_the_trainer_looks_at_the_images_each_page_says_how_far_it_is(
    slow: Services, page: Page, address: str
) -> None:
    page.goto(f"{slow.labeler.url}/{address}")
    work = page.get_by_test_id("embedding")
    expect(work).to_contain_text("looking at images")
    expect(work.get_by_role("progressbar")).to_be_visible()
    if address in ("progress", "finish"):
        expect(page.get_by_text("Labeling goes on meanwhile")).to_be_visible()
    elif address == "":
        expect(page.get_by_role("img", name="to be labeled")).to_be_visible()  # nobody waits for it
    elif address == "review":
        expect(page.get_by_text("No labels yet")).to_be_visible()
    page.goto("about:blank")
    embedding = slow.status()["embedding"]
    assert 0 < embedding["done"] < embedding["total"]


@pytest.fixture(scope="module")
def failed() -> Iterator[Services]:
    trainer = {"query_strategy": "tests.browser.trouble:failing"}
    with running_services(images=30, trainer=trainer) as services:
        services.label(4)
        wait_for(lambda: services.status()["state"] == "failed", "the failure")
        yield services


@pytest.mark.parametrize("address", PAGES)
def test_when_the_trainer_fails_each_page_says_why_and_what_to_do(failed: Services, page: Page, address: str) -> None:
    page.goto(f"{failed.labeler.url}/{address}")
    bar = page.get_by_test_id("bar")
    expect(bar.get_by_text("Failed", exact=True)).to_be_visible()
    expect(bar.get_by_text("cannot order")).to_be_visible()
    expect(bar.get_by_text("press Resume to try again")).to_be_visible()
    expect(bar.get_by_role("button", name="Resume")).to_be_visible()
    if address in ("progress", "finish"):
        expect(page.get_by_text("The trainer failed")).to_be_visible()
    page.goto("about:blank")
