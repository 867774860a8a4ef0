"""The card on a phone: large enough for fingers, and a swipe over the image answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, CDPSession, Locator, ViewportSize, expect

from tests.browser.card import Card
from tests.browser.labeler import CLASSES, SHARED, class_ids, post, pushed, rows_of, take_all_back
from tests.services import Services, running_services

pytestmark = pytest.mark.browser
PHONE = ViewportSize(width=390, height=844)
FINGER = 44  # pixels


@pytest.fixture(scope="module")
def shared_context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport=PHONE, has_touch=True, color_scheme="dark")
    context.set_default_timeout(30_000)
    yield context
    context.close()


@pytest.fixture(scope="module")
def swept() -> Iterator[Services]:
    with running_services(images=20, labeler=SHARED, start_trainer=False) as services:
        yield services


@pytest.fixture
def suggesting(swept: Services, annotator: str) -> Iterator[Services]:
    """A labeler whose queue begins with ten images that are suggested to be green."""
    train = [each["id"] for each in swept.get("/api/images")["images"] if each["split"] == "train"]
    post(swept, "/api/queries", pushed(swept, train[:10], {"green": 0.7, "red": 0.2}, "torn"))
    yield swept
    take_all_back(swept, annotator)


@pytest.fixture
def swiped(suggesting: Services, open_card: Callable[[Services], Card]) -> Card:
    return open_card(suggesting)


class Finger:
    """A finger: sends real touches over the browser's own protocol."""

    def __init__(self, card: Card) -> None:
        self.devtools: CDPSession = card.page.context.new_cdp_session(card.page)
        box = card.part("stage").bounding_box()
        assert box is not None
        self.x, self.y = box["x"] + box["width"] / 2, box["y"] + 60

    def down(self, *ways: float) -> None:
        """Put down one finger at each of these offsets from the middle of the image."""
        self._send("touchStart", ways)

    def move(self, *ways: float) -> None:
        self._send("touchMove", ways)

    def up(self) -> None:
        self._send("touchEnd", ())

    def sweep(self, way: float) -> None:
        self.down(0)
        for step in range(1, 6):
            self.move(way * step / 5)
        self.up()

    def _send(self, kind: str, ways: tuple[float, ...]) -> None:
        points = [{"x": self.x + way, "y": self.y, "id": number} for number, way in enumerate(ways)]
        self.devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def tap(self, button: Locator) -> None:
        """In the middle of it, at once."""
        box = button.bounding_box()
        assert box is not None
        point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for kind, points in (("touchStart", [point]), ("touchEnd", [])):
            self.devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def test_everything_fits_and_is_as_large_as_a_finger(swiped: Card) -> None:
    card = swiped
    card.key("1")
    card.page.keyboard.press("n")
    assert card.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    expect(card.page.locator(".classes kbd").first).to_be_hidden()  # there are none to press
    controls = card.part("card").locator("button:visible, input:visible").all()
    assert len(controls) > 12
    for control in controls:
        box = control.bounding_box()
        assert box is not None
        assert min(box["height"], box["width"]) >= FINGER, control
    for part in (card.part("stage"), card.class_button(CLASSES[-1])):
        expect(part).to_be_in_viewport(ratio=1)


def test_trouble_moves_nothing_under_the_finger(swiped: Card) -> None:
    card = swiped
    learning = {"state": "training", "last_error": None}
    card.hear({"trainer": learning, "outbox": {"pending": 0, "oldest_seconds": None, "last_error": None}})
    expect(card.part("error")).to_be_hidden()
    Finger(card).tap(card.part("stage"))  # somebody labels
    before = place(card)
    card.hear({"trainer": {**learning, "last_error": "The disk is full. " * 9}})
    expect(card.part("error")).to_be_in_viewport(ratio=1)
    assert place(card) == pytest.approx(before, abs=1)  # a page scrolls by whole pixels
    card.hear({"trainer": learning})
    expect(card.part("error")).to_be_hidden()
    assert place(card) == pytest.approx(before, abs=1)


def place(card: Card) -> float:
    """Where the first class is in the window."""
    box = card.part("class").first.bounding_box()
    assert box is not None
    return box["y"]


def test_a_swipe_accepts_the_suggestion_or_skips(suggesting: Services, swiped: Card) -> None:
    card = swiped
    finger, sweep = Finger(card), card.part("sweep")
    taken = card.image_id
    finger.down(0)
    finger.move(60)
    expect(sweep).to_have_text("green")
    finger.up()  # too short a way
    expect(sweep).to_be_hidden()
    assert card.image_id == taken
    finger.sweep(120)
    expect(card.part("stage")).not_to_have_attribute("data-image-id", str(taken))
    card.wait_for_image()
    skipped = card.image_id
    finger.sweep(-120)
    expect(card.part("stage")).not_to_have_attribute("data-image-id", str(skipped))
    card.wait_saved()
    rows = suggesting.get("/api/annotations")["annotations"][-2:]
    assert [(row["action"], row["image_id"], row["label"]) for row in rows] == [
        ("label", taken, class_ids(suggesting)["green"]),
        ("skip", skipped, None),
    ]


def test_a_tap_right_after_a_quick_swipe_counts(suggesting: Services, swiped: Card) -> None:
    card, classes = swiped, class_ids(suggesting)
    finger, red = Finger(card), card.class_button("red")
    for _ in range(4):
        for answer in (lambda: finger.sweep(120), lambda: finger.tap(red)):
            shown = card.image_id
            answer()
            expect(card.part("stage")).not_to_have_attribute("data-image-id", str(shown))
            card.wait_for_image()
    card.wait_saved()
    given = [row["label"] for row in rows_of(suggesting, card.annotator)]
    assert given == [classes["green"], classes["red"]] * 4


def test_two_fingers_zoom_and_then_one_moves_the_image(swiped: Card) -> None:
    card = swiped
    image, finger = card.part("stage").locator("img"), Finger(card)
    before = image.bounding_box()
    finger.down(-30, 30)
    finger.move(-30, 60)
    finger.move(-60, 60)
    finger.up()
    closer = image.bounding_box()
    assert before is not None
    assert closer is not None
    assert closer["width"] == pytest.approx(2 * before["width"], rel=0.02)
    finger.sweep(-150)
    moved = image.bounding_box()
    assert moved is not None
    assert moved["x"] < closer["x"] - 100
    assert card.recorded["answers"] == []
