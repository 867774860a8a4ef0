"""Several people in real browsers: names, pace, and settling what they disagree on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.card import Card, keep_picture, press
from tests.browser.labeler import class_ids, rows_of, take_all_back
from tests.browser.test_pages import SCHEMES, contrast
from tests.browser.test_phone import PHONE
from tests.services import Services, running_services

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def disputed() -> Iterator[Services]:
    """A labeler where two people answered six images and disagree on four of them."""
    with running_services(images=8, labeler={"overlap": 2, "test_set_frac": 0}, start_trainer=False) as services:
        for number in range(1, 7):
            said = ("red", "red" if number > 4 else "green")
            services.annotate(
                [services.answer(number, label, who) for label, who in zip(said, ("ann", "bob"), strict=True)]
            ).raise_for_status()
        yield services


def label_of(services: Services, image_id: int) -> dict[str, int]:
    rows = services.get("/api/annotations?limit=5000")["annotations"]
    return {row["annotator"]: row["label"] for row in rows if row["image_id"] == image_id and row["action"] == "settle"}


def test_two_people_see_their_own_pace_and_the_shared_one(disputed: Services, page: Page) -> None:
    card = Card(page, disputed.labeler.url, "ann").open()
    card.key("1")
    card.wait_saved()
    expect(page.get_by_test_id("pace").first).to_contain_text("all 2 people")
    card.part("annotator").fill("eve")
    card.part("annotator").press("Enter")
    page.get_by_role("link", name="Disagreements").click()
    expect(page.get_by_test_id("name")).to_have_value("eve")  # the card and the bar share one name
    expect(page.get_by_test_id("pace")).to_contain_text("you 0")


def test_a_half_typed_name_survives_a_redraw(disputed: Services, page: Page) -> None:
    page.goto(f"{disputed.labeler.url}/disagreements")
    expect(page.get_by_text("4 to settle")).to_be_visible()
    name = page.get_by_test_id("name")
    name.fill("eva")
    name.press("Enter")  # draws the page anew
    name.fill("evangeline")
    page.wait_for_timeout(500)
    name.press("Enter")
    page.wait_for_function("localStorage.getItem('flywheel/annotator') === 'evangeline'")


def test_a_key_settles_and_undo_takes_it_back(disputed: Services, page: Page) -> None:
    page.goto(f"{disputed.labeler.url}/disagreements")
    name = page.get_by_test_id("name")
    name.fill("123s")  # typing a name settles nothing
    name.press("Enter")
    expect(page.get_by_text("4 to settle")).to_be_visible()
    shown = page.get_by_role("img", name="Image 1, to be settled")
    expect(shown).to_be_visible()
    page.wait_for_function("document.querySelector('img[alt^=Image]').naturalWidth > 0")
    expect(page.get_by_role("button", name="green")).to_be_visible()  # a busy machine draws it later than the image
    name.blur()
    page.wait_for_function("localStorage.getItem('flywheel/annotator') === '123s'")
    press(page, "Shift+2@Digit2")  # a French keyboard's; the name draws the page anew, which must not swallow a key
    expect(page.get_by_text("3 to settle")).to_be_visible()
    assert label_of(disputed, 1) == {"123s": class_ids(disputed)["green"]}
    keep_picture(page, "disagreements.png")
    page.get_by_text("Settled", exact=True).click()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("4 to settle")).to_be_visible()
    assert [row["action"] for row in rows_of(disputed, "123s")] == ["settle", "undo"]
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible()
    press(page, "σ@KeyS")  # a Greek one's: later
    expect(page.get_by_role("img", name="Image 2, to be settled")).to_be_visible()


def test_quick_keys_settle_each_image_once(disputed: Services, page: Page) -> None:
    page.goto(f"{disputed.labeler.url}/disagreements")
    expect(page.get_by_text("4 to settle")).to_be_visible()
    expect(page.get_by_role("button", name="red")).to_be_visible()
    try:
        for _ in range(12):
            page.keyboard.press("1")
            page.wait_for_timeout(40)
        expect(page.get_by_text("4 to settle")).to_be_hidden()
        page.wait_for_timeout(500)
        settled = [row["image_id"] for row in rows_of(disputed, "me") if row["action"] == "settle"]
        assert len(settled) == len(set(settled)) > 0
    finally:
        take_all_back(disputed, "me")


def test_the_page_on_a_phone_has_contrast(disputed: Services, page: Page) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"{disputed.labeler.url}/disagreements")
    expect(page.get_by_text("4 to settle")).to_be_visible()
    expect(page.get_by_text("Annotator agreement")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        expect(page.locator(".stApp")).to_have_css("color-scheme", scheme)
        for part in ("button:has-text('red') p", "button:has-text('Later') p", "table td", "h3"):
            assert contrast(page.get_by_test_id("stMain").locator(part).first) >= 4.5, (scheme, part)
        for name in ("pace", "name", "lag"):
            assert contrast(page.get_by_test_id(name)) >= 4.5, (scheme, name)
        keep_picture(page, f"disagreements-{scheme}-phone.png", full_page=True)
