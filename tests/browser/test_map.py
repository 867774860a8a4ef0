"""The map in a real browser: a selected region opens in the grid, and no held-out image is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.card import keep_picture
from tests.browser.card import press as press_key
from tests.browser.labeler import class_ids
from tests.browser.test_pages import SCHEMES, contrast, nameless
from tests.browser.test_phone import PHONE
from tests.services import Services, running_services, wait_for

pytestmark = pytest.mark.browser
MARGIN = 12  # pixels around the whole map


@pytest.fixture(scope="module")
def taught() -> Iterator[Services]:
    """Both services over 300 images of three colours, with a model, and a third of the images held out."""
    held_out = {"test_set_frac": 0.2, "validation_set_frac": 0.15, "test_free_labels": 4, "buffer_size": 5}
    with running_services(images=300, labeler=held_out) as services:
        wait_for(lambda: services.status()["embedding"]["done"] == 300)
        services.label_at_once(60)
        wait_for(lambda: services.caught_up() and services.status()["model_version"])
        pool = [each for each in services.get("/api/images?limit=1000")["images"] if each["split"] == "train"]
        wait_for(lambda: len(services.get("/api/map")["image_ids"]) == len(pool), "the whole map")
        yield services


def open_map(page: Page, services: Services) -> Page:
    page.goto(f"{services.labeler.url}/map")
    expect(page.get_by_test_id("notice")).to_be_hidden()
    expect(page.get_by_test_id("colour-of").first).to_be_visible()
    expect(page.get_by_test_id("trainer-state")).to_contain_text("Learning")  # the bar moves the map down when it comes
    return page


def places(page: Page, map_: dict[str, Any]) -> list[tuple[float, float]]:
    """The position of each image's point on the page, while the whole map is visible."""
    box = page.get_by_test_id("map").bounding_box()
    assert box is not None
    unit = min(box["width"], box["height"]) / 2 - MARGIN
    left, top = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    return [(left + x * unit, top - y * unit) for x, y in zip(map_["x"], map_["y"], strict=True)]


def drag(page: Page, *places: tuple[float, float]) -> None:
    page.mouse.move(*places[0])
    page.mouse.down()
    for each in places[1:]:
        page.mouse.move(*each, steps=5)
    page.mouse.up()


def shown_in_the_grid(page: Page) -> set[int]:
    expect(page.get_by_test_id("tile").first.locator("img")).to_be_visible()
    ids = page.get_by_test_id("tile").evaluate_all("all => all.map(({ dataset }) => Number(dataset.imageId))")
    return set(ids)


def test_a_region_drawn_on_the_map_opens_in_the_grid(taught: Services, page: Page) -> None:
    map_ = taught.get("/api/map")
    open_map(page, taught)
    x, y = np.array(map_["x"]), np.array(map_["y"])
    middle = int(np.argmin(np.abs(x - np.median(x)) + np.abs(y - np.median(y))))
    at = places(page, map_)
    left, top = at[middle]
    drag(page, (left - 30, top - 30), (left + 30, top - 30), (left + 30, top + 30), (left - 30, top + 30))
    inside = {
        image_id
        for index, image_id in enumerate(map_["image_ids"])
        if max(abs(a - b) for a, b in zip(at[index], at[middle], strict=True)) < 29
    }
    chosen = page.get_by_test_id("open")
    expect(chosen).to_be_enabled()
    keep_picture(page, "map-lasso.png")
    chosen.click()
    expect(page.get_by_role("button", name="show all again")).to_be_visible()
    named = {int(each) for each in parse_qs(urlsplit(page.url).query)["images"][0].split(",")}
    assert inside | {map_["image_ids"][middle]} <= named < set(map_["image_ids"])
    assert shown_in_the_grid(page) <= named


def test_colours_show_label_prediction_and_uncertainty(taught: Services, page: Page) -> None:
    open_map(page, taught)
    legend, colour = page.get_by_test_id("legend"), page.get_by_test_id("colour")
    expect(legend).to_contain_text("no label")
    colour.select_option("predicted")
    expect(legend).not_to_contain_text("no prediction")
    predicted = taught.get("/api/map")["predicted"]
    for name, class_id in class_ids(taught).items():
        expect(page.get_by_role("button", name=f"Choose {name},")).to_contain_text(str(predicted.count(class_id)))
    colour.select_option("uncertainty")
    expect(legend).to_contain_text("0–20%")
    colour.select_option("predicted")
    page.get_by_role("button", name="Choose green,").click()
    green = predicted.count(class_ids(taught)["green"])
    expect(page.get_by_test_id("open")).to_have_text(f"Open {green} images in Grid")
    mark = page.get_by_role("button", name="Choose green,").locator("i")
    address = f"{taught.labeler.url}/api/classes/{class_ids(taught)['green']}"
    for own, drawn in (
        ("#12ab34", "rgb(18, 171, 52)"),
        ("", mark.evaluate("mark => getComputedStyle(mark).backgroundColor")),
    ):
        httpx.patch(address, json={"colour": own}, timeout=20).raise_for_status()
        expect(mark).to_have_css("background-color", drawn)


