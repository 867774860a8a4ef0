"""The labeling card as a person uses it, with a record of the image on screen at each key."""

from __future__ import annotations

import os
import shutil
import time
from typing import Any, Literal

from playwright.sync_api import Browser, Locator, Page, Playwright, ViewportSize, expect

from tests.services import HOME

ARTIFACTS = HOME / "test-artifacts"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]

# A page closes before optimised code or garbage collection pays off. Without both, V8's threads do half the work, which
# saves a quarter of a page's CPU time. The next page has the same scripts: V8 knows them, unless it parses them while
# they arrive.
FLAGS += [
    "--js-flags=--no-opt --no-maglev --max-lazy --no-script-streaming --initial-heap-size=512 --min-semi-space-size=64"
]

# If several tests share a page, each adds this script, and the first one records. The script also runs on pages without
# a card, where an image may have another address.
RECORD = """
if (!window.recorded) {
  performance.setResourceTimingBufferSize(2000);
  window.recorded = { keys: [], answers: [], painted: [], refused: [], undone: [] };
  for (const name of ["answer", "painted", "refused", "undone"]) {
    const list = { answer: "answers" }[name] ?? name;
    document.addEventListener(`flywheel:${name}`, (event) => recorded[list].push(event.detail));
  }
  let known = null;
  window.stage = () => {
    const inside = (each) => each.shadowRoot?.querySelector(".stage");
    if (!known?.isConnected) known = [...document.querySelectorAll("*")].map(inside).find(Boolean);
    return known;
  };
  // Ours is the first listener of the page, so it sees the key, and the image in its place, before the card does.
  addEventListener("keydown", (event) => {
    const image = stage()?.querySelector("img");
    recorded.keys.push({ key: event.key, shown: image && Number(/images\\/(\\d+)\\//.exec(image.src)?.[1]) });
  }, true);
}
"""
HEAR = """news => {
  const live = globalThis[Symbol.for("flywheel.live")];
  live.merge = () => {};
  Object.getPrototypeOf(live).merge.call(live, news);
}"""
LOADED = """count => {
  const addresses = performance.getEntriesByType("resource").map(({ name }) => /images\\/(\\d+)\\//.exec(name)?.[1]);
  return new Set(addresses.filter(Boolean)).size >= count;
}"""
READY_MS = 30_000


def launch(playwright: Playwright) -> Browser:
    """Start the browser that `scripts/browser` installs: Debian's headless shell or Chromium, else Playwright's."""
    found = (path for name in ("chromium-headless-shell", "chromium") if (path := shutil.which(name)))
    return playwright.chromium.launch(executable_path=next(found, None), args=FLAGS)


def keep_picture(
    page: Page,
    name: str,
    *,
    full_page: bool = False,
    after_ms: float = 0,
    size: ViewportSize | None = None,
    scheme: Literal["light", "dark"] | None = None,
) -> None:
    """Save a screenshot for a person to look at, if the environment variable `PICTURES` is set. No test needs it.

    `size` and `scheme` are those of the page from then on.
    """
    if os.environ.get("PICTURES"):
        if size is not None:
            page.set_viewport_size(size)
        if scheme is not None:
            page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(after_ms)
        page.screenshot(path=ARTIFACTS / name, full_page=full_page)


def press(page: Page, key: str) -> None:
    """Press a key by Playwright's name, or as on another keyboard: `ы@KeyS` is the letter ы on the key of the S."""
    if "@" not in key:
        page.keyboard.press(key)
        return
    written, place = key.rsplit("@", 1)
    *held, character = written.split("+")
    session = page.context.new_cdp_session(page)
    sent: dict[str, Any] = {"key": character, "code": place, "windowsVirtualKeyCode": ord(place[-1])}
    sent["modifiers"] = sum({"Control": 2, "Shift": 8}[each] for each in held)
    session.send("Input.dispatchKeyEvent", {"type": "rawKeyDown" if "Control" in held else "keyDown"} | sent)
    session.send("Input.dispatchKeyEvent", {"type": "keyUp"} | sent)
    session.detach()


def arrive(page: Page, url: str, annotator: str) -> None:
    """Store the annotator's name in the browser, as an earlier visit to this labeler would."""
    if not page.url.startswith(f"{url}/"):
        page.goto(f"{url}/api/health")
    page.evaluate("name => localStorage.setItem('flywheel/annotator', name)", annotator)


class Card:
    """The card on one page. Call `open` first."""

    def __init__(self, page: Page, url: str, annotator: str) -> None:
        self.page = page
        self.url = url
        self.annotator = annotator

    def open(self) -> Card:
        arrive(self.page, self.url, self.annotator)
        self.page.add_init_script(RECORD)
        self.page.goto(self.url)
        self.wait_for_image()
        return self

    def part(self, name: str) -> Locator:
        return self.page.get_by_test_id(name)

    def wait_for_image(self) -> None:
        expect(self.part("stage").locator("img")).to_be_visible(timeout=READY_MS)
        self.page.wait_for_function("recorded.painted.at(-1)?.image_id === Number(stage()?.dataset.imageId)")

    def wait_ahead(self, images: int) -> None:
        """Wait until that many of the next images are in the browser, so that they come without the labeler."""
        self.page.wait_for_function(LOADED, arg=1 + images)

    def hear(self, news: dict[str, Any]) -> None:
        """Deliver this news to the page as if the labeler had pushed it, and ignore the real labeler's news from now
        on: its next message about an absent trainer would replace this one.
        """
        self.page.wait_for_function("globalThis[Symbol.for('flywheel.live')].project")
        self.page.evaluate(HEAR, news)

    @property
    def image_id(self) -> int:
        return int(self.part("stage").get_attribute("data-image-id") or 0)

    @property
    def recorded(self) -> dict[str, Any]:
        record: dict[str, Any] = self.page.evaluate("recorded")
        return record

    def key(self, key: str) -> int:
        """Press the key on a painted image; returns that image once the next one is painted."""
        self.wait_for_image()
        before, painted = self.image_id, self._painted
        press(self.page, key)
        self.page.wait_for_function("count => recorded.painted.length > count", arg=painted)
        return before

    def type_quickly(self, keys: list[str], seconds: float) -> None:
        """Press the keys, each at least that many seconds after the one before."""
        self.wait_for_image()
        pressed = 0.0
        for key in keys:
            time.sleep(max(0.0, pressed + seconds - time.monotonic()))
            pressed = time.monotonic()
            self.page.keyboard.press(key)

    def wait_saved(self) -> None:
        expect(self.part("saved")).to_have_text("All saved", timeout=READY_MS)

    def class_button(self, name: str) -> Locator:
        return self.part("class").filter(has=self.page.get_by_text(name, exact=True))

    @property
    def _painted(self) -> int:
        return int(self.page.evaluate("recorded.painted.length"))
