"""The pages around the card: the bar, progress, finish, settings, and what they say when there is nothing to show."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Locator, Page, expect

from labeler.ui.parts.components import FOLDER
from shared import figures
from shared.wire.evaluation import Interval
from tests.browser.card import ARTIFACTS, Card
from tests.browser.labeler import CLASSES, StartLabeler, class_ids
from tests.services import Services, wait_for

pytestmark = pytest.mark.browser
OpenCard = Callable[[Services], Card]
Role = Literal["button", "textbox", "searchbox", "progressbar", "img"]
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


def test_an_absent_trainer_is_said_with_what_to_do(card: Card) -> None:
    expect(card.part("trainer-state")).to_contain_text("Trainer not reachable")
    expect(card.part("error")).to_contain_text("cannot be reached")
    expect(card.part("error")).to_contain_text("start it with: flywheel trainer")
    for button in ("pause", "resume", "stop"):
        expect(card.part(button)).to_be_hidden()
    waiting = card.part("lag").inner_text()
    assert card.key("1")  # and labeling goes on
    expect(card.part("lag")).to_contain_text("waiting for the trainer")
    expect(card.part("lag")).not_to_have_text(waiting)


@pytest.mark.parametrize(
    ("state", "serving", "said"),
    [
        ("training", "challenger-1", "round 2 of the challenger: 25%"),
        ("embedding", None, "the challenger takes over: 25%"),
        ("halted", None, "round 2 of the challenger waits: 25%"),
        ("waiting", "challenger-1", "The challenger took over"),
        ("waiting", None, ""),
    ],
)
def test_the_bar_says_in_a_few_words_what_the_challenger_does(
    card: Card, state: str, serving: str | None, said: str
) -> None:
    view = {"state": state, "round": 2, "done": 50, "total": 200, "serving": serving}
    card.hear({"challenger": view})
    expect(card.part("challenger")).to_have_text(said)
    expect(card.part("challenger")).to_be_visible(visible=bool(said))
    expect(card.part("challenger").get_by_role("progressbar")).to_be_visible(visible=state != "waiting")
    arrived = {"name": "vit", "done_bytes": 23_000_000, "total_bytes": 88_000_000}
    view = {"done": 0, "total": 9, "download": arrived}
    card.hear({"embedding": view})
    expect(card.part("embedding")).to_have_text("fetching vit: 23.0 MB of 88.0 MB")


def test_why_training_stopped_and_what_labeling_on_means_is_said_where_somebody_labels(card: Card) -> None:
    """News as the labeler pushes it: a budget that is spent, several people, a target that is reached."""
    trainer = {"state": "stopped", "stop_reason": "the budget of 200 labels is spent", "last_error": None}
    card.hear(
        {
            "trainer": trainer,
            "target": {"accuracy": None, "labels": 0, "minutes": 0.0},
            "accuracy": {"value": 1.0, "low": 0.2, "high": 1.0, "n": 1},
        }
    )
    expect(card.part("stopped")).to_contain_text(
        "The budget of 200 labels is spent: the model no longer learns. Labels that you give now are kept, and learned "
        "when you press Resume. Finish holds the results."
    )
    expect(card.part("stopped").get_by_role("link", name="Finish")).to_have_attribute("href", "/finish")
    expect(card.page.get_by_text("label budget reached")).to_be_visible()
    expect(card.part("accuracy")).to_have_text("accuracy not measured yet: 1 of 10 test labels")
    card.hear({"trainer": {**trainer, "state": "training"}})
    expect(card.part("stopped")).to_be_hidden()


def test_without_classes_the_page_asks_for_them(start_labeler: StartLabeler, page: Page) -> None:
    labeler = start_labeler(3, [])
    page.goto(f"{labeler.labeler.url}/grid")
    nothing = "classes => getComputedStyle(classes, '::before').content"
    expect(page.get_by_test_id("chosen")).to_contain_text(re.compile(r"of [123] chosen"))  # some are held out
    assert "No classes yet. Name them on the page Label." in page.get_by_test_id("classes").evaluate(nothing)
    page.goto(labeler.labeler.url)
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


def test_an_empty_folder_is_an_empty_state(start_labeler: StartLabeler, page: Page) -> None:
    page.goto(start_labeler(0, CLASSES).labeler.url)
    expect(page.get_by_test_id("notice")).to_contain_text("No images yet")


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
    for words in ("display_pixels", "command line", "longest side of the image on the card"):
        expect(table.get_by_text(words).first).to_be_visible()


def test_the_trainers_settings_are_changed_on_the_page(pair: Services, page: Page) -> None:
    page.goto(f"{pair.labeler.url}/settings")
    page.get_by_label("query_strategy").click()
    page.get_by_role("option", name="badge").click()
    expect(page.get_by_text("From about a hundred labels on: uncertain and diverse").first).to_be_visible()
    expect(page.get_by_text("From: changed while running")).to_be_visible()
    assert pair.status()["strategy"] == "badge"
    for routes in (f"{pair.labeler.url}/api/docs", f"{pair.labeler.url}/api/redoc", f"{pair.trainer.url}/docs"):
        page.goto(routes)  # of which every request is looked at: none may leave this machine
        expect(page.get_by_text("/annotations").first).to_be_visible()


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
    page.screenshot(path=ARTIFACTS / "progress.png", full_page=True)

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
    page.screenshot(path=ARTIFACTS / "finish.png", full_page=True)
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert len(Path(download.value.path()).read_text().splitlines()) > 30


def test_a_browser_says_numbers_as_python_does(page: Page) -> None:
    """Half of what the pages show is drawn in the browser, half by Python: 9 of 16 is 56.3 % on both."""
    scripts = "\n".join((FOLDER / name).read_text("utf-8") for name in ("live.js", "elements.js"))
    shares = [(right, of) for of in range(1, 130) for right in range(of + 1)]
    sizes = [1, 999, 2_640, 99_950, 100_000, 1_250_000, 21_467_000, 1_234_550_000]
    seconds = [0.2, 1, 29.5, 59.4, 60, 89, 90, 150, 210, 3_599, 5_399, 5_400, 9_000]
    said = page.evaluate(
        f"""([shares, sizes, seconds]) => {{ {scripts}
          return {{
            shares: shares.map(([right, of]) => [percent(right / of), percent(right / of, 1)]),
            accuracy: shares.map(([right, of]) => accuracyIn({{ value: right / of, low: right / of, high: 1, n: of }})),
            sizes: sizes.map(megabytes),
            seconds: seconds.map(duration),
            counts: [count(1, "image"), count(1797, "image")],
          }}; }}""",
        [shares, sizes, seconds],
    )
    assert said["shares"] == [[figures.percent(right / of), figures.percent(right / of, 1)] for right, of in shares]
    assert said["accuracy"] == [
        figures.accuracy_in_words(Interval(value=right / of, low=right / of, high=1, n=of)) for right, of in shares
    ]
    assert said["sizes"] == [figures.megabytes(size) for size in sizes]
    assert said["seconds"] == [figures.duration(each) for each in seconds]
    assert said["counts"] == [figures.many(1, "image"), figures.many(1797, "image")]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_has_contrast(card: Card, scheme: Scheme) -> None:
    """WCAG 2.2 AA: 4.5 to 1."""
    card.page.emulate_media(color_scheme=scheme)
    expect(card.page.locator(".stApp")).to_have_css("color-scheme", scheme)
    for name in ("counts", "saved", "suggestion", "trainer-state", "lag", "error", "skip"):
        assert contrast(card.part(name)) >= 4.5, name
    for name in (".name", ".labels", "kbd"):
        assert contrast(card.class_button("red").locator(name)) >= 4.5, name


def test_everything_on_the_card_has_a_name(card: Card) -> None:
    roles: tuple[Role, ...] = ("button", "textbox", "searchbox", "progressbar", "img")
    for role in roles:
        for element in card.page.get_by_role(role).all():
            assert element.aria_snapshot().strip() != f"- {role}", element
    expect(card.part("saved")).to_have_attribute("aria-live", "polite")


def contrast(locator: Locator) -> float:
    """Of the element's text against what lies behind it, measured on a canvas so that any CSS colour is understood.

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
