"""The page Models while a challenger is trained and takes over."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.card import ARTIFACTS
from tests.services import Services, running_services

pytestmark = pytest.mark.browser

TRAINED = {"model_fn": "tests.trainer.blind:network", "backbone": "auto", "input_size": 16, "challenger": "on"}


@pytest.fixture
def services() -> Iterator[Services]:
    with running_services(images=150, trainer=TRAINED) as services:
        yield services


def test_the_page_says_what_the_challenger_does_and_how_it_went(services: Services, page: Page) -> None:
    page.goto(f"{services.labeler.url}/models")
    expect(page.get_by_text("The next round begins at 60 labels")).to_be_visible(timeout=60_000)
    names = list(services.names().items())[:120]  # with none left to ask, the trainer would stop
    services.annotate([services.answer(image, services.truth[name]) for image, name in names])
    expect(page.get_by_text(re.compile("Round 1[:,]")).first).to_be_visible(timeout=90_000)
    page.screenshot(path=ARTIFACTS / "challenger-training.png")
    expect(page.get_by_text("It was better beyond noise and took over")).to_be_visible(timeout=120_000)
    expect(page.get_by_text("Questions come from the embeddings of")).to_be_visible()
    page.reload()
    for width, scheme in ((390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")):
        page.set_viewport_size({"width": width, "height": 844 if width == 390 else 800})
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.get_by_text("The challenger", exact=True).scroll_into_view_if_needed()
        page.wait_for_timeout(1_000)
        page.screenshot(path=ARTIFACTS / f"challenger-{width}-{scheme}.png")
