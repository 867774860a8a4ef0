"""The pages for people who see little, use no mouse, or have a small screen.

axe-core checks names, roles and contrast by the rules of WCAG 2.2 A and AA. Tab must reach every control and show which
one has the focus. No page scrolls sideways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Locator, Page, ViewportSize, expect

from tests.browser.card import Card, keep_picture
from tests.browser.conftest import LAPTOP, watched
from tests.browser.test_pages import SCHEMES
from tests.browser.test_phone import FINGER
from tests.services import Services, running_services, wait_for

pytestmark = pytest.mark.browser
RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
OF_COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
"""Those that can find another thing in the dark theme: it changes nothing but colours."""
NARROW = ViewportSize(width=320, height=700)  # WCAG 2.2, 1.4.10: no scrolling in two dimensions down to this width
MOST_TABS = 150
PAGES = {
    "": ".stage img",
    "grid": "[data-testid=tile] img",
    "map": "[data-testid=map][aria-label]:not([aria-label^='Map of 0 '])",
    "review": "[data-testid=review]",
    "models": "[data-testid=stAlert]",
    "progress": "[data-testid=stVegaLiteChart]",
    "disagreements": "img[alt^=Image]",
    "data": "[data-testid=drop]",
    "finish": "[data-testid=stVegaLiteChart]",
    "settings": "[data-testid=stNumberInput]",
}
"""Address → what is there once the page stands."""


@pytest.fixture(scope="module")
def busy() -> Iterator[Services]:
    """Both services, with enough labels that every page has content: figures and disagreements."""
    often = {"test_set_frac": 0.3, "test_free_labels": 4, "buffer_size": 5}
    with running_services(images=200, labeler=often) as services:
        wait_for(lambda: services.status()["embedding"]["done"] == 200)
        given, others = services.label_at_once(80), {"red": "green", "green": "blue", "blue": "red"}
        settings = f"{services.labeler.url}/api/settings"
        httpx.patch(settings, json={"overlap": 2}).raise_for_status()
        services.annotate([services.answer(each["image_id"], others[each["label"]], "bob") for each in given[:3]])
        httpx.patch(settings, json={"overlap": 1}).raise_for_status()  # one answer is enough again
        wait_for(services.caught_up)
        wait_for(lambda: _test_labels(services) >= 10, "as many test labels as an accuracy needs")
        yield services


def _test_labels(services: Services) -> int:
    evaluations = services.get("/api/progress")["evaluations"]
    return int(evaluations[-1]["accuracy"]["n"]) if evaluations else 0


@pytest.fixture(scope="module")
def visitor(shared_context: BrowserContext, browser: Browser) -> Iterator[Page]:
    page = shared_context.new_page()
    yield page
    page.close()


@pytest.fixture(scope="module", params=PAGES)
def visited(busy: Services, visitor: Page, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Each page in turn, opened once for all tests that only look at it. The last test makes it narrow."""
    with watched(visitor):
        visitor.set_viewport_size(LAPTOP)
        visitor.goto(f"{busy.labeler.url}/{request.param}")
        expect(visitor.locator(PAGES[request.param]).first).to_be_visible()
        yield visitor


def labels(card: Card) -> Locator:
    for key in "1s":
        card.key(key)
    return card.part("answer").last


def opened(key: str, part: str) -> Callable[[Card], Locator]:
    def press(card: Card) -> Locator:
        card.page.keyboard.press(key)
        return card.part(part)

    return press


SIGHTS: dict[str, Callable[[Card], Locator]] = {
    "label": labels,
    "reasons": opened("r", "reasons"),
    "classes": opened("c", "class-panel"),
    "keys": opened("?", "key-table"),
    "note": opened("n", "note"),
    "guidelines": opened("g", "guide"),  # it stays open, so it comes last
}
"""Name → how to get there from the card; returns what is then to be seen. Add a sight here to have it checked."""


def violations(page: Page) -> list[str]:
    """The violations that axe-core finds, in the light and the dark theme."""
    found = []
    page.evaluate(Axe().axe_script)
    for scheme, rules in zip(SCHEMES, (RULES, OF_COLOURS), strict=True):
        page.emulate_media(color_scheme=scheme)
        expect(page.locator(".stApp")).to_have_css("color-scheme", scheme)
        for each in page.evaluate(FIND, rules):
            found += [f"{scheme}: {each['id']}: {node['html']} {node['failureSummary']}" for node in each["nodes"]]
    return found


def test_axe_finds_no_violation_on_the_card_and_its_dialogs(card: Card) -> None:
    found = {}
    for sight, come in SIGHTS.items():
        expect(come(card)).to_be_visible()
        found[sight] = violations(card.page)
        card.page.keyboard.press("Escape")
    assert found == {sight: [] for sight in SIGHTS}


