"""Labeling in a real browser: what a key or a click does, and to which image."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.card import Card
from tests.browser.labeler import CLASSES, class_ids, delete_class, post, pushed, rows_of
from tests.browser.pages import follow
from tests.services import Services

pytestmark = pytest.mark.browser
OpenCard = Callable[[Services], Card]


def test_keys_and_clicks_answer_the_image_on_screen(card: Card, labeler: Services) -> None:
    images = [card.key("2")]
    for press in (
        lambda: card.class_button("red").click(),
        lambda: card.page.keyboard.press("s"),
        lambda: card.page.keyboard.press("f"),
        lambda: card.class_button("blue").press(
            "Enter"
        ),  # the key presses the focused button and does not accept the suggestion
    ):
        card.wait_for_image()
        images.append(card.image_id)
        press()
        expect(card.part("stage")).not_to_have_attribute("data-image-id", str(images[-1]))
    card.wait_saved()
    ids = class_ids(labeler)
    rows = rows_of(labeler, card.annotator)
    answers = [("label", ids["green"]), ("label", ids["red"]), ("skip", None), ("flag", None), ("label", ids["blue"])]
    assert [(row["action"], row["label"]) for row in rows] == answers
    assert [row["image_id"] for row in rows] == images
    assert all(row["seconds"] is not None for row in rows)


def test_typing_25_keys_a_second_loses_doubles_and_misplaces_nothing(card: Card, labeler: Services) -> None:
    card.type_quickly(["123"[n % 3] for n in range(100)], seconds=0.04)
    card.wait_saved()
    recorded, ids = card.recorded, class_ids(labeler)
    rows = rows_of(labeler, card.annotator)
    # Each key either became a label or the card said that it was not counted, which happens when the machine is too
    # busy to paint 25 images a second.
    assert len(recorded["keys"]) == 100 == len(rows) + len(recorded["refused"])
    assert len(rows) > 50
    shown = [(key["shown"], ids[CLASSES[int(key["key"]) - 1]]) for key in recorded["keys"]]
    labeled = [(row["image_id"], row["label"]) for row in rows]
    assert len({image for image, _ in labeled}) == len(labeled)
    assert _is_part_of(labeled, shown)
    painted = [each["image_id"] for each in recorded["painted"]]
    assert _is_part_of([image for image, _ in labeled], painted)


def test_keys_faster_than_the_screen_wait_for_their_image_or_are_refused(card: Card, labeler: Services) -> None:
    first = card.image_id
    # Without a next image, the card would refuse both keys.
    fetched = "performance.getEntriesByType('resource').filter(({ name }) => /images.\\d+.thumbnail/.test(name)).length"
    card.page.wait_for_function(f"{fetched} > 5")
    answered_at_once = card.page.evaluate(
        """() => {
          for (const key of ["1", "2", "3"]) dispatchEvent(new KeyboardEvent("keydown", { key }));
          return recorded.answers.map((answer) => answer.image_id);
        }"""
    )
    assert answered_at_once == [first]  # the second key waits until the next image is painted, the third is not counted
    expect(card.part("message")).to_contain_text("Too quick")
    card.page.wait_for_function("recorded.answers.length === 2 && recorded.painted.length > 1")
    card.wait_saved()
    second = card.recorded["painted"][1]["image_id"]
    ids = class_ids(labeler)
    rows = rows_of(labeler, card.annotator)
    assert [(row["image_id"], row["label"]) for row in rows] == [(first, ids["red"]), (second, ids["green"])]


def test_undo_returns_one_image_after_another(card: Card, labeler: Services) -> None:
    images = [card.key("1"), card.key("2"), card.key("s")]
    for key, image in zip(["z", "Control+z", "Backspace"], reversed(images), strict=True):
        card.key(key)
        assert card.image_id == image
    card.key("3")
    assert card.image_id == images[1]
    card.wait_saved()
    rows = rows_of(labeler, card.annotator)
    assert [row["action"] for row in rows] == ["label", "label", "skip", "undo", "undo", "undo", "label"]
    assert (rows[-1]["image_id"], rows[-1]["label"]) == (images[0], class_ids(labeler)["blue"])

    card.page.reload()
    card.wait_for_image()
    card.key("z")  # the annotator's last answer
    assert card.image_id == images[0]

    held = []
    card.page.route("**/api/annotations?*", lambda route: held.append(route))
    with card.page.expect_request("**/api/annotations?*"):
        image = card.key("1")
    card.page.keyboard.press("z")  # waits for the label on its way
    expect(card.part("message")).to_have_text("Undoing …")
    held[0].continue_()
    expect(card.part("stage")).to_have_attribute("data-image-id", str(image))
    assert [row["action"] for row in rows_of(labeler, card.annotator)][-3:] == ["undo", "label", "undo"]


@pytest.mark.provokes_errors  # 409 for the class that there is
def test_a_class_added_on_the_card_can_be_given_at_once(card: Card, labeler: Services) -> None:
    name = f"<b>{uuid.uuid4().hex[:6]}</b> 1sf"
    image = card.image_id
    card.part("add-class").press_sequentially(name)  # keys of a field are text
    assert card.image_id == image
    card.part("add-class").press("Enter")
    expect(card.class_button(name)).to_be_visible()
    image = card.image_id
    card.class_button(name).click()
    card.wait_saved()
    rows = [row for row in rows_of(labeler, card.annotator) if row["action"] == "label"]
    assert [(row["image_id"], row["label"]) for row in rows] == [(image, class_ids(labeler)[name])]
    expect(card.class_button(name).locator(".labels")).to_have_text("1")
    card.part("add-class").fill("red")
    with card.page.expect_response("**/api/classes"):
        card.part("add-class").press("Enter")
    expect(card.part("message")).to_have_text(re.compile("was not added.*already"))
    delete_class(labeler, class_ids(labeler)[name])
    expect(card.class_button(name)).to_have_count(0)


def test_a_new_list_changes_the_next_image_and_not_the_one_on_screen(card: Card, labeler: Services) -> None:
    on_screen = card.image_id
    entries = labeler.get("/api/images?limit=1000")["images"]
    answered = {row["image_id"] for row in labeler.get("/api/annotations?limit=5000")["annotations"]}
    wanted = [each["id"] for each in entries if each["split"] == "train" and each["id"] not in answered][-5:]
    red = class_ids(labeler)["red"]
    with card.page.expect_response("**/api/queue?**"):
        post(labeler, "/api/queries", pushed(labeler, wanted, {"red": 0.75}, "<i>because</i>"))
    card.page.wait_for_timeout(300)  # the new images are decoded
    assert card.image_id == on_screen
    seen: list[int] = []
    while card.image_id not in wanted and len(seen) < 4:
        seen.append(card.key("s"))
    assert card.image_id in wanted  # the first that no other page holds
    expect(card.part("suggestion")).to_contain_text("red 75%")
    expect(card.part("reason")).to_have_text("<i>because</i>")
    image = card.key("Enter")
    card.wait_saved()
    assert rows_of(labeler, card.annotator)[-1]["image_id"] == image
    assert rows_of(labeler, card.annotator)[-1]["label"] == red


NOTHING_MEANT = [
    ("Qqq", "Enter", "No class matches “Qqq”. Press Esc to clear it."),  # and not the suggestion
    ("shade h", "2", "The classes found have no number 2."),
    ("", "Backspace", "Nothing is typed. Press Shift+Z to undo."),
]
"""What is typed with many classes, then a key that means nothing, and what is said."""


def test_with_many_classes_letters_search_for_a_class(card: Card, labeler: Services) -> None:
    names = ["0", *(f"shade {letter}" for letter in "abcdefgh")]
    for name in names:
        post(labeler, "/api/classes", {"name": name})
    try:
        expect(card.part("class")).to_have_count(12)
        suggested = [
            image["id"] for image in labeler.get("/api/images?limit=1000")["images"] if image["split"] == "train"
        ]
        with card.page.expect_response("**/api/queue?**"):
            post(labeler, "/api/queries", pushed(labeler, suggested, {"red": 0.75}, "because"))
        passed = []
        while "red 75%" not in card.part("suggestion").inner_text():
            passed.append(("skip", card.key("Shift+S"), None))
            card.page.wait_for_timeout(300)  # the new images are decoded
        image = card.image_id
        for letters, key, words in NOTHING_MEANT:
            card.page.keyboard.type(letters)
            card.page.keyboard.press(key)
            expect(card.part("message")).to_have_text(words)
            expect(card.part("filter")).to_have_value(letters)
            for _ in letters:
                card.page.keyboard.press("Backspace")
        card.page.keyboard.press("/")
        card.page.keyboard.type("5 of them")  # a digit in a field is text
        card.page.keyboard.press("Enter")
        expect(card.part("message")).to_have_text("No class matches “5 of them”. Press Esc to clear it.")
        expect(card.part("filter")).to_be_focused()
        card.page.keyboard.press("Escape")
        expect(card.part("filter")).not_to_be_focused()
        assert card.image_id == image
        card.page.keyboard.type("shade H")  # a capital within a name is not a shortcut
        expect(card.part("class")).to_have_count(1)
        card.key("Enter")
        expect(card.part("class")).to_have_count(12)
        skipped = card.key("Shift+S")
        by_key = card.key("4")  # of the class, as in the grid: 0 is that of the fourth
        card.page.keyboard.type("shade")
        expect(card.part("class")).to_have_count(8)
        by_place = card.key("4")
        card.part("filter").focus()
        card.page.keyboard.press("Shift+Tab")  # to the classes, which are one stop
        card.page.keyboard.press("End")
        by_arrow = card.key("Enter")
        card.wait_saved()
        ids = class_ids(labeler)
        rows = rows_of(labeler, card.annotator)
        assert [(row["action"], row["image_id"], row["label"]) for row in rows] == [
            *passed,
            ("label", image, ids["shade h"]),
            ("skip", skipped, None),
            ("label", by_key, ids["shade a"]),
            ("label", by_place, ids["shade d"]),
            ("label", by_arrow, ids["shade h"]),
        ]
    finally:
        for name, class_id in class_ids(labeler).items():
            if name in names:
                delete_class(labeler, class_id)


@pytest.mark.provokes_errors  # there is no trainer for the map
def test_single_key_shortcuts_can_be_switched_off_on_every_page(card: Card, labeler: Services) -> None:
    """WCAG 2.2, 2.1.4. Which keys that are is tested without a browser, in tests/ui_js."""
    page, press = card.page, card.page.keyboard.press
    shown = card.image_id
    press("?")
    page.get_by_role("switch", name="Single-key shortcuts").uncheck()
    press("Escape")
    for key in ("1", "s", "g", "?", "r"):  # Streamlit has an R of its own
        press(key)
    expect(card.part("guide")).to_be_hidden()
    expect(card.part("key-table")).to_be_hidden()
    assert card.image_id == shown
    assert card.recorded["answers"] == []
    follow(page, "grid")
    expect(page.get_by_test_id("tile").first.locator("img")).to_be_visible()
    press("a")
    page.get_by_test_id("grid").focus()  # a link that has the focus keeps Space
    press(" ")
    expect(page.get_by_test_id("chosen")).to_contain_text("1 of")  # Space is no single character that is typed
    follow(page, "map")
    press("?")
    expect(page.get_by_test_id("key-table")).to_be_hidden()
    page.get_by_test_id("keys").click()
    switch = page.get_by_role("switch", name="Single-key shortcuts")
    expect(switch).not_to_be_checked()
    switch.check()
    press("Escape")
    press("?")
    expect(page.get_by_test_id("key-table")).to_be_visible()
    page.goto(card.url)
    card.wait_for_image()
    card.key("1")
    card.wait_saved()
    assert [row["action"] for row in rows_of(labeler, card.annotator)] == ["label"]


def test_guidelines_are_written_shown_and_remembered(card: Card, labeler: Services) -> None:
    guide, edit = card.part("guide"), card.part("guide-edit")
    expect(guide).to_be_hidden()
    shown = card.image_id
    try:
        card.page.keyboard.press("g")
        expect(guide).to_contain_text("No guidelines yet.")
        guide.get_by_role("button", name="Edit").click()
        edit.get_by_role("textbox").fill(
            "# Red\n\n- **not** pink\n\n<img src=x onerror=alert(1)> ![no](https://example.org/a.png)"
        )
        edit.get_by_role("button", name="Save").click()
        expect(edit).to_be_hidden()
        expect(guide.get_by_role("heading", name="Red")).to_be_visible()
        expect(guide.locator("li strong")).to_have_text("not")
        expect(guide).to_contain_text("<img src=x onerror=alert(1)>")
        expect(guide.locator("img")).to_have_count(0)
        assert labeler.get("/api/project/guidelines")["annotator"] == card.annotator
        assert card.image_id == shown
        card.key("1")  # labeling goes on beside them
        card.page.reload()
        card.wait_for_image()
        expect(guide).to_be_visible()
        httpx.patch(f"{labeler.labeler.url}/api/project/guidelines", json={"text": "Ask Ann."}).raise_for_status()
        expect(guide).to_contain_text("Ask Ann.")
        card.page.keyboard.press("g")
        expect(guide).to_be_hidden()
    finally:
        httpx.patch(f"{labeler.labeler.url}/api/project/guidelines", json={"text": ""}).raise_for_status()


def _is_part_of(part: Sequence[object], whole: Sequence[object]) -> bool:
    """Whether `whole` contains the items of `part`, in that order."""
    rest = iter(whole)
    return all(item in rest for item in part)
