"""The pages around the card: the bar, progress, finish, settings, and what they say when there is nothing to show."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from tests.browser.card import Card, keep_picture
from tests.browser.labeler import CLASSES, StartLabeler, class_ids
from tests.services import Services, wait_for

pytestmark = pytest.mark.browser
OpenCard = Callable[[Services], Card]
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


def test_an_absent_trainer_is_reported_with_advice(card: Card) -> None:
    expect(card.part("trainer-state")).to_contain_text("Trainer not reachable")
    expect(card.part("error")).to_contain_text("cannot be reached")
    expect(card.part("error")).to_contain_text("start it with: flywheel trainer")
    for button in ("pause", "resume", "stop"):
        expect(card.part(button)).to_be_hidden()
    waiting = card.part("lag").inner_text()
    assert card.key("1")  # and labeling goes on
    expect(card.part("lag")).to_contain_text("waiting for the trainer")
    expect(card.part("lag")).not_to_have_text(waiting)


def test_the_bar_says_what_both_services_do(card: Card) -> None:
    """Updates as the labeler pushes them. The words for all states are tested without a browser, in tests/ui_js."""
    view = {"state": "training", "round": 2, "done": 50, "total": 200, "serving": None}
    card.hear({"challenger": view})
    expect(card.part("challenger")).to_have_text("challenger, round 2: 25%")
    expect(card.part("challenger").get_by_role("progressbar")).to_be_visible()
    card.hear({"challenger": {**view, "state": "waiting", "serving": "challenger-1"}})
    expect(card.part("challenger")).to_have_text("The challenger is the live model")
    expect(card.part("challenger").get_by_role("progressbar")).to_be_hidden()
    card.hear({"challenger": {**view, "state": "waiting"}})
    expect(card.part("challenger")).to_be_hidden()
    arrived = {"name": "vit", "done_bytes": 23_000_000, "total_bytes": 88_000_000}
    card.hear({"embedding": {"done": 0, "total": 9, "download": arrived}})
    expect(card.part("embedding")).to_have_text("downloading vit: 23.0 MB of 88.0 MB")
    trainer = {"state": "stopped", "stop_reason": "the budget of 200 labels is spent", "last_error": None}
    card.hear(
        {
            "trainer": trainer,
            "target": {"accuracy": None, "labels": 0, "minutes": 0.0},
            "accuracy": {"value": 1.0, "low": 0.2, "high": 1.0, "n": 1},
        }
    )
    expect(card.part("stopped")).to_contain_text(
        "The budget of 200 labels is spent: the model no longer learns. Labels that you give now are kept; press "
        "Resume to train on them. Finish holds the results."
    )
    expect(card.part("stopped").get_by_role("link", name="Finish")).to_have_attribute("href", "/finish")
    expect(card.page.get_by_text("label budget reached")).to_be_visible()
    expect(card.part("accuracy")).to_have_text("accuracy not measured yet: 1 of 10 labeled test images")
    card.hear({"trainer": {**trainer, "state": "training"}})
    expect(card.part("stopped")).to_be_hidden()


def test_without_classes_the_page_asks_for_them(start_labeler: StartLabeler, page: Page) -> None:
    labeler = start_labeler(12, [])  # so many that hardly ever all of them are held out
    page.goto(f"{labeler.labeler.url}/grid")
    nothing = "classes => getComputedStyle(classes, '::before').content"
    expect(page.get_by_test_id("chosen")).to_contain_text(re.compile(r"of [1-9]\d* chosen"))
    assert "No classes yet. Add them on the page Label." in page.get_by_test_id("classes").evaluate(nothing)
    page.goto(labeler.labeler.url)
    page.get_by_role("button", name="Start labeling").click()
    expect(page.get_by_text("Name at least one class.")).to_be_visible()
    page.get_by_label("One class per line").fill("cat\n dog \n\ncat's friend")
    page.get_by_role("button", name="Start labeling").click()
    expect(page.get_by_test_id("class").locator(".name")).to_have_text(["cat", "dog", "cat's friend"])
    assert list(class_ids(labeler)) == ["cat", "dog", "cat's friend"]


def test_when_everything_is_labeled_the_card_says_what_next(start_labeler: StartLabeler, open_card: OpenCard) -> None:
    card = open_card(start_labeler(3, CLASSES))
    for _ in range(2):
        card.key("1")
    card.page.keyboard.press("1")
    expect(card.part("notice")).to_contain_text("Nothing left to label")
    expect(card.part("counts")).to_have_text("3 of 3 images labeled")
    expect(card.class_button("red")).to_be_disabled()
    card.page.keyboard.press("z")  # the last one can still be taken back
    card.wait_for_image()


def test_progress_before_anything_is_measured(card: Card) -> None:
    card.page.get_by_role("link", name="Progress").click()
    expect(card.page.get_by_text("Accuracy is measured on test images")).to_be_visible()


def test_settings_show_value_source_and_meaning_and_refuse_in_words(card: Card) -> None:
    page = card.page
    page.get_by_role("link", name="Settings").click()
    expect(page.get_by_text("kept with the project")).to_be_visible()
    expect(page.get_by_text("Its settings can be seen and changed when it is back")).to_be_visible()
    expect(page.get_by_label("buffer_size")).to_have_value("10")
    expect(page.get_by_text("labels per batch. A full batch is sent at once")).to_be_visible()
    overlap = page.get_by_label("overlap")
    overlap.fill("0")
    overlap.press("Enter")
    expect(page.get_by_text("The labeler setting 'overlap' cannot be 0")).to_be_visible()
    page.get_by_text("Startup settings (read-only)").click()
    table = page.get_by_role("table")
    for words in ("display_pixels", "command line", "longest side of the image on the page Label"):
        expect(table.get_by_text(words).first).to_be_visible()


def test_the_trainers_settings_are_changed_on_the_page(pair: Services, page: Page) -> None:
    before = httpx.get(f"{pair.trainer.url}/settings", timeout=20).json()["query_strategy"]["value"]
    page.goto(f"{pair.labeler.url}/settings")
    page.get_by_label("query_strategy").click()
    page.get_by_role("option", name="badge").click()
    expect(page.get_by_text("From about a hundred labels on: uncertain and diverse").first).to_be_visible()
    expect(page.get_by_text("From: changed while running")).to_be_visible()
    assert pair.status()["strategy"] == "badge"
    httpx.patch(f"{pair.trainer.url}/settings", json={"query_strategy": before}, timeout=20).raise_for_status()
    for routes in (f"{pair.labeler.url}/api/redoc", f"{pair.trainer.url}/docs"):
        page.goto(routes)  # of which every request is looked at: none may leave this machine
        expect(page.get_by_text("/annotations").first).to_be_visible()
        assert page.url.endswith("/docs")  # the labeler's has both addresses


def test_the_whole_loop_on_the_page(pair: Services, open_card: OpenCard) -> None:
    card = open_card(pair)
    names = pair.names()
    entries = {each["id"]: each for each in pair.get("/api/images?limit=1000")["images"]}
    hints: dict[int, str] = {}
    for _ in range(120):
        hints[card.image_id] = card.part("suggestion").inner_text()
        card.key(str(CLASSES.index(pair.truth[names[card.image_id]]) + 1))
        tests = sum("measures accuracy" in hint for hint in hints.values())
        if tests >= 10 and any(hint.startswith("Suggestion") for hint in list(hints.values())[-8:]):
            break
    card.wait_saved()
    splits = {image: entries[image]["split"] for image in hints}
    assert {splits[image] for image, hint in hints.items() if hint.startswith("Suggestion")} == {"train"}
    assert all("measures accuracy" in hints[image] for image, split in splits.items() if split == "test")
    assert "test" in splits.values()
    expect(card.part("accuracy")).to_contain_text("test images)")

    page = card.page
    page.get_by_role("link", name="Progress").click()
    expect(page.get_by_text("the model is right on")).to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart").first).to_be_visible()
    expect(page.get_by_text("Classes on the test sample")).to_be_visible()
    expect(page.get_by_text("Calibration", exact=True)).to_be_visible()
    expect(page.get_by_text("Time per round")).to_be_visible()
    with page.expect_download() as curve:
        page.get_by_role("button", name="Download curve (CSV)").click()
    assert "accuracy_low_95" in Path(curve.value.path()).read_text()
    page.get_by_test_id("stVegaLiteChart").first.hover()
    with page.expect_download() as figure:
        page.get_by_role("button", name="Download as PNG").first.click()
    assert figure.value.suggested_filename.endswith(".png")
    links = page.get_by_role("region", name="Confusion matrix").get_by_role("link")
    assert re.fullmatch(r"/grid\?label=\d+&predicted=\d+", links.first.get_attribute("href") or "")
    keep_picture(page, "progress.png", full_page=True)

    page.get_by_test_id("pause").click()
    expect(page.get_by_test_id("trainer-state")).to_contain_text("Paused")
    assert pair.status()["state"] == "paused"
    page.get_by_test_id("resume").click()
    expect(page.get_by_test_id("pause")).to_be_visible()
    assert pair.status()["state"] in {"training", "waiting"}

    page.get_by_test_id("stop").click()
    expect(page.get_by_test_id("trainer-state")).to_contain_text("Trainer safely shut down")
    expect(page.get_by_text("What was saved")).to_be_visible()
    saved = pair.status()["saved"]
    for place in (saved["model"], saved["dataset"]):
        expect(page.get_by_text(place)).to_be_visible()
        assert Path(place).exists()
    expect(page.get_by_test_id("trainer-state")).to_be_in_viewport()
    keep_picture(page, "finish.png", full_page=True)
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV", exact=True).click()
    assert len(Path(download.value.path()).read_text().splitlines()) > 30


class Late:
    """What the browser hears over Streamlit's connection, held back on demand."""

    def __init__(self, page: Page) -> None:
        self._held: list[tuple[WebSocketRoute, str | bytes]] | None = None
        page.route_web_socket(re.compile("_stcore/stream"), self._connect)

    def _connect(self, browser: WebSocketRoute) -> None:
        def pass_on(message: str | bytes) -> None:
            if self._held is None:
                browser.send(message)
            else:
                self._held.append((browser, message))

        browser.connect_to_server().on_message(pass_on)

    @contextmanager
    def held(self) -> Iterator[list[tuple[WebSocketRoute, str | bytes]]]:
        """Hold messages back until the end of the block; yields those held so far."""
        self._held = held = []
        yield held
        self._held = None
        for browser, message in held:
            browser.send(message)


