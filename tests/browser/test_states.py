"""What each page says while there is nothing to show: no images yet, or no trainer, with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.services import Services, running_services

pytestmark = [pytest.mark.browser, pytest.mark.provokes_errors]  # what only a trainer can say is refused with 503


@pytest.fixture(scope="module")
def empty() -> Iterator[Services]:
    with running_services(images=0, start_trainer=False) as services:
        yield services


@pytest.mark.parametrize("address", ["", "grid", "map", "review", "progress", "finish"])
def test_without_images_each_page_says_where_to_put_them(empty: Services, page: Page, address: str) -> None:
    page.goto(f"{empty.labeler.url}/{address}")
    expect(page.get_by_text("No images yet")).to_be_visible()
    expect(page.get_by_text("Put images into the folder that the labeler was started with")).to_be_visible()
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
