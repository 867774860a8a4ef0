"""The strip of the last answers: going back to one, correcting it, and returning to the queue."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.card import Card
from tests.browser.labeler import class_ids, rows_of
from tests.services import Services

pytestmark = pytest.mark.browser


def test_a_click_brings_an_answer_back_and_the_next_one_replaces_it(card: Card, labeler: Services) -> None:
    first, second = card.key("1"), card.key("s")
    waiting = card.image_id
    expect(card.part("answer")).to_have_text(["skipped", "red"])
    card.part("answer").nth(1).click()
    expect(card.part("stage")).to_have_attribute("data-image-id", str(first))
    expect(card.part("suggestion")).to_contain_text("You answered red")
    expect(card.part("answer").nth(1)).to_have_attribute("aria-current", "true")
    assert card.key("3") == first
    assert card.image_id == waiting
    expect(card.part("answer")).to_have_text(["skipped", "blue"])
    expect(card.part("suggestion")).not_to_contain_text("You answered")
    card.wait_saved()
    ids = class_ids(labeler)
    rows = [(row["image_id"], row["action"], row["label"]) for row in rows_of(labeler, card.annotator)]
    assert rows == [(first, "label", ids["red"]), (second, "skip", None), (first, "label", ids["blue"])]
    card.page.reload()
    card.wait_for_image()
    expect(card.part("answer")).to_have_text(["skipped", "blue"])
    card.part("answer").last.click()
    expect(card.part("stage")).to_have_attribute("data-image-id", str(first))


def test_arrows_walk_through_the_answers_and_back_to_the_queue(card: Card, labeler: Services) -> None:
    answered = [card.key(key) for key in "123"]
    waiting = card.image_id
    seen = []
    for key in ("ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowRight", "ArrowRight", "ArrowRight"):
        before = card.image_id
        card.page.keyboard.press(key)
        if len(seen) != 3:  # there is none before the first
            expect(card.part("stage")).not_to_have_attribute("data-image-id", str(before))
        card.wait_for_image()
        seen.append(card.image_id)
    assert seen == [*reversed(answered), answered[0], *answered[1:], waiting]
    for key in ("Escape", "Enter"):  # both keep the answer
        card.key("ArrowLeft")
        assert card.image_id == answered[-1]
        card.key(key)
        assert card.image_id == waiting
    card.wait_saved()
    assert len(rows_of(labeler, card.annotator)) == 3


def test_undo_of_a_correction_gives_the_first_answer_back(card: Card, labeler: Services) -> None:
    image = card.key("1")
    waiting = card.image_id
    card.key("ArrowLeft")
    card.key("2")
    expect(card.part("answer")).to_have_text(["green"])
    card.key("z")
    assert card.image_id == image
    expect(card.part("suggestion")).to_contain_text("You answered red")
    expect(card.part("answer")).to_have_text(["red"])
    card.key("Escape")
    assert card.image_id == waiting
    card.key("z")
    assert card.image_id == image
    expect(card.part("answer")).to_have_count(0)
    assert [row["action"] for row in rows_of(labeler, card.annotator)] == ["label", "label", "undo", "undo"]


@pytest.mark.provokes_errors  # 409 names what would be undone
def test_undo_takes_a_bulk_action_of_another_page_back_at_once(card: Card, labeler: Services) -> None:
    image = card.key("1")
    card.wait_saved()
    entries = labeler.get("/api/images?limit=1000")["images"]
    answered = {row["image_id"] for row in labeler.get("/api/annotations?limit=5000")["annotations"]}
    many = [each["id"] for each in entries if each["split"] == "train" and each["id"] not in answered][-5:]
    answers = [{**labeler.answer(each, "blue", card.annotator), "source": "grid"} for each in many]
    labeler.annotate(answers).raise_for_status()
    card.page.reload()  # this page's own answers come first, until it is reloaded
    card.wait_for_image()
    card.page.keyboard.press("z")
    expect(card.part("message")).to_have_text(
        "This undoes 5 answers given at once on the page Grid. Undo again to do that."
    )
    assert [row["action"] for row in rows_of(labeler, card.annotator)] == ["label"] * 6
    card.key("z")
    expect(card.part("message")).to_have_text("Undid 5 answers given at once.")
    assert card.image_id in many
    expect(card.part("answer")).to_have_text(["red"])
    card.key("z")
    assert card.image_id == image
    rows = rows_of(labeler, card.annotator)
    assert [row["action"] for row in rows] == ["label"] * 6 + ["undo"] * 6
    assert {row["image_id"] for row in rows[6:11]} == set(many)


@pytest.mark.provokes_errors  # 409 for the image that is held out, 404
def test_an_image_has_an_address_that_opens_it_to_be_corrected(card: Card, labeler: Services) -> None:
    image = card.key("1")
    card.wait_saved()
    shown, files = card.image_id, labeler.names()
    link = card.part("file-link")
    expect(link).to_have_text(files[shown])
    expect(link).to_have_attribute("href", f"/?image={shown}")
    card.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    card.page.get_by_role("button", name="Copy link").click()
    expect(card.part("message")).to_have_text(f"Copied: {card.url}/?image={shown}")
    assert card.page.evaluate("navigator.clipboard.readText()") == f"{card.url}/?image={shown}"

    card.page.goto(f"{card.url}/label?image={image}")
    card.wait_for_image()
    assert card.image_id == image
    expect(link).to_have_text(files[image])
    expect(card.part("suggestion")).to_contain_text("You answered red")
    card.key("2")
    expect(card.part("answer").first).to_have_text("green")
    assert card.page.url == f"{card.url}/"  # a reload goes on with the queue
    card.key("z")
    expect(card.part("suggestion")).to_contain_text("You answered red")
    card.wait_saved()
    leased = labeler.queue("someone else", limit=5, session="elsewhere")
    others = next(each["image_id"] for each in leased if each["purpose"] == "query")  # no address opens the others
    card.page.goto(f"{card.url}/?image={others}")
    card.wait_for_image()
    assert card.image_id == others
    expect(card.part("suggestion")).to_contain_text("Someone else is labeling this image")
    card.page.keyboard.press("1")
    expect(card.part("message")).to_contain_text("that was not counted")
    assert card.key("Escape") == others
    card.wait_saved()
    ids = class_ids(labeler)
    rows = [(row["image_id"], row["action"], row["label"]) for row in rows_of(labeler, card.annotator)]
    assert rows == [(image, "label", ids["red"]), (image, "label", ids["green"]), (image, "undo", None)]

    answered = {row["image_id"] for row in labeler.get("/api/annotations?limit=5000")["annotations"]}
    entries = labeler.get("/api/images?limit=1000")["images"]
    held_out = next(each["id"] for each in entries if each["split"] == "test" and each["id"] not in answered)
    for number, why in ((held_out, "held out for measuring"), (10**6, "There is no image")):
        card.page.goto(f"{card.url}/?image={number}")
        expect(card.part("message")).to_contain_text(why)
        card.wait_for_image()
        assert card.page.url == f"{card.url}/"
        if card.image_id == number:  # by chance its turn in the queue: then blind, as a question that measures
            expect(card.part("suggestion")).to_have_text("Test image: it measures accuracy, so no suggestion.")


def test_the_thumbnails_do_not_fetch_their_images_again(card: Card) -> None:
    asked: list[str] = []
    card.key("1")
    card.page.on("request", lambda request: asked.append(request.url))
    with card.page.expect_request("**/api/queue?*"):
        seen = [card.key("1") for _ in range(5)]
    expect(card.part("answer")).to_have_count(6)
    # A slow machine hesitates long enough to be reminded of similar images, which is another question.
    assert not [url for url in asked for image in seen if f"/images/{image}/thumbnail" in url]
