"""A detection project in a real browser: a person draws boxes and verifies the model's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.browser.boxes import HEIGHT, SQUARE, WIDTH, Drawing, Place, boxes_of, near, suggest, write_turned_photos
from tests.browser.card import keep_picture
from tests.browser.grid import Grid
from tests.browser.labeler import SHARED, rows_of, take_all_back
from tests.browser.pages import follow
from tests.browser.test_accessibility import RULES
from tests.services import Services, running_services

pytestmark = pytest.mark.browser
IMAGES = 24
SCREEN = 5.0
"""Pixels of the original that a pixel of the screen may cover, and a half."""


@pytest.fixture(scope="module")
def boxed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    photos = tmp_path_factory.mktemp("boxes") / "photos"
    write_turned_photos(photos, IMAGES)
    settings = SHARED | {"task": "detection", "images": photos, "test_set_frac": 0, "validation_set_frac": 0}
    with running_services(images=0, labeler=settings, start_trainer=False) as services:
        yield services


@pytest.fixture
def open_drawing(page: Page, boxed: Services, annotator: str) -> Iterator[Callable[[], Drawing]]:
    def opened() -> Drawing:
        card = Drawing(page, boxed.labeler.url, annotator)
        card.open()
        return card

    yield opened
    take_all_back(boxed, annotator)


def places(services: Services, annotator: str, answer: int = -1) -> list[Place]:
    return [place for _, _, place in boxes_of(services, annotator)[answer] or []]


def test_boxes_are_drawn_in_pixels_of_the_upright_original_and_shown_again(
    open_drawing: Callable[[], Drawing], boxed: Services
) -> None:
    card = open_drawing()
    expect(card.part("task")).to_have_text("Object detection")
    expect(card.part("suggestion")).to_have_text("The model suggests boxes after five labeled images.")
    card.says("No box yet. Draw a box around every red, green or blue.")
    red, _, blue = card.colour(750, 500)
    assert red > blue + 100, "the image is on screen as it is upright"
    first = card.image_id
    card.page.keyboard.press("Enter")
    expect(card.part("message")).to_contain_text("press V for “nothing here”")
    assert card.image_id == first

    card.draw(SQUARE)
    card.says("Box 1 of 1: red")
    card.page.keyboard.press("2")  # the class of the next one
    card.click(1200, 900)
    card.click(1500, 1300)
    card.says("Box 2 of 2: green")
    card.drag(WIDTH - 100, HEIGHT - 100, WIDTH + 40, HEIGHT + 40)  # snaps to the image's edge
    card.says("Box 3 of 3: green")
    card.page.keyboard.press("z")
    card.says("2 boxes: 1 red, 1 green")
    card.page.keyboard.press("Control+Shift+z")
    card.says("3 boxes: 1 red, 2 green")
    found = Axe().run(card.page, options={"runOnly": RULES})
    assert not found.response["violations"], found.generate_report()
    keep_picture(card.page, "boxes.png")
    card.key("Enter")
    card.wait_saved()
    (answer,) = boxes_of(boxed, card.annotator)
    assert answer is not None
    assert [(name, origin) for name, origin, _ in answer] == [("red", "drawn"), ("green", "drawn"), ("green", "drawn")]
    square, clicked, corner = (place for _, _, place in answer)
    assert near(square, SQUARE, SCREEN)
    assert near(clicked, Place(1200, 900, 300, 400), SCREEN)
    assert (corner.x + corner.w, corner.y + corner.h) == (WIDTH, HEIGHT)
    expect(card.part("answer").first).to_have_text("1 red, 2 green")

    card.page.keyboard.press("v")  # nothing here
    card.wait_for_image()
    card.key("z")  # no step on this image: the card takes back the answer
    card.says("No box yet")
    card.key("ArrowLeft")
    assert card.image_id == first
    expect(card.part("suggestion")).to_contain_text("You answered 1 red, 2 green")
    card.says("3 boxes")
    card.click(700, 500)
    card.says("Box 1 of 3: red, 3")
    card.page.keyboard.press("3")
    card.says("blue")
    card.page.keyboard.press("Shift+ArrowRight")
    card.page.keyboard.press("Alt+ArrowDown")
    card.page.keyboard.press("m")
    card.says("of 4: blue")
    card.page.keyboard.press("Delete")
    card.page.keyboard.press("v")
    expect(card.part("message")).to_contain_text("Press V again to remove all 3 boxes")
    card.key("Enter")
    card.wait_saved()
    name, origin, moved = (boxes_of(boxed, card.annotator)[-1] or [])[0]
    assert (name, origin) == ("blue", "drawn")
    assert moved == Place(square.x + 10, square.y, square.w, round(square.h + 1, 2))


def test_crowded_boxes_zoom_and_unconfirmed_work(open_drawing: Callable[[], Drawing], boxed: Services) -> None:
    card = open_drawing()
    first = card.image_id
    card.draw(Place(200, 200, 1200, 1200))
    card.draw(Place(500, 500, 400, 400))  # inside the one before, which was just drawn
    card.draw(Place(600, 600, 30, 30))
    card.page.keyboard.press("Escape")
    card.click(615, 615)
    card.says("Box 3 of 3")  # the smallest
    card.page.keyboard.press("Tab")  # the next one below
    card.says("Box 2 of 3")
    card.page.keyboard.press("Escape")
    card.page.keyboard.press("a")  # without a mouse
    card.says("of 4: red")
    card.page.keyboard.press("x")
    card.says("3 boxes: 3 red")

    x, y = map(round, card.at(615, 615))  # the wheel knows whole pixels
    card.page.mouse.move(x, y)
    for _ in range(6):
        card.page.mouse.wheel(0, -100)
    card.page.keyboard.down(" ")
    card.page.mouse.move(x, y)
    card.page.mouse.down()
    card.page.mouse.move(x + 60, y + 30)
    card.page.mouse.up()
    card.page.keyboard.up(" ")
    card.says("3 boxes")  # the image moved, and nothing was drawn
    card.page.mouse.move(x + 60, y + 30)
    card.page.mouse.down()
    card.page.mouse.move(x + 160, y + 130)
    card.page.mouse.up()
    card.says("of 4: red")
    card.page.keyboard.press("Escape")
    card.page.keyboard.press("Tab")  # after Esc it goes on to the controls of the page
    assert card.page.evaluate("document.activeElement !== document.body")
    card.page.reload()
    card.wait_for_image()
    assert card.image_id == first
    card.says("4 boxes: 4 red")
    card.key("Enter")
    card.wait_saved()
    closer = places(boxed, card.annotator)[3]
    factor = 1.25**6
    frame = card.page.locator(".picture").bounding_box()
    assert frame is not None
    scale = min(frame["width"] / WIDTH, frame["height"] / HEIGHT) * factor
    assert near(closer, Place(615, 615, 100 / scale, 100 / scale), SCREEN)
    assert closer.w == pytest.approx(100 / scale, abs=0.5)


def test_enter_confirms_the_boxes_and_follows_no_focused_link(
    open_drawing: Callable[[], Drawing], boxed: Services
) -> None:
    card = open_drawing()
    follow(card.page, "grid")
    follow(card.page, "")
    card.wait_for_image()
    card.page.keyboard.press("Enter")
    expect(card.part("message")).to_contain_text("press V for “nothing here”")  # the link “Label” did not keep the key
    card.page.get_by_test_id("stTopNavLink").filter(has_text="Grid").focus()  # as by Tab
    card.click(100, 100)
    expect(card.part("message")).to_contain_text("Click the opposite corner")
    card.page.keyboard.press("Escape")
    expect(card.part("message")).to_have_text("")
    card.draw(SQUARE)
    card.key("Enter")
    card.wait_saved()
    assert near(places(boxed, card.annotator)[0], SQUARE, SCREEN)


def test_suggested_boxes_do_not_change_while_a_person_checks_them(
    open_drawing: Callable[[], Drawing], boxed: Services
) -> None:
    train = [each["id"] for each in boxed.get("/api/images?after=0&limit=100")["images"]]
    said = [("red", 0.9, SQUARE), ("green", 0.4, Place(1200, 800, 300, 300)), ("blue", 0.6, Place(1800, 200, 300, 300))]
    suggest(boxed, dict.fromkeys(train, said), "between red and green")
    card = open_drawing()
    first = card.image_id
    expect(card.part("suggestion")).to_contain_text("The model suggests 3 boxes")
    card.says("3 boxes: 1 red, 1 green, 1 blue. 3 suggested")
    card.page.keyboard.press("Tab")
    card.says("Box 1 of 3: green, suggested (40%)")
    newer = [("blue", 0.8, SQUARE)]
    suggest(boxed, dict.fromkeys(train, newer), "a newer list")
    card.page.wait_for_timeout(300)
    card.says("Box 1 of 3: green, suggested (40%)")
    card.page.keyboard.press("x")
    card.says("Box 1 of 2: blue, suggested (60%)")  # on to the next doubtful one
    card.page.keyboard.press("Tab")
    card.says("Box 2 of 2: red, suggested (90%)")
    keep_picture(card.page, "boxes-suggested.png")
    card.drag(900, 500, 1000, 500)  # its right edge
    card.says("Box 2 of 2: red, 4")
    card.page.keyboard.press("Tab")  # after the last one none is chosen, and Enter confirms
    card.says("2 boxes")
    assert card.key("Enter") == first
    card.wait_saved()
    answer = boxes_of(boxed, card.annotator)[-1] or []
    assert [(name, origin) for name, origin, _ in answer] == [("red", "corrected"), ("blue", "accepted")]
    assert near(answer[0][2], Place(600, 400, 400, 200), SCREEN)
    assert answer[1][2] == Place(1800, 200, 300, 300)
    card.key("Enter")  # all of the next image at once
    card.wait_saved()
    assert {origin for _, origin, _ in boxes_of(boxed, card.annotator)[-1] or []} == {"accepted"}


def test_a_finger_selects_rejects_moves_and_draws_and_a_swipe_confirms(
    open_drawing: Callable[[], Drawing], boxed: Services
) -> None:
    train = [each["id"] for each in boxed.get("/api/images?after=0&limit=100")["images"]]
    said = [("red", 0.9, SQUARE), ("green", 0.4, Place(1500, 900, 400, 400))]
    suggest(boxed, dict.fromkeys(train, said), "two boxes")
    card = open_drawing()
    finger = card.touched()
    try:
        buttons = card.page.locator(".boxing button").all()
        assert len(buttons) >= 4
        for button in buttons:
            box = button.bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) >= 44
        card.touch(finger, (1700, 1100))
        card.says("Box 1 of 2: green, suggested (40%)")
        expect(card.part("reject")).to_contain_text("Reject")
        card.part("reject").click()
        card.says("Box 1 of 1: red")  # on to the next one
        card.touch(finger, (750, 500), (850, 600), (950, 700))
        card.says("red, 300 × 200 at 8")
        card.touch(finger, (1700, 300))  # lets it go
        card.says("1 box: 1 red")
        card.touch(finger, (1700, 900))
        expect(card.part("message")).to_have_text("Tap the opposite corner.")
        card.touch(finger, (2100, 1300))
        card.says("Box 2 of 2: red")
        card.page.emulate_media(color_scheme="dark")
        found = Axe().run(card.page, options={"runOnly": RULES})
        assert not found.response["violations"], found.generate_report()
        keep_picture(card.page, "boxes-phone.png", full_page=True)
        card.touch(finger, (100, 1600), (800, 1600), (1500, 1600))
        card.wait_saved()
        (answer,) = boxes_of(boxed, card.annotator)
        assert answer is not None
        assert [(name, origin) for name, origin, _ in answer] == [("red", "corrected"), ("red", "drawn")]
        assert near(answer[0][2], Place(800, 600, 300, 200), 2 * SCREEN)
        assert near(answer[1][2], Place(1700, 900, 400, 400), 2 * SCREEN)
    finally:
        finger.send("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_the_grid_shows_boxes_and_disagreements_are_settled_over_the_image(
    page: Page, boxed: Services, annotator: str
) -> None:
    first, second = (each["id"] for each in boxed.get("/api/images?after=0&limit=2")["images"])
    red, green = (
        {"label": name, "origin": "drawn"} | place._asdict()
        for name, place in (("red", SQUARE), ("green", Place(1200, 800, 300, 300)))
    )
    settings = f"{boxed.labeler.url}/api/settings"
    httpx.patch(settings, json={"overlap": 2}).raise_for_status()
    said = [{"answer": {"boxes": some}, "label": None} for some in ([red, green], [red])]
    people = f"{annotator}-one", f"{annotator}-two"
    answers = [boxed.answer(first, "", who) | held for who, held in zip(people, said, strict=True)]
    boxed.annotate(answers).raise_for_status()
    try:
        page.goto(f"{boxed.labeler.url}/disagreements")
        expect(page.get_by_role("img", name=f"Image {first}, to be settled")).to_be_visible()
        expect(page.get_by_text("A tie on green")).to_be_visible()
        expect(page.get_by_role("button", name="All boxes")).to_have_count(0)  # these are what the first drew
        keep_picture(page, "disagreements-boxes.png")
        page.get_by_role("button", name=f"{people[1]}: 1 red").click()
        expect(page.get_by_text("Every disagreement is settled")).to_be_visible()

        grid = Grid(page, boxed, annotator).open("?status=any")
        tile = grid.tile(first)
        expect(tile).to_contain_text("1 red")
        expect(tile.locator("svg")).to_have_attribute("viewBox", f"0 0 {WIDTH} {HEIGHT}")
        expect(tile.locator("path.line")).to_have_attribute("d", "M600 400h300v200h-300z")
        assert near(shown_at(tile), SQUARE, 25.0)  # a pixel of the tile covers sixteen
        grid.tile(second).click()
        page.keyboard.press("1")
        expect(grid.part("message")).to_contain_text("Boxes are drawn one image at a time")
        page.keyboard.press("Enter")
        expect(grid.part("message")).to_contain_text("press X")
        page.keyboard.press("x")
        expect(grid.part("message")).to_have_text("1 image marked as “nothing here”.")
        assert boxes_of(boxed, annotator)[-1] == []
        keep_picture(page, "grid-boxes.png")
    finally:
        httpx.patch(settings, json={"overlap": 1}).raise_for_status()
        for who in (annotator, *people, "me"):
            take_all_back(boxed, who)


def shown_at(tile: Locator) -> Place:
    """Where the tile draws its first box, in pixels of the original."""
    found = tile.evaluate(
        """tile => {
            const [picture, box] = [tile.querySelector("img"), tile.querySelector("path.line")]
                .map((each) => each.getBoundingClientRect());
            const scale = Math.max(WIDTH / picture.width, HEIGHT / picture.height);
            const left = picture.left + (picture.width - WIDTH / scale) / 2;
            const top = picture.top + (picture.height - HEIGHT / scale) / 2;
            return [(box.left - left) * scale, (box.top - top) * scale, box.width * scale, box.height * scale];
        }""".replace("WIDTH", str(WIDTH)).replace("HEIGHT", str(HEIGHT))
    )
    return Place(*found)


@pytest.mark.provokes_errors
def test_boxes_given_while_the_labeler_is_dead_arrive_once(
    open_drawing: Callable[[], Drawing], boxed: Services
) -> None:
    card = open_drawing()
    expect(card.part("error")).to_be_visible()  # no trainer: this line moves the image down when it comes
    card.wait_ahead(2)
    boxed.labeler.kill()
    for number in range(2):
        card.draw(Place(100 + 300 * number, 100, 200, 200))
        card.key("Enter")
    expect(card.part("saved")).to_contain_text("2 labeled images kept in this browser")
    boxed.labeler.start()
    card.wait_saved()
    rows = rows_of(boxed, card.annotator)
    assert [row["id"] for row in rows] == [each["id"] for each in card.recorded["answers"]]
    for number, answer in enumerate(boxes_of(boxed, card.annotator)):
        _, _, place = (answer or [])[-1]  # after what an earlier list may have suggested
        assert near(place, Place(100 + 300 * number, 100, 200, 200), SCREEN)