def test_tab_reaches_every_control_and_shows_the_focus(visited: Page) -> None:
    page = visited
    page.evaluate(KEYBOARD)
    unseen = []
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        found = page.evaluate("keyboard.step()")
        if found is None:
            break
        if not found["shown"]:
            unseen.append(found["what"])
    assert unseen == []
    assert page.evaluate("keyboard.missed()") == []


def test_a_click_and_a_key_draw_no_frame_round_the_page(visited: Page) -> None:
    visited.mouse.click(5, 790)
    visited.keyboard.press("9")
    main = visited.locator(".stMain")
    expect(main).to_be_focused()
    expect(main).to_have_css("outline-style", "none")


def test_axe_finds_no_violation_on_any_page(visited: Page) -> None:
    assert violations(visited) == []


def test_nothing_scrolls_sideways_on_a_narrow_page(visited: Page, request: pytest.FixtureRequest) -> None:
    visited.set_viewport_size(NARROW)
    keep_picture(visited, f"{request.node.name}.png")
    for part in (
        "document.documentElement",
        "document.querySelector('.stMain')",
    ):
        # A figure is drawn anew for the width a moment later.
        visited.wait_for_function(f"most => {part}.scrollWidth <= most", arg=NARROW["width"])
    assert visited.evaluate(SMALL, FINGER) == []
    if request.node.callspec.params["visited"] in ("", "grid", "review"):  # a page that is shown larger has a keyboard
        expect(visited.locator(".classes kbd").first).to_be_visible()


# Our own controls that are lower than a finger needs. Of a check box, its label counts.
SMALL = """(least) => {
  const inside = [...document.querySelectorAll("*")].flatMap(({ shadowRoot }) => shadowRoot ?? []);
  const controls = inside.flatMap((root) => [...root.querySelectorAll("button, select, input, summary")]);
  return controls
    .map((control) => (/checkbox|radio/.test(control.type) ? control.closest("label") : control))
    .filter((control) => control.checkVisibility() && control.getBoundingClientRect().height < least)
    .map((control) => control.outerHTML.replace(/\\s+/g, " ").slice(0, 160));
}"""


# Reports of passed checks take longer than the checks.
FIND = """async (rules) =>
  (await axe.run(document, { runOnly: rules, resultTypes: ["violations"] })).violations
"""


KEYBOARD = """
window.keyboard = (() => {
  const visited = new Set();
  const OPERABLE = "button, a[href], input, select, textarea, summary, [tabindex='0']";
  const active = () => {
    let element = document.activeElement;
    while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
    return element;
  };
  const name = (element) => element.outerHTML.replace(/\\s+/g, " ").slice(0, 160);
  // What can show the focus: a line of the element itself, or of a wrapper which is drawn around it. A shade cannot:
  // Streamlit's hardly differs from the page.
  const look = (element) => {
    const looks = [];
    for (let each = element, up = 0; each && up < 4; each = each.parentElement, up++) {
      const style = getComputedStyle(each);
      const outline = style.outlineStyle === "none" ? "none" : style.outline;
      const border = style.borderWidth === "0px" ? "none" : style.borderColor;
      looks.push([outline, style.boxShadow, border].join("; "));
    }
    return looks.join(" | ");
  };
  function* all(root) {
    for (const element of root.querySelectorAll("*")) {
      if (element.matches(OPERABLE)) yield element;
      if (element.shadowRoot) yield* all(element.shadowRoot);
    }
  }
  return {
    /** What has the focus after a Tab, and whether that is to be seen; null when it has gone round. */
    async step() {
      const element = active();
      if (!element || element === document.body || visited.has(element)) return null;
      visited.add(element);
      const still = () => document.getAnimations().forEach((each) => each.finish());
      still();
      const focused = look(element);
      const there = element.parentElement.checkVisibility({ visibilityProperty: true, opacityProperty: true });
      element.blur();
      await new Promise((resolve) => setTimeout(resolve));
      still();
      const shown = there && look(element) !== focused;
      element.focus({ focusVisible: true });
      return { what: name(element), shown };
    },
    /** What can be seen and operated, and was not come to. Of a group of radio buttons one is enough. */
    missed() {
      const left = (element) =>
        element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) &&
        element.getClientRects().length && !element.disabled && element.tabIndex >= 0 && !visited.has(element) &&
        !(element.type === "radio" && [...visited].some((each) => each.name === element.name));
      return [...all(document)].filter(left).map(name);
    },
  };
})();
"""