def test_hovering_shows_the_image_and_no_point_is_a_held_out_image(taught: Services, page: Page) -> None:
    splits = {each["id"]: each["split"] for each in taught.get("/api/images?limit=1000")["images"]}
    train = sum(split == "train" for split in splits.values())
    with page.expect_response("**/api/map") as answer:
        open_map(page, taught)
    map_, names = answer.value.json(), taught.names()
    assert {splits[image_id] for image_id in [*map_["image_ids"], *map_["next"]]} == {"train"}
    assert len(map_["image_ids"]) == train
    expect(page.get_by_test_id("map")).to_have_attribute("aria-label", f"Map of {train} images, 0 chosen")
    x, y = np.array(map_["x"]), np.array(map_["y"])
    apart = np.hypot(x[:, None] - x, y[:, None] - y) + np.diag(np.full(len(x), np.inf))
    alone = int(apart.min(axis=1).argmax())  # so that no neighbour is as near to the pointer, which has whole pixels
    page.mouse.move(*places(page, map_)[alone])
    tip = page.get_by_test_id("tip")
    expect(tip.locator("img")).to_have_js_property("complete", True)
    expect(tip).to_contain_text(names[map_["image_ids"][alone]])
    place = tip.get_attribute("style") or ""
    mirrored = map_ | {"x": [-each for each in map_["x"]]}
    turned = {
        name: each[::-1] if isinstance(each, list) and len(each) == train else each for name, each in mirrored.items()
    }
    page.route("**/api/map", lambda route: route.fulfill(json=turned))
    page.get_by_test_id("layout").dispatch_event("change")  # reads the map again, as news about labels does
    expect(tip).not_to_have_attribute("style", place)
    expect(tip).to_contain_text(names[map_["image_ids"][alone]])


def test_a_region_is_selected_and_opened_by_keyboard_alone(taught: Services, page: Page) -> None:
    open_map(page, taught)
    press = page.keyboard.press
    page.get_by_test_id("colour").dispatch_event("pointerdown")  # the list of choices is no part of the page
    page.get_by_test_id("colour").select_option("predicted")
    press("Enter")
    expect(page.get_by_test_id("message")).to_contain_text("Choose images first")
    page.get_by_test_id("next").click()
    press("Space")
    expect(page.get_by_test_id("message")).to_contain_text("A box starts here")
    press("Escape")
    for _ in range(30):
        press("Shift+ArrowLeft")
        press("Shift+ArrowUp")
    press("Space")
    expect(page.get_by_test_id("message")).to_contain_text("A box starts here")
    for _ in range(30):
        press("Shift+ArrowRight")
        press("Shift+ArrowDown")
    press("Space")
    total = len(taught.get("/api/map")["image_ids"])
    expect(page.get_by_test_id("open")).to_have_text(f"Open {total} images in Grid")
    press("Escape")
    expect(page.get_by_test_id("open")).to_be_disabled()
    whole = page.get_by_test_id("map").evaluate(DRAWN)
    press("+")
    page.wait_for_function(f"before => ({DRAWN})({MAP}) !== before", arg=whole)
    press_key(page, "à@Digit0")  # a French 0
    page.wait_for_function(f"before => ({DRAWN})({MAP}) === before", arg=whole)
    colour = page.get_by_test_id("colour-of").first
    colour.focus()
    press("Enter")
    expect(page.get_by_test_id("open")).to_be_enabled()
    expect(colour).to_be_focused()
    page.get_by_test_id("map").focus()
    press("Enter")
    assert shown_in_the_grid(page)


MAP = (
    "[...document.querySelectorAll('*')].map(each => each.shadowRoot?.querySelector('[data-testid=map]')).find(Boolean)"
)
DRAWN = "map => [...map.getRootNode().querySelectorAll('canvas')].map(each => each.toDataURL()).join()"


OPAQUE = """(canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.filter((value, index) => index % 4 === 3 && value > 200).length;
}"""


def test_a_hovered_colour_stands_out(taught: Services, page: Page) -> None:
    map_ = taught.get("/api/map")
    page.route("**/api/map", lambda route: route.fulfill(json=map_))  # a new one may come while colours are counted
    open_map(page, taught)
    points = page.locator("canvas.points")
    before = points.evaluate(OPAQUE)
    colours = page.get_by_test_id("colour-of")
    colours.nth(1).hover()
    lit = points.evaluate(OPAQUE)
    assert 0 < lit < before  # opaque pixels: the others step back
    page.get_by_test_id("message").hover()
    assert points.evaluate(OPAQUE) == before
    colours.nth(1).focus()
    assert points.evaluate(OPAQUE) == lit
    page.set_viewport_size({"width": 390, "height": 844})
    expect(colours.first).to_be_hidden()
    page.get_by_text(re.compile(r"Colours \(\d\)")).click()
    expect(colours.first).to_be_visible()