def test_stop_leads_to_finish_even_if_labels_arrive_meanwhile(pair: Services, page: Page) -> None:
    """The browser learns late that Python opens the next page; a redraw of the old one must not leave it empty."""
    httpx.post(f"{pair.trainer.url}/resume", timeout=20).raise_for_status()
    late = Late(page)
    page.goto(f"{pair.labeler.url}/progress")
    expect(page.get_by_test_id("stop")).to_be_visible()
    page.wait_for_timeout(5500)  # from now on, the page is redrawn at once
    with late.held():
        page.get_by_test_id("stop").click()

        def stopped() -> bool:
            page.wait_for_timeout(100)  # messages pass meanwhile
            return bool(pair.status()["state"] == "stopped")

        wait_for(stopped)
        pair.label(1)
        page.wait_for_timeout(1500)
    expect(page.get_by_text("What was saved")).to_be_visible()


def arrived(page: Page, held: list[tuple[WebSocketRoute, str | bytes]], before: int) -> None:
    """Wait until messages have come, and no more come: the page has run."""
    count = before

    def is_silent() -> bool:
        nonlocal count
        last, count = count, len(held)
        page.wait_for_timeout(500)  # messages pass meanwhile
        return before < last == len(held)

    wait_for(is_silent)


def test_a_page_that_was_left_and_opened_again_within_moments_is_whole(pair: Services, page: Page) -> None:
    """Streamlit does not send again what the browser said it has, and the browser forgets what it has not used."""
    late = Late(page)
    page.goto(pair.labeler.url)
    expect(page.get_by_test_id("stage").locator("img")).to_be_visible()
    page.wait_for_timeout(1000)
    with late.held() as held:
        for address in ("Grid", "Models", "Settings", "Label"):
            before = len(held)
            page.get_by_test_id("stTopNavLink").filter(has_text=address).click()
            arrived(page, held, before)
    expect(page.get_by_test_id("stage").locator("img")).to_be_visible()


