"""A project whose images may have several classes, labeled in a real browser: the card, and the grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser.card import Card, keep_picture
from tests.browser.grid import Grid
from tests.browser.labeler import SHARED, class_ids, post, pushed, rows_of, take_all_back
from tests.browser.test_accessibility import RULES
from tests.services import Services, running_services, wait_for

pytestmark = pytest.mark.browser
IMAGES = 60


@pytest.fixture(scope="module")
def several() -> Iterator[Services]:
    """A labeler whose first images have suggestions: green and, less likely, red."""
    settings = SHARED | {"task": "multilabel", "test_set_frac": 0, "validation_set_frac": 0}
    with running_services(images=IMAGES, labeler=settings, start_trainer=False) as services:
        push = pushed(services, range(1, IMAGES), {"green": 0.75, "red": 0.2}, "between green and not green")
        for query in push["queries"]:
            query["suggestions"] = [{**each, "chosen": each["confidence"] > 0.5} for each in query["suggestions"]]
        post(services, "/api/queries", push)
        yield services


@pytest.fixture
def choosing(several: Services, annotator: str, open_card: Callable[[Services], Card]) -> Iterator[Card]:
    yield open_card(several)
    take_all_back(several, annotator)


def answers(services: Services, annotator: str) -> list[Any]:
    """The annotator's answers in the log: the names of the classes with a yes and with a no."""
    names = {class_id: name for name, class_id in class_ids(services).items()}
    return [
        row["answer"] and ["+".join(names[each] for each in row["answer"][side]) for side in ("yes", "no")]
        for row in rows_of(services, annotator)
    ]


def pressed(card: Card) -> list[str]:
    return card.page.locator(".classes [aria-pressed=true] .name").all_inner_texts()


def test_classes_are_switched_on_and_confirmed_and_an_earlier_answer_is_shown_again(
    choosing: Card, several: Services
) -> None:
    card = choosing
    expect(card.part("task")).to_have_text("Several classes per image")
    expect(card.part("suggestion")).to_have_text("Suggested: green 75%")
    assert pressed(card) == []  # suggestions are preselected only if the setting says so
    first = card.image_id
    card.page.keyboard.press("Enter")
    expect(card.part("message")).to_contain_text("“None of these”")
    assert card.image_id == first
    card.page.keyboard.press("1")
    card.class_button("blue").click()
    assert pressed(card) == ["red", "blue"]
    found = Axe().run(card.page, options={"runOnly": RULES})
    assert not found.response["violations"], found.generate_report()
    keep_picture(card.page, "several-classes.png")
    card.key("Enter")
    card.page.keyboard.press("2")
    card.page.keyboard.press("x")
    expect(card.part("chosen")).to_have_text("None of these")
    second = card.key("Enter")
    card.key("s")
    card.wait_saved()
    assert answers(several, card.annotator) == [["red+blue", "green"], ["", "red+green+blue"], None]
    expect(card.part("answer").last).to_have_text("red, blue")

    card.key("z")  # the skip
    card.key("z")
    assert card.image_id == second
    expect(card.part("chosen")).to_have_text("None of these")  # a slip can be corrected
    card.page.keyboard.press("3")
    card.key("Enter")
    card.part("answer").last.click()  # a correction of the first
    expect(card.part("stage")).to_have_attribute("data-image-id", str(first))
    expect(card.part("suggestion")).to_contain_text("You answered red, blue")
    card.wait_for_image()
    assert pressed(card) == ["red", "blue"]
    card.page.keyboard.press("3")
    card.key("Enter")
    card.wait_saved()
    assert answers(several, card.annotator)[-2:] == [["blue", "red+green"], ["red", "green+blue"]]

    ids = class_ids(several)  # what somebody else answered is corrected class by class, too
    said = {"label": None, "answer": {"yes": [ids["blue"]], "no": [ids["red"], ids["green"]]}}
    several.annotate([several.answer(IMAGES, "", f"{card.annotator} 2") | said]).raise_for_status()
    card.page.goto(f"{card.url}/?image={IMAGES}")
    card.wait_for_image()
    expect(card.part("suggestion")).to_contain_text("Answered: blue.")
    assert pressed(card) == ["blue"]
    card.page.keyboard.press("1")
    card.key("Enter")
    card.wait_saved()
    assert answers(several, card.annotator)[-1] == ["red+blue", "green"]
    take_all_back(several, f"{card.annotator} 2")


def test_quick_keys_confirm_each_image_with_its_own_classes(choosing: Card, several: Services) -> None:
    keys = [key for n in range(30) for key in ("123"[n % 3], "Enter")]
    choosing.type_quickly(keys, seconds=0.04)
    choosing.wait_saved()
    recorded, rows = choosing.recorded, rows_of(several, choosing.annotator)
    # Each Enter either became an answer, or the card said why not, which happens on a busy machine.
    assert len(rows) >= 15
    assert len(rows) + len(recorded["refused"]) >= 30
    assert len({row["image_id"] for row in rows}) == len(rows)
    enters = [each["shown"] for each in recorded["keys"] if each["key"] == "Enter"]
    assert [row["image_id"] for row in rows] == [
        image for image in enters if image in {row["image_id"] for row in rows}
    ]
    assert all(len(row["answer"]["yes"] + row["answer"]["no"]) == 3 for row in rows)


