"""Doubtful labels judged in a real browser, with both real services."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from labeler.ui.review import REFRESH_SECONDS
from tests.browser.card import RECORD, arrive, keep_picture, press
from tests.browser.labeler import delete_class, post, rows_of, take_all_back
from tests.browser.test_pages import SCHEMES, contrast
from tests.browser.test_phone import PHONE
from tests.services import Services, running_services, wait_for

pytestmark = pytest.mark.browser

WRONG = 12
IMAGES = 200  # of which enough are train images, however the splits fall, for the errors to be counted


MORE = ["amber", "black", "brown", "gold", "grey", "orange", "pink", "violet", "white"]


@contextmanager
def labeled(**more: Any) -> Iterator[Services]:
    """Both services over labeled images, all judged by the model. 12 train images have a wrong label."""
    settings = {"test_set_frac": 0.15, "validation_set_frac": 0.1, "buffer_size": 5} | more
    with running_services(images=IMAGES, labeler=settings) as services:
        wait_for(lambda: services.status()["embedding"]["done"] == IMAGES)
        rows = [{"line": n, "uri": uri, "label": label} for n, (uri, label) in enumerate(given(services).items())]
        assert not post(services, "/api/import", {"rows": rows})["rejected"]
        train = services.get("/api/project")["images"]["labeled"]
        wait_for(lambda: doubts(services)["labels"] == train)
        yield services


@pytest.fixture
def review(services: Services, page: Page, annotator: str) -> Review:
    return Review(page, services, annotator).open()


def given(services: Services) -> dict[str, str]:
    """The labels to import: the true ones, except for the first images of the train split."""
    train = [each["uri"] for each in services.get("/api/images?limit=1000")["images"] if each["split"] == "train"]
    swapped = {"red": "green", "green": "blue", "blue": "red"}
    return services.truth | {uri: swapped[services.truth[uri]] for uri in sorted(train)[:WRONG]}


class Review:
    """The review on one page. Call `open` first."""

    def __init__(self, page: Page, services: Services, annotator: str) -> None:
        self.page = page
        self.services = services
        self.annotator = annotator

    def open(self) -> Review:
        arrive(self.page, self.services.labeler.url, self.annotator)
        self.page.add_init_script(RECORD)
        self.page.goto(f"{self.services.labeler.url}/review")
        self.wait_for_image()
        return self

    def part(self, name: str) -> Locator:
        return self.page.get_by_test_id(name)

    def wait_for_image(self) -> None:
        expect(self.part("stage").locator("img")).to_be_visible(timeout=60_000)
        self.page.wait_for_function("recorded.painted.at(-1)?.image_id === Number(stage()?.dataset.imageId)")

    @property
    def image_id(self) -> int:
        return int(self.part("stage").get_attribute("data-image-id") or 0)

    def key(self, key: str) -> int:
        """Press the key on a painted image; returns that image."""
        self.wait_for_image()
        before = self.image_id
        press(self.page, key)
        expect(self.part("stage")).not_to_have_attribute("data-image-id", str(before))
        return before

    def wait_saved(self) -> None:
        expect(self.part("saved")).to_have_text("All saved")


def labels_of(services: Services) -> dict[int, str]:
    """Image id → current class."""
    table = httpx.get(f"{services.labeler.url}/api/export?format=csv", timeout=20).raise_for_status().text
    return {int(row["id"]): row["label"] for row in csv.DictReader(StringIO(table)) if row["label"]}


def doubts(services: Services) -> Any:
    return services.get("/api/review?limit=100")


@pytest.fixture(scope="module")
def looked_at() -> Iterator[Services]:
    """The services for tests that give no verdict."""
    with labeled() as services:
        yield services


@pytest.fixture
def services(looked_at: Services, annotator: str) -> Iterator[Services]:
    """`looked_at`, with no verdict when the test begins."""
    before = labels_of(looked_at)
    yield looked_at
    take_all_back(looked_at, annotator)
    assert labels_of(looked_at) == before
    wait_for(lambda: looked_at.caught_up() and doubts(looked_at)["labels"] == len(before))


def test_each_key_does_what_it_says(review: Review, services: Services) -> None:
    names = services.names()
    taken = review.key("Enter")
    kept = review.key("k")
    other = review.key("Shift+1@Digit1")  # on a French one
    removed = review.key("ч@KeyX")  # on a Russian keyboard
    unsure = review.key("ς@KeyS")
    review.wait_saved()
    said = {row["image_id"]: row for row in rows_of(services, review.annotator)}
    assert {image: row["reason"] for image, row in said.items()} == {
        taken: "fix",
        kept: "keep",
        other: "keep" if given(services)[names[other]] == "red" else "fix",
        removed: "remove",
        unsure: "unsure",
    }
    assert {row["source"] for row in said.values()} == {"review"}
    labels = labels_of(services)
    assert labels[taken] == services.truth[names[taken]]  # the first is an error, and what is proposed is right
    assert labels[kept] == given(services)[names[kept]]
    assert labels[unsure] == given(services)[names[unsure]]
    assert labels[other] == "red"
    assert removed not in labels
    expect(review.part("found")).to_contain_text(re.compile(r"^[23] errors found, "))
    expect(review.part("precision")).to_contain_text("of the last 5 verdicts found an error")
    review.page.reload()
    review.wait_for_image()
    assert not {each["image_id"] for each in doubts(services)["items"]} & said.keys()  # what was judged stays away


def test_wrong_labels_come_first(review: Review, services: Services) -> None:
    names = services.names()
    wrong = {uri for uri, label in given(services).items() if label != services.truth[uri]}
    fixed = {names[review.key("Enter")] for _ in range(WRONG)}
    review.wait_saved()
    assert len(fixed & wrong) >= WRONG - 1
    labels = labels_of(services)
    assert sum(labels[image] == services.truth[name] for image, name in names.items() if name in wrong) >= WRONG - 1


def test_undo_brings_the_image_back_one_verdict_at_a_time(review: Review, services: Services) -> None:
    before = labels_of(services)
    first, second = review.key("Enter"), review.key("Enter")
    for image in (second, first):
        review.page.keyboard.press("z")
        expect(review.part("message")).to_have_text("Undid 1 verdict.")
        expect(review.part("stage")).to_have_attribute("data-image-id", str(image))
    assert labels_of(services) == before


def test_many_proposals_are_accepted_and_undone_together(review: Review, services: Services) -> None:
    before, names = labels_of(services), services.names()
    sure = doubts(services)["acceptable"]["0.8"]
    assert 1 <= sure <= WRONG
    review.part("many").locator("select").select_option("0.8")
    expect(review.part("take-all")).to_have_text(f"Accept {sure}")
    review.part("take-all").click()
    expect(review.part("message")).to_have_text(f"{sure} proposals accepted. Undo reverts all of them.")
    after = labels_of(services)
    changed = [image for image, label in after.items() if label != before[image]]
    assert len(changed) == sure
    assert all(after[image] == services.truth[names[image]] for image in changed)
    expect(review.part("precision")).to_have_text("")  # nobody looked at them
    review.part("undo").click()
    expect(review.part("message")).to_have_text(f"Undid {sure} verdicts.")
    assert labels_of(services) == before


def test_held_out_images_never_appear(looked_at: Services, page: Page, annotator: str) -> None:
    review = Review(page, looked_at, annotator).open()
    split = {each["id"]: each["split"] for each in looked_at.get("/api/images?limit=1000")["images"]}
    assert {"validation", "test"} < set(split.values())
    for item in doubts(looked_at)["items"]:
        assert split[item["image_id"]] == "train"
        assert {split[each["image_id"]] for each in item["evidence"]} <= {"train"}
    assert split[review.image_id] == "train"


def test_the_review_fits_and_has_contrast_on_laptop_and_phone(looked_at: Services, page: Page, annotator: str) -> None:
    review = Review(page, looked_at, annotator).open()
    expect(review.part("evidence").locator("img")).not_to_have_count(0)
    for size, viewport in (("laptop", page.viewport_size), ("phone", PHONE)):
        assert viewport is not None
        page.set_viewport_size(viewport)
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            expect(page.locator(".stApp")).to_have_css("color-scheme", scheme)
            for name in ("found", "waiting", "saved", "unsure", "remove"):
                assert contrast(review.part(name)) >= 4.5, (size, scheme, name)
            for button in ("keep", "accept"):
                assert contrast(review.part(button).locator(".name")) >= 4.5, (size, scheme, button)
                assert contrast(review.part(button).locator("small")) >= 4.5, (size, scheme, button)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            keep_picture(page, f"review-{size}-{scheme}.png")


@pytest.fixture
def many_classes(services: Services, annotator: str) -> Iterator[Services]:
    """`services` with twelve classes."""
    added = [post(services, "/api/classes", {"name": name})["id"] for name in MORE]
    yield services
    take_all_back(services, annotator)
    for each in added:
        delete_class(services, each)


@pytest.fixture
def hardly_labeled() -> Iterator[Services]:
    """Both services over 60 images that have no label yet."""
    with running_services(images=60, labeler={"test_set_frac": 0.0}) as services:
        wait_for(lambda: services.status()["embedding"]["done"] == 60)
        yield services


def test_with_more_than_ten_classes_letters_choose(many_classes: Services, page: Page, annotator: str) -> None:
    services = many_classes
    review = Review(page, services, annotator).open()
    other = review.image_id
    page.keyboard.type("xyz")  # and not the proposal, nor a removal
    for key in ("Enter", "Delete"):
        page.keyboard.press(key)
        expect(review.part("message")).to_have_text("No class matches “xyz”. Press Esc to clear it.")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(review.part("key-table")).to_be_visible()
    page.keyboard.press("k")  # the keys are the dialog's
    page.keyboard.press("Escape")
    assert review.image_id == other
    review.part("many").locator("select").focus()
    page.keyboard.press("Escape")
    expect(review.part("many").locator("select")).not_to_be_focused()
    page.keyboard.type("go")
    expect(review.part("filter")).to_have_value("go")
    expect(review.part("class")).to_have_count(1)
    keep_picture(page, "review-many-laptop-light.png")
    assert review.part("filter").evaluate("field => field.clientHeight") < 60  # a line: the classes have the room
    page.keyboard.press("Enter")
    expect(review.part("stage")).not_to_have_attribute("data-image-id", str(other))
    expect(review.part("filter")).to_have_value("")
    taken, kept, removed = review.key("Enter"), review.key("Shift+K"), review.key("Shift+X")
    review.wait_saved()
    said = {row["image_id"]: row["reason"] for row in rows_of(services, annotator)}
    assert said == {other: "fix", taken: "fix", kept: "keep", removed: "remove"}
    assert labels_of(services)[other] == "gold"
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(PHONE)
    review.part("class").filter(has_text="violet").click()
    expect(review.part("found")).to_contain_text(re.compile(r"^[34] errors found, "))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    keep_picture(page, "review-many-phone-dark.png")


def test_before_the_first_doubt_the_page_says_what_is_missing_and_how_far_it_is(
    hardly_labeled: Services, page: Page, annotator: str
) -> None:
    services = hardly_labeled
    rows = [{"line": n, "uri": uri, "label": label} for n, (uri, label) in enumerate(services.truth.items())]
    post(services, "/api/import", {"rows": rows[:4]})
    review = Review(page, services, annotator)
    page.goto(f"{services.labeler.url}/review")
    expect(review.part("notice").locator("strong")).to_have_text("Needs 6 more labels", timeout=30_000)
    expect(review.part("found")).to_have_text("Needs 6 more labels")
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        expect(page.locator(".stApp")).to_have_css("color-scheme", scheme)
        keep_picture(page, f"review-needs-{scheme}.png")
    post(services, "/api/import", {"rows": rows})
    wait_for(lambda: doubts(services)["labels"] == 60)
    expect(review.part("notice").locator("strong")).to_have_text("No label is in doubt", timeout=30_000)
    expect(review.part("found")).to_have_text("No error found yet; too few labels to tell how many there are")


def test_copies_and_odd_images_open_in_the_grid(looked_at: Services, page: Page, annotator: str) -> None:
    asked: list[object] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: asked.append(frame)))
    Review(page, looked_at, annotator).open()
    page.get_by_role("button", name="Find copies and odd images").click()
    expect(page.get_by_role("heading", name="Copies and odd images")).to_be_visible()
    found = wait_for(lambda: (f := looked_at.get("/api/oddities"))["measured"] == f["total"] and f)
    lists = [found[kind] for kind in ("differing", "across", "dark", "blurred", "tiny", "extreme") if found[kind]]
    expect(page.get_by_role("link", name=re.compile(r"^[\d,]+ images? "))).to_have_count(len(lists))
    expect(page.get_by_text("There are none.")).to_have_count(0 if lists else 1)
    keep_picture(page, "review-lists.png", full_page=True)
    expect(page.locator(".st-key-watch-oddities")).to_be_attached()  # from now on it waits to be told of something
    before = len(asked)
    page.wait_for_timeout(2_500 * REFRESH_SECONDS)
    assert len(asked) == before  # all has been looked at: the page asks for nothing more


@pytest.mark.provokes_errors
def test_before_there_are_labels_the_page_says_where_they_come_from(labeler: Services, page: Page) -> None:
    page.goto(f"{labeler.labeler.url}/review")
    expect(page.get_by_test_id("notice")).to_contain_text("The trainer cannot be reached")
