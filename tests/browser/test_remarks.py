"""Remarks beside a label: a note on an image, and the reason why it has no label."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.card import Card
from tests.browser.labeler import rows_of
from tests.services import Services

pytestmark = pytest.mark.browser


def test_a_note_is_saved_with_the_answer_and_shown_again(card: Card, labeler: Services) -> None:
    card.page.keyboard.press("n")
    expect(card.part("note")).to_be_focused()
    card.page.keyboard.type("12 a blurred edge")
    card.page.keyboard.press("Enter")
    card.key("1")
    expect(card.part("note")).to_be_hidden()
    card.key("2")
    card.wait_saved()
    notes = [row["note"] for row in rows_of(labeler, card.annotator)]
    assert notes == ["12 a blurred edge", None]
    card.part("write-note").click()
    card.page.keyboard.type("no")
    card.page.keyboard.press("Escape")
    expect(card.part("note")).to_be_hidden()
    card.key("1")
    card.wait_saved()
    assert rows_of(labeler, card.annotator)[-1]["note"] is None
    card.part("answer").nth(2).click()
    expect(card.part("note")).to_have_value("12 a blurred edge")


def test_a_reason_skips_or_flags_by_key_click_or_in_own_words(card: Card, labeler: Services) -> None:
    image = card.image_id
    card.page.keyboard.press("r")
    expect(card.part("reasons")).to_be_visible()
    card.page.keyboard.press("z")  # not an undo: the keys are the dialog's
    card.key("é@Digit2")  # a French keyboard's
    card.page.keyboard.press("r")
    card.part("reasons").get_by_role("button", name="Damaged").click()
    card.wait_for_image()
    card.page.keyboard.press("r")
    card.part("reasons").get_by_label("Another reason").fill("3 hats")
    card.key("Enter")
    card.wait_saved()
    rows = rows_of(labeler, card.annotator)
    assert [(row["action"], row["reason"]) for row in rows] == [
        ("skip", "Several classes fit"),
        ("flag", "Damaged or unreadable"),
        ("skip", "3 hats"),
    ]
    assert rows[0]["image_id"] == image

    card.page.keyboard.press("r")
    card.page.keyboard.press("Escape")
    expect(card.part("reasons")).to_be_hidden()
    card.page.keyboard.press("?")
    expect(card.part("key-table")).to_be_visible()
    card.page.keyboard.press("1")
    card.page.keyboard.press("Escape")
    card.key("1")
    card.wait_saved()
    assert [row["action"] for row in rows_of(labeler, card.annotator)[3:]] == ["label"]
