"""Classes changed during labeling, in a labeler of its own: each change is explained before it is made."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Locator, Route, expect

from tests.browser.card import Card
from tests.browser.labeler import CLASSES, StartLabeler, class_ids, post, rows_of
from tests.services import Services

pytestmark = pytest.mark.browser


@pytest.fixture
def own(start_labeler: StartLabeler) -> Services:
    return start_labeler(20, CLASSES)


@pytest.fixture
def card(own: Services, open_card: Callable[[Services], Card]) -> Card:
    """The card, after two labels of red and one of green."""
    card = open_card(own)
    for key in "112":
        card.key(key)
    card.wait_saved()
    expect(card.class_button("red").locator(".labels")).to_have_text("2")
    return card


def panel(card: Card) -> Locator:
    card.page.keyboard.press("c")
    expect(card.part("class-panel")).to_be_visible()
    return card.part("class-panel")


def counts(services: Services) -> dict[str, int]:
    return {each["name"]: each["labels"] for each in services.get("/api/project")["classes"]}


def test_rename_from_the_keyboard_keeps_labels_and_the_old_name_as_alias(card: Card, own: Services) -> None:
    classes = panel(card)
    keys = card.page.keyboard
    expect(classes.get_by_role("button", name="Rename red")).to_be_focused()
    keys.press("Enter")
    expect(classes.get_by_label("New name of red")).to_be_focused()
    keys.press("Control+a")
    keys.type("crimson")
    expect(classes).to_contain_text("2 labels become “crimson”; the old name still works.")
    keys.press("Enter")
    expect(classes.get_by_role("status")).to_contain_text("Done. 2 labels become “crimson”")
    expect(classes.get_by_role("button", name="Rename crimson")).to_be_focused()
    keys.press("Escape")
    expect(classes).to_be_hidden()
    expect(card.class_button("crimson").locator(".labels")).to_have_text("2")
    expect(card.part("answer").last).to_have_text("crimson")
    own.annotate([own.answer(card.image_id, "red", card.annotator)]).raise_for_status()
    assert counts(own) == {"crimson": 3, "green": 1, "blue": 0}


def test_merge_says_how_many_labels_move(card: Card, own: Services) -> None:
    classes = panel(card)
    classes.get_by_role("button", name="Merge red").click()
    expect(classes.get_by_label("Class that red becomes part of")).to_have_value("")
    expect(classes).to_contain_text("2 labels would become labels of the class that you choose.")
    expect(classes.get_by_role("button", name="Merge", exact=True)).to_be_disabled()
    own.annotate([own.answer(card.image_id, "red", "somebody else")]).raise_for_status()
    expect(classes).to_contain_text("3 labels would become labels")  # the labeler counts, even while the number changes
    classes.get_by_label("Class that red becomes part of").select_option("blue")
    expect(classes).to_contain_text(
        "3 labels become “blue”; “red” still works as a name for it. This cannot be undone."
    )
    assert counts(own)["red"] == 3  # nothing is done before it is confirmed
    classes.get_by_role("button", name="Merge", exact=True).click()
    expect(classes.get_by_role("listitem")).to_have_count(2)
    assert counts(own) == {"green": 1, "blue": 3}
    classes.get_by_role("button", name="Close").click()
    expect(card.part("class")).to_have_count(2)
    expect(card.part("answer").last).to_have_text("blue")


def test_delete_says_which_images_will_be_asked_again_and_can_be_cancelled(card: Card, own: Services) -> None:
    classes = panel(card)
    classes.get_by_role("button", name="Delete red").click()
    expect(classes).to_contain_text("2 images lose this label and will be asked again. This cannot be undone.")
    card.page.keyboard.press("Escape")  # leaves the change, not the panel
    expect(classes.get_by_role("button", name="Delete red")).to_be_focused()
    assert len(class_ids(own)) == 3
    classes.get_by_role("button", name="Delete blue").click()
    expect(classes).to_contain_text("No image has this label.")
    classes.get_by_role("button", name="Cancel").click()
    classes.get_by_role("button", name="Delete red").click()
    classes.get_by_role("button", name="Delete", exact=True).click()
    expect(classes.get_by_role("listitem")).to_have_count(2)
    assert counts(own) == {"green": 1, "blue": 0}
    assert own.get("/api/project")["images"]["unlabeled"] == 19


@pytest.mark.provokes_errors  # 409, 422
def test_taken_names_and_keys_are_refused_and_looks_and_order_can_change(card: Card, own: Services) -> None:
    classes = panel(card)
    held: list[Route] = []
    # A name that is typed quickly waits for no count of labels.
    card.page.route("**/api/project", lambda route: held.append(route))
    classes.get_by_role("button", name="Rename red").click()
    classes.get_by_label("New name of red").fill("green")
    card.page.keyboard.press("Enter")
    expect(classes.get_by_role("status")).to_contain_text("There is already a class 'green'")
    card.page.unroute("**/api/project")
    for route in held:
        route.continue_()
    expect(classes.get_by_label("New name of red")).to_have_value("green")
    classes.get_by_label("New name of red").fill("x" * 101)
    card.page.keyboard.press("Enter")
    expect(classes.get_by_role("status")).to_contain_text(
        "a class name has at most 100 characters, and this one has 101"
    )
    expect(classes.get_by_label("New name of red")).to_have_value("x" * 101)
    assert list(counts(own)) == CLASSES
    card.page.keyboard.press("Escape")
    post(own, "/api/classes", {"name": "grey"})
    classes.get_by_role("button", name="Edit grey").click()
    classes.get_by_label("Own key").fill("s")
    card.page.keyboard.press("Enter")
    expect(classes.get_by_role("status")).to_contain_text("The key 's' is already in use on the pages")
    classes.get_by_label("Own key").fill("q")
    classes.get_by_label("Colour", exact=True).fill("#777777")
    classes.get_by_label("Description").fill("<b>neither</b> dark nor light")
    classes.get_by_role("button", name="Save").click()
    expect(classes.get_by_role("status")).to_have_text("Saved.")
    look = own.get("/api/project")["classes"][-1]
    assert (look["hotkey"], look["colour"], look["description"]) == ("q", "#777777", "<b>neither</b> dark nor light")
    classes.get_by_role("button", name="Move grey").focus()
    card.page.keyboard.press("ArrowUp")
    expect(classes.get_by_role("status")).to_have_text("“grey” is number 3 of 4.")
    expect(classes.get_by_role("button", name="Move grey")).to_be_focused()
    classes.get_by_role("button", name="Move blue").drag_to(classes.get_by_role("listitem").first)
    expect(classes.get_by_role("status")).to_have_text("“blue” is number 1 of 4.")
    classes.get_by_role("button", name="Close").click()
    expect(card.part("class").locator(".name")).to_have_text(["blue", "red", "green", "grey"])
    expect(card.class_button("grey")).to_have_attribute("title", "grey: <b>neither</b> dark nor light")
    expect(card.class_button("grey")).to_have_css("box-shadow", "rgb(119, 119, 119) 4px 0px 0px 0px inset")
    image = card.key("q")
    card.wait_saved()
    (row,) = own.get("/api/annotations")["annotations"][-1:]
    assert (row["image_id"], row["label"]) == (image, look["id"])
    card.key("й@KeyQ")  # what a Russian keyboard has at the place of the Q
    with httpx.Client(base_url=own.labeler.url) as http:
        http.patch(f"/api/classes/{look['id']}", json={"hotkey": "ы"}).raise_for_status()
    expect(card.class_button("grey").locator("kbd")).to_have_text("ы")
    card.key("ы@KeyS")  # its own key, before the S at its place
    card.wait_saved()
    assert [row["label"] for row in rows_of(own, card.annotator)][-3:] == [look["id"]] * 3