def test_no_press_is_lost_to_a_redraw(pair: Services, page: Page) -> None:
    httpx.post(f"{pair.trainer.url}/resume", timeout=20).raise_for_status()
    page.goto(f"{pair.labeler.url}/settings")
    press = """(button, after) => {
        const name = button.getRootNode().querySelector("[data-testid=name]");
        button.click();
        setTimeout(() => {
            name.value = `ann${after}`;
            name.dispatchEvent(new Event("change")); // draws the page anew
        }, after);
    }"""
    for after in (0, 4, 8, 12, 16, 24):
        for button, then in (("pause", "resume"), ("resume", "pause")):
            page.get_by_test_id(button).evaluate(press, after)
            expect(page.get_by_test_id(then)).to_be_visible()


def test_a_press_that_was_lost_is_repeated(pair: Services, page: Page) -> None:
    lost: list[str | bytes] = []

    def connect(browser: WebSocketRoute) -> None:
        server = browser.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            if not lost and isinstance(message, bytes) and b'"pause"' in message:
                lost.append(message)
            else:
                server.send(message)

        browser.on_message(pass_on)

    httpx.post(f"{pair.trainer.url}/resume", timeout=20).raise_for_status()
    page.route_web_socket(re.compile("_stcore/stream"), connect)
    page.goto(f"{pair.labeler.url}/settings")
    page.get_by_test_id("pause").click()

    def paused() -> bool:
        page.wait_for_timeout(100)  # messages pass meanwhile
        return bool(lost and pair.status()["state"] == "paused")

    wait_for(paused)
    expect(page.get_by_test_id("resume")).to_be_visible()