def test_suggested_classes_are_preselected_if_the_setting_says_so(choosing: Card, several: Services) -> None:
    settings = f"{several.labeler.url}/api/settings"
    httpx.patch(settings, json={"preselect_suggestions": True}, timeout=20).raise_for_status()
    try:
        choosing.page.route("**/api/project", lambda _: None)  # the first image comes before the project's state
        silenced: list[WebSocketRoute] = []

        def connect(socket: WebSocketRoute) -> None:
            """No news for this page. Later ones hear the labeler again: a route of sockets stays with the tab."""
            if silenced:
                socket.connect_to_server()
            silenced.append(socket)

        choosing.page.route_web_socket("**/api/events*", connect)
        choosing.page.reload()
        choosing.wait_for_image()
        choosing.page.unroute("**/api/project")
        expect(choosing.part("chosen")).to_have_text("green")
        choosing.key("s")
        expect(choosing.part("chosen")).to_have_text("green")
        choosing.page.keyboard.press("1")
        choosing.key("Enter")
        choosing.wait_saved()
        assert answers(several, choosing.annotator)[-1] == ["red+green", "blue"]
    finally:
        httpx.patch(settings, json={"preselect_suggestions": False}, timeout=20).raise_for_status()


def test_the_grid_marks_one_class_and_the_others_stay_as_they_were(
    several: Services, page: Page, annotator: str
) -> None:
    grid = Grid(page, several, annotator).open("?status=any")
    try:
        first, second, third = grid.ids[:3]
        for image_id in (first, second):
            grid.tile(image_id).click()
        page.keyboard.press("Enter")
        expect(grid.part("message")).to_contain_text("Choose a class first")
        page.keyboard.press("3")
        expect(grid.part("asked")).to_have_text("2 images: blue?")
        page.keyboard.press("Enter")
        expect(grid.part("message")).to_have_text("2 images marked as blue.")
        grid.tile(second).click()
        grid.class_button("red").click()
        page.keyboard.press("x")
        expect(grid.part("message")).to_have_text("1 image marked as not red.")
        expect(grid.tile(first)).to_contain_text("✓ blue · red?")
        assert answers(several, annotator) == [["blue", ""], ["blue", ""], ["blue", "red"]]
        grid.part("given").select_option(label="blue")
        grid.part("says").select_option("nothing")
        expect(grid.part("chosen")).to_have_text(f"0 of {IMAGES - 2} chosen")
        assert first not in grid.ids
        assert third in grid.ids
        expect(grid.part("asked")).to_contain_text("blue?")
        keep_picture(page, "several-classes-grid.png")
    finally:
        take_all_back(several, annotator)


@pytest.mark.provokes_errors
def test_classes_chosen_while_the_labeler_is_dead_arrive_once(choosing: Card, several: Services) -> None:
    card, given = choosing, []

    def answer(*keys: str) -> None:
        for key in keys:
            card.page.keyboard.press(key)
        given.append(card.key("Enter"))

    answer("1", "2")
    card.wait_saved()
    card.wait_ahead(4)
    several.labeler.kill()
    try:
        answer("3")
        answer("x")
        expect(card.part("saved")).to_contain_text("2 labels kept in this browser")
        card.page.keyboard.press("2")  # is not confirmed yet
    finally:
        several.labeler.start()
    card.wait_saved()
    expect(card.part("chosen")).to_have_text("green")
    answer("1")
    card.wait_saved()
    assert [(row["image_id"], row["id"]) for row in rows_of(several, card.annotator)] == [
        (each["image_id"], each["id"]) for each in card.recorded["answers"]
    ]
    assert [each["image_id"] for each in card.recorded["answers"]] == given
    assert answers(several, card.annotator) == [
        ["red+green", "blue"],
        ["blue", "red+green"],
        ["", "red+green+blue"],
        ["red+green", "blue"],
    ]


def test_after_an_absence_what_others_answered_is_left_with_a_sentence_and_an_answer_at_once_is_kept(
    choosing: Card, several: Services
) -> None:
    card = choosing

    def leave() -> int:
        """Nobody touches the page for ten minutes, and somebody else answers its image."""
        wait_for(lambda: card.image_id)
        image = card.image_id

        def is_free() -> bool:
            # Again and again: a browser reports a movement, too, where the page moves under the mouse.
            card.page.evaluate("globalThis[Symbol.for('flywheel.live')].touchedAt = performance.now() - 700_000")
            free = [each["image_id"] for each in several.queue("bob", IMAGES)]
            several.queue("bob", 1)  # frees the others, which the page may get again
            return image in free

        wait_for(is_free, "the end of its lease")
        answer = several.answer(image, "red", "bob") | {"label": None, "answer": {"yes": ["red"], "no": ["green"]}}
        several.annotate([answer]).raise_for_status()
        return image

    try:
        image = leave()
        card.page.mouse.move(300, 300)
        expect(card.part("message")).to_contain_text("the previous image over, or it is no longer available: here is")
        assert card.image_id != image
        card.page.keyboard.press("3")
        image = leave()
        card.page.keyboard.press("Enter")
        expect(card.part("message")).to_contain_text("Your answer is kept beside theirs.")
        expect(card.part("stage")).not_to_have_attribute("data-image-id", str(image))
        card.wait_saved()
        (row,) = rows_of(several, card.annotator)
        assert (row["image_id"], row["source"]) == (image, "late")
    finally:
        take_all_back(several, "bob")
