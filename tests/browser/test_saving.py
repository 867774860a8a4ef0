"""Labels that are not saved yet survive a reload, a lost connection, a killed labeler and a second tab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.card import Card
from tests.browser.labeler import CLASSES, StartLabeler, delete_class, post, rows_of
from tests.disks import SmallDisk
from tests.services import Services, running_services

pytestmark = [pytest.mark.browser, pytest.mark.provokes_errors]
POSTS = "**/api/annotations?*"


@pytest.fixture
def mortal() -> Iterator[Services]:
    """A labeler that the test may kill."""
    with running_services(images=120, start_trainer=False) as services:
        yield services


def test_a_reload_loses_no_unconfirmed_label(card: Card, labeler: Services) -> None:
    card.page.route(POSTS, lambda route: route.abort())
    labeled = [card.key("1"), card.key("2"), card.key("3")]
    expect(card.part("saved")).to_contain_text("Connection lost – 3 labels kept in this browser")
    card.page.reload()
    card.wait_for_image()
    assert card.image_id not in labeled
    assert rows_of(labeler, card.annotator) == []
    card.page.unroute(POSTS)
    card.wait_saved()
    assert [row["image_id"] for row in rows_of(labeler, card.annotator)] == labeled


def test_on_a_full_disk_labels_wait_in_the_browser_and_the_bar_says_why(card: Card, labeler: Services) -> None:
    disk = SmallDisk(labeler.workspace, mounted=False)
    trouble = card.page.get_by_test_id("error")
    disk.fill(labeler.labeler)
    try:
        labeled = [card.key("1"), card.key("2")]
        waits = "Not saved: the disk is full – 2 labels kept in this browser, trying again"
        expect(card.part("saved")).to_have_text(waits)
        expect(trouble).to_contain_text("is full")
        expect(trouble).to_contain_text("Everything that was confirmed is safe. Free some space there")
        card.wait_for_image()  # reading needs no disk space
        card.page.get_by_role("link", name="Progress").click()
        expect(card.page.get_by_test_id("error")).to_contain_text("Everything that was confirmed is safe")
        expect(card.page.get_by_role("heading", name="Labels by class")).to_be_visible()  # the bar is on both pages
        card.page.get_by_role("link", name="Label", exact=True).click()
        card.wait_for_image()
    finally:
        disk.free()
    card.wait_saved()
    expect(trouble).not_to_contain_text("is full")
    assert [row["image_id"] for row in rows_of(labeler, card.annotator)] == labeled


def test_a_labeler_that_is_killed_while_someone_types_loses_nothing(
    mortal: Services, page: Page, annotator: str
) -> None:
    card = Card(page, mortal.labeler.url, annotator).open()
    card.type_quickly(list("123" * 5), seconds=0.04)
    mortal.labeler.kill()
    card.type_quickly(list("123" * 10), seconds=0.04)
    expect(card.part("saved")).to_contain_text("kept in this browser, trying again")
    mortal.labeler.start()
    card.wait_saved()
    card.wait_for_image()
    card.type_quickly(list("321"), seconds=0.1)
    card.wait_saved()
    answers = card.recorded["answers"]
    rows = rows_of(mortal, annotator)
    assert [row["id"] for row in rows] == [answer["id"] for answer in answers]
    assert [(row["image_id"], row["label"]) for row in rows] == [(each["image_id"], each["label"]) for each in answers]
    assert len({row["image_id"] for row in rows}) == len(rows) > 15


def test_a_label_is_never_sent_to_another_project(mortal: Services, page: Page, annotator: str, tmp_path: Path) -> None:
    card = Card(page, mortal.labeler.url, annotator).open()
    page.route(POSTS, lambda route: route.abort())
    card.key("1")
    mortal.labeler.kill()
    mortal.labeler.settings["workspace"] = tmp_path / "another"
    mortal.labeler.start()
    page.unroute(POSTS)
    page.wait_for_function("recorded.answers.length === 0")  # the page was loaded again, with the other project
    image = card.key("2")
    card.wait_saved()
    assert [row["image_id"] for row in rows_of(mortal, annotator)] == [image]
    assert (
        page.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('flywheel/unconfirmed/')).length") == 1
    )


def test_too_many_unconfirmed_labels_make_the_card_wait(card: Card, labeler: Services) -> None:
    most = labeler.get("/api/settings")["max_unconfirmed"]["value"]
    card.page.route(POSTS, lambda route: route.abort())
    for _ in range(most - 1):
        card.key("1")
    card.page.keyboard.press("1")
    expect(card.part("notice")).to_contain_text("Waiting for the labeler")
    expect(card.part("stage").locator("img")).to_have_count(0)
    card.page.keyboard.press("2")
    assert len(card.recorded["answers"]) == most
    card.page.unroute(POSTS)
    card.wait_saved()
    card.wait_for_image()
    assert len(rows_of(labeler, card.annotator)) == most


def test_a_refused_answer_is_reported_and_the_rest_is_saved(card: Card, labeler: Services) -> None:
    doomed = post(labeler, "/api/classes", {"name": "doomed"})["id"]
    expect(card.class_button("doomed")).to_be_visible()
    card.page.route(POSTS, lambda route: route.abort())
    first = card.key("1")
    refused = card.key("4")
    last = card.key("2")
    delete_class(labeler, doomed)
    card.page.unroute(POSTS)
    expect(card.part("message")).to_contain_text(f"Image {refused} was not saved", timeout=20_000)
    card.wait_saved()
    rows = [row for row in rows_of(labeler, card.annotator) if row["action"] == "label"]
    assert [row["image_id"] for row in rows] == [first, last]


def test_two_tabs_never_show_the_same_image_and_one_sends_what_the_other_left(
    card: Card, context: BrowserContext, labeler: Services
) -> None:
    second = Card(context.new_page(), labeler.labeler.url, card.annotator).open()
    held = {card.key("1"), card.key("1"), card.image_id}
    assert held.isdisjoint({second.key("2"), second.key("2"), second.image_id})
    card.wait_saved()
    second.wait_saved()
    second.page.route(POSTS, lambda route: route.abort())
    left = second.key("3")
    second.page.close()
    card.page.reload()
    card.wait_for_image()
    card.wait_saved()
    expect(card.part("saved")).to_have_text("All saved")
    rows = rows_of(labeler, card.annotator)
    assert [row["image_id"] for row in rows].count(left) == 1
    assert len(rows) == 5


def test_eight_tabs_lose_no_label_double_none_and_share_no_image(
    start_labeler: StartLabeler, context: BrowserContext, annotator: str
) -> None:
    labeler = start_labeler(200, CLASSES)
    cards = [Card(context.new_page(), labeler.labeler.url, annotator).open() for _ in range(8)]
    for number in range(5):  # in turn, so that all of them have answers on their way
        for card in cards:
            card.wait_for_image()
            card.page.keyboard.press("123"[number % 3])
    for card in cards:
        card.wait_saved()
    answers = [answer for card in cards for answer in card.recorded["answers"]]
    rows = {row["id"]: row for row in rows_of(labeler, annotator)}
    assert rows.keys() == {answer["id"] for answer in answers}
    assert len({row["image_id"] for row in rows.values()}) == len(rows) == 40
    for answer in answers:
        assert (rows[answer["id"]]["image_id"], rows[answer["id"]]["label"]) == (answer["image_id"], answer["label"])


def test_labels_are_sent_while_another_page_is_open(card: Card, labeler: Services) -> None:
    card.page.route(POSTS, lambda route: route.abort())
    image = card.key("1")
    card.page.get_by_role("link", name="Settings").click()
    expect(card.page.get_by_text("kept with the project")).to_be_visible()
    card.page.unroute(POSTS)
    card.page.wait_for_function("Object.keys(localStorage).every((key) => !key.startsWith('flywheel/unconfirmed/'))")
    assert [row["image_id"] for row in rows_of(labeler, card.annotator)] == [image]
