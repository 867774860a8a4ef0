"""Many images at once in a real browser: which are selected and labeled, and what the page says if it cannot label."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.card import keep_picture
from tests.browser.card import press as press_key
from tests.browser.grid import Grid
from tests.browser.labeler import CLASSES, SHARED, class_ids, delete_class, post, rows_of, take_all_back
from tests.browser.test_pages import SCHEMES, contrast, nameless
from tests.browser.test_phone import PHONE
from tests.services import Services, running_services, wait_for

pytestmark = pytest.mark.browser
OpenGrid = Callable[..., Grid]


@pytest.fixture(scope="module")
def alone() -> Iterator[Services]:
    """A labeler with 90 images, none of them held out, without a trainer."""
    settings = {"classes": ",".join(CLASSES), "test_set_frac": 0, "validation_set_frac": 0, **SHARED}
    with running_services(images=90, labeler=settings, start_trainer=False) as services:
        yield services


@pytest.fixture
def own(alone: Services, annotator: str) -> Iterator[Services]:
    """`alone`, with no image labeled when the test begins."""
    yield alone
    take_all_back(alone, annotator, "bob")
    assert alone.get("/api/project")["images"]["labeled"] == 0


@pytest.fixture
def open_grid(own: Services, page: Page, annotator: str) -> OpenGrid:
    return lambda query="", **more: Grid(page, own, annotator).open(query, **more)


@pytest.fixture(scope="module")
def untaught() -> Iterator[Services]:
    """Both services over 300 images of three colours, a third of them held out."""
    held_out = {"test_set_frac": 0.2, "validation_set_frac": 0.15, "test_free_labels": 4, "buffer_size": 5}
    with running_services(images=300, labeler=held_out) as services:
        wait_for(lambda: services.status()["embedding"]["done"] == 300)
        yield services


@pytest.fixture(scope="module")
def taught(untaught: Services) -> Services:
    """`untaught`, with a model trained on 60 labels."""
    untaught.label_at_once(60)
    wait_for(lambda: untaught.caught_up() and untaught.status()["model_version"])
    return untaught


def given(services: Services, annotator: str) -> list[tuple[str, int, int | None, str | None]]:
    rows = rows_of(services, annotator)
    return [(row["action"], row["image_id"], row["label"], row["source"]) for row in rows]


def test_images_are_selected_and_labeled_by_keyboard_alone(open_grid: OpenGrid, own: Services) -> None:
    grid = open_grid()
    first = grid.ids
    press = grid.page.keyboard.press
    press("Space")
    press("ArrowRight")
    press("ArrowRight")
    press("Space")
    press("Shift+ArrowRight")
    press("Shift+ArrowRight")
    chosen = [first[0], *first[2:5]]
    assert grid.chosen == sorted(chosen)
    expect(grid.part("chosen")).to_have_text("4 of 90 chosen")
    press_key(grid.page, "Shift+2@Digit2")  # on a French keyboard
    expect(grid.part("message")).to_have_text("4 images labeled as green.")
    green = class_ids(own)["green"]
    assert sorted(given(own, grid.annotator)) == sorted(("label", each, green, "grid") for each in chosen)
    expect(grid.part("chosen")).to_have_text("0 of 86 chosen")
    assert grid.ids[0] == first[1]  # labeled images left, and the others kept their order
    press_key(grid.page, "г@KeyU")  # on a Russian one
    expect(grid.part("message")).to_have_text("Undid 4 answers.")
    expect(grid.part("chosen")).to_have_text("0 of 90 chosen")
    assert [row[0] for row in given(own, grid.annotator)] == ["label"] * 4 + ["undo"] * 4


def test_the_selection_can_be_inverted(open_grid: OpenGrid, own: Services) -> None:
    grid = open_grid()
    ids = grid.ids
    exceptions = [ids[1], ids[4]]
    for each in exceptions:
        grid.tile(each).click()
    grid.part("invert").click()
    expect(grid.part("chosen")).to_have_text("88 of 90 chosen")
    grid.class_button("red").click()
    expect(grid.part("message")).to_have_text("88 images labeled as red.")
    assert sorted(grid.ids) == sorted(exceptions)
    assert not {image for _, image, _, _ in given(own, grid.annotator)} & set(exceptions)
    grid.page.keyboard.press("a")
    grid.page.keyboard.press("f")
    expect(grid.part("notice")).to_contain_text("Nothing left to label")
    assert own.get("/api/project")["images"]["flagged"] == 2


def test_clicks_select_and_a_larger_image_links_to_its_own_address(open_grid: OpenGrid) -> None:
    grid = open_grid()
    ids = grid.ids
    grid.tile(ids[2]).click()
    grid.tile(ids[8]).click(modifiers=["Shift"])
    grid.tile(ids[5]).click()
    assert grid.chosen == sorted([*ids[2:5], *ids[6:9]])
    grid.page.keyboard.press("Escape")
    expect(grid.part("chosen")).to_have_text("0 of 90 chosen")
    grid.page.keyboard.press("1")
    expect(grid.part("message")).to_contain_text("Choose images first")
    grid.page.keyboard.press("Home")
    grid.page.keyboard.press("v")
    expect(grid.part("open-label")).to_have_attribute("href", f"/?image={ids[0]}")
    grid.page.keyboard.press("Escape")
    expect(grid.part("large")).to_be_hidden()


def test_only_visible_tiles_are_in_the_page(labeler: Services, page: Page, annotator: str) -> None:
    grid = Grid(page, labeler, annotator).open("?status=any")
    assert grid.total() == len(
        [each for each in labeler.get("/api/images?limit=1000")["images"] if each["split"] == "train"]
    )
    assert len(grid.ids) < 120 < grid.total()
    first = grid.ids
    page.keyboard.press("End")
    expect(grid.tile(first[0])).to_have_count(0)
    last = "all => Math.max(...all.map(({ dataset }) => Number(dataset.index)))"
    wait_for(lambda: grid.part("tile").evaluate_all(last) > 300)
    grid.wait_for_tiles()
    assert len(grid.ids) < 120
    page.keyboard.press("Home")
    expect(grid.tile(first[0])).to_be_visible()


def test_thumbnails_come_from_the_browsers_cache_the_second_time(open_grid: OpenGrid) -> None:
    grid = open_grid()
    page = grid.page
    pictures = grid.part("tile").locator("img")
    complete = "all => all.length > 10 && all.every(({ complete, naturalWidth }) => complete && naturalWidth)"
    wait_for(lambda: pictures.evaluate_all(complete))
    page.reload()
    grid.wait_for_tiles()
    wait_for(lambda: pictures.evaluate_all(complete))
    fetched = page.evaluate(
        "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/thumbnail'))"
        ".map(({ transferSize }) => transferSize)"
    )
    assert len(fetched) > 10
    assert set(fetched) == {0}


def test_another_persons_labels_are_corrected_on_purpose(open_grid: OpenGrid, own: Services) -> None:
    ids = class_ids(own)
    train = [each["id"] for each in own.get("/api/images?limit=1000")["images"] if each["split"] == "train"][:2]
    own.annotate([own.answer(each, "blue", "bob") for each in train]).raise_for_status()
    grid = open_grid(f"?label={ids['blue']}")
    expect(grid.part("tile")).to_have_count(2)
    expect(grid.part("status")).to_have_value("labeled")
    grid.page.keyboard.press("a")
    grid.page.keyboard.press("1")
    expect(grid.part("notice")).to_contain_text("No images match")
    assert sorted(given(own, grid.annotator)) == sorted(("settle", each, ids["red"], "grid") for each in train)
    labeled = own.get(f"/api/grid?label={ids['red']}")["image_ids"]
    assert sorted(labeled) == sorted(train)


def test_filters_and_the_url_agree(open_grid: OpenGrid, own: Services) -> None:
    named = own.get("/api/grid?search=0004")["total"]
    assert 0 < named < 12
    grid = open_grid()
    grid.wait_for_tiles()
    grid.part("search").fill("0004")
    wait_for(lambda: grid.total() == named)
    found = grid.ids
    assert grid.page.url.endswith("/grid?search=0004")
    grid.page.reload()
    grid.wait_for_tiles()
    assert grid.ids == found
    grid.part("status").select_option("flagged")
    expect(grid.part("notice")).to_contain_text("No images match")
    grid.part("everything").click()
    wait_for(lambda: grid.total() == 90)


def test_shortcuts_work_again_after_a_field_loses_the_focus(open_grid: OpenGrid, own: Services) -> None:
    grid = open_grid()
    press, message = grid.page.keyboard.press, grid.part("message")
    grid.part("search").click()
    grid.page.keyboard.type("5")
    expect(grid.part("search")).to_have_value("5")  # a digit in a field is text
    press("Enter")
    expect(grid.part("search")).not_to_be_focused()
    press("9")
    expect(message).to_have_text("No class has the key 9.")
    expect(grid.part("search")).to_have_value("5")
    grid.part("search").focus()
    grid.part("search").fill("")
    press("Escape")
    wait_for(lambda: grid.total() == 90)
    grid.part("status").dispatch_event("pointerdown")  # the list of choices is no part of the page
    grid.part("status").select_option("any")
    expect(grid.part("status")).not_to_be_focused()
    press("a")
    expect(grid.part("chosen")).to_have_text("90 of 90 chosen")
    expect(grid.part("accept")).to_contain_text("Accept 90 predictions")
    grid.part("status").focus()
    press("Escape")
    expect(grid.part("status")).not_to_be_focused()
    press("Escape")
    expect(grid.part("chosen")).to_have_text("0 of 90 chosen")
    press("?")
    expect(grid.part("key-table")).to_be_visible()
    press("Escape")
    assert given(own, grid.annotator) == []


def test_with_many_classes_letters_search_as_on_the_page_label(open_grid: OpenGrid, own: Services) -> None:
    names = [*(f"shade {letter}" for letter in "abcdefgh"), "blueish", "sea blue"]
    for name in names:
        post(own, "/api/classes", {"name": name})
    try:
        grid = open_grid()
        expect(grid.part("class")).to_have_count(13)
        press = grid.page.keyboard.press
        first, second, *_ = grid.ids
        grid.tile(first).click()
        press("s")  # looks for a class, and skips nothing
        expect(grid.part("find")).to_have_value("s")
        grid.page.keyboard.type("hade h")
        expect(grid.part("class")).to_have_count(1)
        press("Enter")
        expect(grid.part("message")).to_have_text("1 image labeled as shade h.")
        expect(grid.part("undo")).to_contain_text("Undo 1")
        grid.tile(second).click()
        grid.page.keyboard.type("zzz")
        press("Enter")
        expect(grid.part("message")).to_have_text("No class matches “zzz”. Press Esc to clear it.")
        press("Escape")
        expect(grid.part("find")).to_have_value("")
        grid.page.keyboard.type("blue")
        expect(grid.part("class").first).to_contain_text("blue")
        press("Enter")
        expect(grid.part("message")).to_have_text("1 image labeled as blue.")
        press("Shift+A")
        press("Shift+S")
        expect(grid.part("message")).to_have_text("88 images skipped.")
        press("Shift+Z")
        expect(grid.part("message")).to_have_text("Undid 88 answers.")
        ids = class_ids(own)
        labels = [(image, label) for action, image, label, _ in given(own, grid.annotator) if action == "label"]
        assert labels == [(first, ids["shade h"]), (second, ids["blue"])]
    finally:
        for name, class_id in class_ids(own).items():
            if name in names:
                delete_class(own, class_id)


@pytest.mark.provokes_errors
def test_an_impossible_view_says_why_and_what_to_do(open_grid: OpenGrid) -> None:
    grid = open_grid("?predicted=1", empty=True)
    expect(grid.part("notice")).to_contain_text("The trainer cannot be reached")
    expect(grid.part("notice")).to_contain_text("flywheel trainer")
    grid.page.get_by_text("Similar images", exact=True).click()
    expect(grid.part("groups")).to_contain_text("flywheel trainer")
    grid.part("everything").click()
    grid.wait_for_tiles()
    for query, words in [
        ("?label=x", "label is not valid"),
        ("?similar_to=99999", "no image 99999"),
        ("?nonsense=1", "nonsense"),
    ]:
        grid.open(query, empty=True)
        expect(grid.part("notice")).to_contain_text(words)


@pytest.mark.provokes_errors  # 409 until there is a model
def test_a_view_that_needs_a_model_appears_by_itself(
    untaught: Services, page: Page, request: pytest.FixtureRequest
) -> None:
    grid = Grid(page, untaught, "ann").open("?by=uncertainty", empty=True)
    expect(grid.part("notice")).to_contain_text("label images of at least two classes")
    request.getfixturevalue("taught")
    grid.wait_for_tiles()
    expect(grid.part("notice")).to_be_hidden()


@pytest.mark.provokes_errors  # an undo with nothing left to take back
def test_accepting_predictions_labels_no_held_out_image(taught: Services, page: Page, annotator: str) -> None:
    splits = {each["id"]: each["split"] for each in taught.get("/api/images?limit=1000")["images"]}
    names, ids = taught.names(), class_ids(taught)
    grid = Grid(page, taught, annotator).open(f"?predicted={ids['green']}")
    shown = grid.total()
    assert shown > 20
    grid.page.keyboard.press("a")
    keep_picture(grid.page, "grid.png")
    grid.page.keyboard.press("Enter")
    expect(grid.part("message")).to_have_text(f"{shown} images labeled as green.")
    rows = rows_of(taught, annotator)
    assert {splits[row["image_id"]] for row in rows} == {"train"}
    right = sum(taught.truth[names[row["image_id"]]] == "green" for row in rows)
    assert right > 0.9 * len(rows)
    (other,) = taught.get("/api/grid?status=unlabeled")["image_ids"][-1:]
    taught.annotate([taught.answer(other, "red", annotator)]).raise_for_status()  # on the page Label
    grid.page.reload()
    assert grid.total() == 0  # the list is there, and hears keys
    expect(grid.part("message")).to_have_text("")
    grid.page.keyboard.press("u")
    expect(grid.part("message")).to_have_text(
        f"This undoes {shown} answers given at once on the page Grid. Undo again to do that."
    )
    grid.page.keyboard.press("u")
    expect(grid.part("message")).to_have_text(f"Undid {shown} answers.")
    grid.page.keyboard.press("u")  # nothing of this person is left in the grid, and answers of the page Label stay
    expect(grid.part("message")).to_contain_text("no answer")
    assert rows_of(taught, annotator)[-1]["image_id"] != other
    wait_for(lambda: all(each["status"] == "unlabeled" for each in tiles(taught, [row["image_id"] for row in rows])))


def tiles(services: Services, image_ids: list[int]) -> list[dict[str, str]]:
    ids = ",".join(map(str, image_ids))
    return list(services.get(f"/api/grid/images?ids={ids}")["images"])


def test_a_group_is_labeled_at_once_and_similar_images_are_found(taught: Services, page: Page, annotator: str) -> None:
    names = taught.names()
    grid = Grid(page, taught, annotator).open()
    page.get_by_text("Similar images", exact=True).click()
    page.get_by_label("How many groups").select_option("10")
    grid.part("group").first.click()
    expect(page.get_by_role("button", name="show all again")).to_be_visible()
    keep_picture(page, "grid-groups.png")
    wait_for(lambda: "cluster=" in page.url)
    of_group = grid.total()
    page.get_by_role("button", name="show all again").click()
    wait_for(lambda: grid.total() > of_group)
    grid.wait_for_tiles()
    page.keyboard.press("ArrowRight")
    like = grid.ids[1]
    page.keyboard.press("m")
    expect(page.get_by_role("button", name=f"Similar to image {like}")).to_be_visible()
    wait_for(lambda: grid.ids and grid.ids[0] == like)
    found = [taught.truth[names[each]] for each in grid.ids[:12]]
    assert found.count(taught.truth[names[like]]) > 9


def test_the_grid_on_a_phone(open_grid: OpenGrid) -> None:
    grid = open_grid()
    page = grid.page
    page.set_viewport_size(PHONE)
    grid.wait_for_tiles()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    first, *_ = grid.ids
    grid.tile(first).click()
    for name in ("all", "invert", "undo", "accept"):
        box = grid.part(name).bounding_box()
        assert box is not None
        assert box["height"] >= 44
    grid.class_button("red").click()
    expect(grid.part("message")).to_have_text("1 image labeled as red.")
    keep_picture(page, "grid-phone.png", full_page=True)


def test_everything_on_the_grid_has_contrast_and_a_name(taught: Services, page: Page) -> None:
    """WCAG 2.2 AA: 4.5 to 1, and 3 to 1 for what marks a chosen tile."""
    grid = Grid(page, taught, "ann").open()
    grid.tile(grid.ids[0]).click()
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        expect(page.locator(".stApp")).to_have_css("color-scheme", scheme)
        for locator in (
            grid.part("chosen"),
            grid.part("accept"),
            grid.part("skip").locator("kbd"),
            grid.tile(grid.ids[0]).locator("p"),
            grid.tile(grid.ids[1]).locator("p"),
            grid.class_button("red").locator(".name"),
            page.locator(".filters label").first,
        ):
            assert contrast(locator) >= 4.5, (scheme, locator)
        keep_picture(page, f"grid-{scheme}.png")
    assert nameless(page) == []
    box = page.get_by_role("listbox", name="Images")
    expect(box).to_have_attribute("aria-multiselectable", "true")
    box.focus()
    page.keyboard.press("ArrowRight")
    assert box.get_attribute("aria-activedescendant") == f"tile-{grid.ids[1]}"
    expect(box.get_by_role("option").first).to_have_attribute("aria-label", re.compile(r"\.png"))