def test_everything_on_the_card_has_contrast_and_a_name(card: Card) -> None:
    """WCAG 2.2 AA: 4.5 to 1."""
    for scheme in SCHEMES:
        card.page.emulate_media(color_scheme=scheme)
        expect(card.page.locator(".stApp")).to_have_css("color-scheme", scheme)
        for name in ("counts", "saved", "suggestion", "trainer-state", "lag", "error", "skip"):
            assert contrast(card.part(name)) >= 4.5, (scheme, name)
        for name in (".name", ".labels", "kbd"):
            assert contrast(card.class_button("red").locator(name)) >= 4.5, (scheme, name)
    assert nameless(card.page) == []
    expect(card.part("saved")).to_have_attribute("aria-live", "polite")


def nameless(page: Page) -> list[str]:
    """Elements of these roles without a name and without content."""
    roles = {"button", "textbox", "searchbox", "progressbar", "img", "combobox", "checkbox", "application"}
    lines = page.locator("body").aria_snapshot().splitlines()
    assert any(line.strip().startswith("- button ") for line in lines)
    return [line for line in lines if line.strip().removeprefix("- ").split(" [")[0] in roles]


def contrast(locator: Locator) -> float:
    """The contrast of the element's text to its background, measured on a canvas, which understands any CSS colour.

    An element that the page has just drawn anew has no colours: then the one in its place is measured.
    """
    measure = """(element) => {
          if (!element.isConnected) return null;
          const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
          const behind = [];
          for (let each = element; each; each = each.parentElement ?? each.getRootNode().host) {
            behind.unshift(getComputedStyle(each).backgroundColor);
          }
          const luminance = () => {
            const [r, g, b] = [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3).map((value) => {
              const c = value / 255;
              return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const fill = (colour) => { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); };
          behind.forEach(fill);
          const back = luminance();
          fill(getComputedStyle(element).color);
          const front = luminance();
          return (Math.max(back, front) + 0.05) / (Math.min(back, front) + 0.05);
        }"""
    ratio: float = wait_for(lambda: locator.evaluate(measure), f"{locator} in the page")
    return ratio