def test_a_hundred_thousand_points(taught: Services, page: Page) -> None:
    rng = np.random.default_rng(0)
    x, y = np.clip(rng.normal(0, 0.3, (2, 100_000)), -1, 1).round(4).tolist()
    columns = {"labels": rng.integers(0, 4, 100_000), "predicted": rng.integers(1, 4, 100_000)}
    many = {name: values.tolist() for name, values in columns.items()}
    many |= {"image_ids": list(range(1, 100_001)), "x": x, "y": y, "confidences": [0.7] * 100_000}
    page.route("**/api/map", lambda route: route.fulfill(json=many | {"total": 100_000, "next": [1, 2, 3]}))
    open_map(page, taught)
    page.get_by_test_id("box").click()
    box = page.get_by_test_id("map").bounding_box()
    assert box is not None
    drag(page, (box["x"] + 1, box["y"] + 1), (box["x"] + box["width"] - 1, box["y"] + box["height"] - 1))
    chosen = page.get_by_test_id("open")
    expect(chosen).to_have_text("Open the first 5,000 of 100,000 images in Grid")
    page.get_by_test_id("in").click()
    keep_picture(page, "map-100000.png")
    chosen.click()
    assert shown_in_the_grid(page)
    page.reload()  # an address that names 5,000 images is not too long
    expect(page.get_by_role("button", name="5,000 images chosen")).to_be_visible()
    assert shown_in_the_grid(page)


def test_umap_is_offered_if_installed_and_pca_is_shown_until_it_is_ready(taught: Services, page: Page) -> None:
    pca = taught.get("/api/map")
    answers = iter(
        [
            {"layouts": ["pca"]},
            {"layouts": ["pca", "umap"]},
            {"layouts": ["pca", "umap"], "computing": True, "progress": 0.25, "seconds_left": 7.0},
            {"layouts": ["pca", "umap"], "layout": "umap", "x": pca["y"], "y": pca["x"]},
            {"layouts": ["pca", "umap"], "problem": "UMAP failed: there is no room."},
        ]
    )
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(urlsplit(route.request.url).query)
        route.fulfill(json=pca | next(answers))

    page.route(re.compile(r"/api/map(\?|$)"), answer)
    layout, state = page.get_by_test_id("layout"), page.get_by_test_id("layout-state")
    open_map(page, taught)
    expect(layout).to_be_hidden()
    expect(page.get_by_test_id("umap-hint")).to_be_visible()
    page.reload()
    layout.select_option("umap")
    expect(state).to_have_text(re.compile("is being computed: about 7 s left.* PCA is shown"))
    expect(state.get_by_role("progressbar")).to_have_attribute("value", "0.25")
    expect(page.get_by_test_id("umap-hint")).to_be_hidden()
    expect(state).to_be_hidden()  # it came by itself
    page.reload()  # and the choice stays
    expect(state).to_have_text("UMAP failed: there is no room. PCA is shown.")
    assert asked == ["", "", "layout=umap", "layout=umap", "layout=umap"]


@pytest.mark.provokes_errors  # 503, then 409 until something is embedded
def test_without_a_trainer_the_map_says_so_and_appears_by_itself_later(page: Page) -> None:
    with running_services(images=60, start_trainer=False) as services:
        page.goto(f"{services.labeler.url}/map")
        expect(page.get_by_test_id("notice")).to_contain_text("The trainer cannot be reached")
        expect(page.get_by_test_id("notice")).to_contain_text("flywheel trainer")
        services.trainer.start()
        expect(page.get_by_test_id("notice")).to_be_hidden(timeout=60_000)
        expect(page.get_by_test_id("legend")).to_contain_text("no label")
        page.goto("about:blank")


def test_the_map_on_a_phone(taught: Services, page: Page) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"{taught.labeler.url}/map")
    expect(page.get_by_test_id("notice")).to_be_hidden()
    expect(page.get_by_test_id("colour-of").first).to_be_attached()
    expect(page.get_by_test_id("colour-of").first).to_be_hidden()  # the legend is folded, so that the map has room
    page.locator(".legend-box summary").click()
    expect(page.get_by_test_id("colour-of").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for name in ("lasso", "box", "in", "open"):
        box = page.get_by_test_id(name).bounding_box()
        assert box is not None
        assert box["height"] >= 44
    keep_picture(page, "map-phone.png", full_page=True)


def test_everything_on_the_map_has_contrast_and_a_name(taught: Services, page: Page) -> None:
    """WCAG 2.2 AA: 4.5 to 1; the colours of the points are measured beside their palette."""
    open_map(page, taught)
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        expect(page.locator(".stApp")).to_have_css("color-scheme", scheme)
        background = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
        # as in tests/labeler/ui/charts/test_palette.py
        assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(23, 22, 20)"}[scheme]
        for locator in (
            page.get_by_test_id("colour-of").first,
            page.get_by_test_id("colour-of").first.locator("span"),
            page.locator(".chart .help"),
            page.locator(".chart label").first,
        ):
            assert contrast(locator) >= 4.5, (scheme, locator)
        keep_picture(page, f"map-{scheme}.png")
    assert nameless(page) == []
