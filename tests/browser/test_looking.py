"""Zoom, pan and brightness of the image, and how the card shows the model's suggestion."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from tests.browser.card import Card
from tests.browser.labeler import CLASSES, StartLabeler, post, pushed, rows_of
from tests.services import Services, wait_for

pytestmark = pytest.mark.browser
OpenCard = Callable[[Services], Card]


def box(locator: Locator) -> dict[str, float]:
    found = locator.bounding_box()
    assert found is not None
    return dict(found)


def fits(card: Card) -> bool:
    """Whether the whole page is visible without scrolling."""
    return bool(
        card.page.evaluate("(main => main.scrollHeight <= main.clientHeight)(document.querySelector('.stMain'))")
    )


def all_in_sight(card: Card) -> bool:
    return bool(card.part("classes").evaluate("list => list.scrollHeight <= list.clientHeight"))


def places(card: Card) -> list[dict[str, float]]:
    """The positions of the image and the controls."""
    return [box(card.part(name)) for name in ("stage", "classes", "filter", "add-class", "manage", "skip", "undo")]


@pytest.fixture
def image(card: Card) -> Locator:
    return card.part("stage").locator("img")


def test_keys_wheel_and_mouse_zoom_and_move_and_the_next_image_is_whole(card: Card, image: Locator) -> None:
    """The arithmetic is tested without a browser, in tests/ui_js."""
    before, shown, stage = box(image), card.image_id, box(card.part("stage"))
    card.page.keyboard.press("+")
    closer = box(image)
    assert closer["width"] == pytest.approx(before["width"] * 1.25, rel=0.01)
    card.page.keyboard.press("ArrowLeft")
    assert box(image)["x"] > closer["x"]
    card.page.keyboard.press("Escape")
    assert box(image) == pytest.approx(before)
    assert card.image_id == shown

    x, y = stage["x"] + 100, stage["y"] + 100
    card.page.mouse.move(x, y)
    card.page.mouse.wheel(0, -100)
    closer = box(image)
    assert closer["width"] == pytest.approx(before["width"] * 1.25, rel=0.01)
    assert (x - closer["x"]) / closer["width"] == pytest.approx((x - before["x"]) / before["width"], abs=0.01)
    card.page.mouse.down()
    card.page.mouse.move(x - 40, y - 30, steps=3)
    card.page.mouse.up()
    assert (box(image)["x"], box(image)["y"]) == pytest.approx((closer["x"] - 40, closer["y"] - 30), abs=1)
    card.page.mouse.move(x, y)  # the button is up: nothing is dragged
    assert box(image)["x"] == pytest.approx(closer["x"] - 40, abs=1)
    card.page.mouse.dblclick(x, y)
    assert box(image) == pytest.approx(before)
    card.page.mouse.dblclick(x, y)
    assert box(image)["width"] == pytest.approx(before["width"] * 3, rel=0.01)

    picture = card.page.locator(".picture")
    card.page.get_by_role("button", name="Brighter").click()
    expect(picture).to_have_css("filter", "brightness(1.25)")
    card.key("1")
    assert box(image)["width"] == pytest.approx(before["width"])  # the zoom ends with the image
    expect(picture).to_have_css("filter", "brightness(1.25)")  # dark images come in series
    card.page.get_by_role("button", name="Reset").click()
    expect(picture).to_have_css("filter", "none")
    expect(card.page.get_by_role("button", name="Reset")).to_be_hidden()


def test_zoomed_in_the_original_file_is_shown(start_labeler: StartLabeler, open_card: OpenCard, tmp_path: Path) -> None:
    labeler = start_labeler(0, CLASSES)
    noise = np.random.default_rng(0).integers(0, 255, (900, 1_600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.jpg")
    with (tmp_path / "large.jpg").open("rb") as file:
        httpx.post(labeler.labeler.url + "/api/images", files={"images": file}, timeout=20).raise_for_status()
    card = open_card(labeler)
    image = card.part("stage").locator("img")
    assert image.evaluate("(image) => image.naturalWidth") == 1280
    card.page.keyboard.press("+")
    expect(image).to_have_attribute("src", re.compile("/content$"))
    assert image.evaluate("(image) => image.naturalWidth") == 1600
    expect(image).to_have_attribute("alt", re.compile("to be labeled"))


def test_every_class_shows_its_probability_and_the_image_its_reason(
    start_labeler: StartLabeler, open_card: OpenCard
) -> None:
    labeler = start_labeler(8, [*CLASSES, *(f"another {number}" for number in range(4, 11))])
    post(labeler, "/api/queries", pushed(labeler, range(1, 9), {"green": 0.6, "red": 0.3}, "between green and red"))
    card = open_card(labeler)
    expect(card.part("suggestion")).to_contain_text("green 60%")
    expect(card.part("reason")).to_have_text("between green and red")
    given = {name: card.class_button(name).locator(".confidence").inner_text() for name in CLASSES}
    assert given == {"red": "30%", "green": "60%", "blue": ""}
    expect(card.part("topk")).to_be_hidden()
    assert all_in_sight(card)
    card.key("2")
    card.wait_saved()
    row = card.class_button("green")
    expect(row.locator(".labels")).to_have_text("1")  # beside the probability, not in its place
    expect(row.locator(".confidence")).to_have_text("60%")
    for part in (".confidence", ".labels"):  # columns: there are two of buttons
        assert len({box(each)["x"] for each in card.part("class").locator(part).all()}) == 2
    post(labeler, "/api/classes", {"name": "a long name that takes all of its three lines"})
    button = card.class_button("a long name that takes all of its three lines")
    name, whole = box(button.locator(".name")), box(button)
    assert whole["y"] <= name["y"]
    assert name["y"] + name["height"] <= whole["y"] + whole["height"]  # no line is cut
    for number in range(12, 27):
        post(labeler, "/api/classes", {"name": f"another {number} with a name that is too long for its column"})
    expect(card.part("class")).to_have_count(26)
    assert fits(card)
    assert all_in_sight(card) or card.part("classes").evaluate("list => list.clientHeight > 200")


def test_with_many_classes_the_likeliest_are_buttons_of_their_own(
    start_labeler: StartLabeler, open_card: OpenCard
) -> None:
    names = [f"class {number:02d}" for number in range(40)]
    labeler = start_labeler(8, names)
    said = {"class 31": 0.5, "class 17": 0.2, "class 38": 0.1}
    post(labeler, "/api/queries", pushed(labeler, range(1, 9), said, "torn"))
    card = open_card(labeler)
    expect(card.part("topk").get_by_role("button")).to_have_text(["class 17 20%", "class 38 10%"])
    why, classes = box(card.part("reason")), box(card.part("classes"))
    assert why["y"] + why["height"] <= classes["y"]
    assert fits(card)
    before = places(card)
    assert httpx.patch(labeler.labeler.url + "/api/settings", json={"blind_mode": True}, timeout=20).is_success
    expect(card.part("topk")).to_be_hidden()
    expect(card.part("suggestion")).to_have_text("Blind mode: no suggestions.")
    expect(card.part("reason")).to_have_text("")
    expect(card.class_button("class 31").locator(".confidence")).to_have_text("")
    shown = card.image_id
    card.page.keyboard.press("Enter")  # there is nothing to accept
    assert places(card) == before  # nothing moves when a suggestion goes, or comes
    assert card.image_id == shown
    assert httpx.patch(labeler.labeler.url + "/api/settings", json={"blind_mode": False}, timeout=20).is_success
    expect(card.part("topk")).to_be_visible()
    assert places(card) == before
    card.page.keyboard.press("/")
    card.page.keyboard.type("32")
    expect(card.part("class")).to_have_count(1)
    card.page.keyboard.press("Escape")
    expect(card.part("class")).to_have_count(40)
    for class_id, name in (
        (1, "short-sleeved cotton shirt"),
        (18, "water-repellent windbreaker"),
        (30, "knee-high socks"),
    ):
        address = f"{labeler.labeler.url}/api/classes/{class_id}"
        httpx.patch(address, json={"name": name}, timeout=20).raise_for_status()
        expect(card.class_button(name)).to_be_visible()
        cut = "name => name.scrollWidth > name.clientWidth || name.scrollHeight > name.clientHeight + 1"
        assert not card.class_button(name).locator(".name").evaluate(cut)  # on two lines
    image, likely = card.image_id, card.part("topk").get_by_role("button", name="class 38")
    likely.hover()
    card.page.mouse.down()
    # The classes are drawn anew between press and release, as they are whenever somebody else labels.
    httpx.patch(f"{labeler.labeler.url}/api/classes/18", json={"name": "class 17"}, timeout=20).raise_for_status()
    expect(card.class_button("class 17")).to_be_visible()
    card.page.mouse.up()
    card.page.wait_for_function("before => Number(stage().dataset.imageId) !== before", arg=image)
    card.wait_saved()
    (row,) = labeler.get("/api/annotations")["annotations"][-1:]
    assert (row["image_id"], row["label"]) == (image, 39)
    card.page.set_viewport_size({"width": 390, "height": 844})
    for name in ("skip", "undo", "keys"):
        card.part(name).click(trial=True)  # the list of classes scrolls, and lies over nothing


REMINDERS = "stage().getRootNode().querySelectorAll('[data-testid=similar] li').length"
WHEN_PAINTED = (
    f"document.addEventListener('flywheel:painted', () => (window.remindersThen = {REMINDERS}), {{ once: true }})"
)


def test_a_hesitating_person_sees_similar_labeled_images_and_everyone_the_budget_left(
    pair: Services, open_card: OpenCard
) -> None:
    card = open_card(pair)
    names = pair.names()
    splits = {each["id"]: each["split"] for each in pair.get("/api/images?limit=1000")["images"]}
    kinds = set()
    for _ in range(40):
        kinds.add(splits[card.image_id])
        if {"train", "test"} <= kinds and splits[card.image_id] == "train" and len(rows_of(pair, card.annotator)) > 12:
            break
        card.key(str(CLASSES.index(pair.truth[names[card.image_id]]) + 1))
    asked: list[str] = []
    card.page.on("request", lambda request: asked.append(request.url))
    card.wait_saved()
    wait_for(pair.caught_up)
    shown = card.image_id
    reminders = card.part("similar").get_by_role("listitem")

    def reminded() -> bool:
        card.key("s")  # the next ones, until the trainer has seen the labels and the image
        card.key("z")
        card.page.wait_for_timeout(700)
        return bool(reminders.count())

    wait_for(reminded, "the reminder")
    assert card.image_id == shown
    assert 1 <= reminders.count() <= 4
    for reminder in reminders.all():
        image = int((reminder.get_by_role("img").get_attribute("alt") or "").removeprefix("Image "))
        assert splits[image] == "train"
        assert reminder.inner_text() == pair.truth[names[image]]  # as it was labeled
    assert card.page.evaluate(REMINDERS) >= 1
    card.page.evaluate(WHEN_PAINTED)  # later the next image has its own
    card.key("1")
    assert card.page.evaluate("remindersThen") == 0
    assert not [url for url in asked if "/similar" in url and splits[int(url.split("/")[-2])] != "train"]

    budget = pair.get("/api/project")["images"]["labeled"] + 50
    httpx.patch(pair.trainer.url + "/settings", json={"label_budget": budget}, timeout=20).raise_for_status()

    def told() -> bool:
        card.key("1")  # news: without any, a page gets a new state after 15 seconds
        card.page.wait_for_timeout(700)
        said = card.part("target").inner_text() if card.part("target").is_visible() else ""
        return bool(re.fullmatch(r"about .+ to the label budget \(4\d labels\)", said))

    wait_for(told, "the budget")
    expect(card.part("card").get_by_test_id("pace")).to_have_text(re.compile(r"Labels per minute: \d+"))
