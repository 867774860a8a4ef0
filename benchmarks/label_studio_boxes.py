"""The same boxes in Label Studio and in Flywheel: `python -m benchmarks.label_studio_boxes`.

As `benchmarks.label_studio`, with a box on each image. A script drags the same boxes with the mouse over the same
photos in both, one after the other, in the same Chromium. In Label Studio a key chooses the class, then the box is
dragged, and Ctrl+Enter submits; in Flywheel the box is dragged and Enter answers. The time is from that key to the next
image painted. Afterwards the stored boxes are read over HTTP and compared with those that were dragged.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.browser import VIEWPORT, latencies
from benchmarks.label_studio import AT_ONCE, NEXT, PAINTED, _install, _label_studio
from benchmarks.machine import describe, p50_p95
from tests.browser.boxes import HEIGHT, WIDTH, Drawing, Place, write_turned_photos
from tests.browser.card import launch
from tests.services import running_services

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="box" toName="image">'
    '<Label value="red" hotkey="1"/><Label value="green" hotkey="2"/></RectangleLabels></View>'
)
BETWEEN_MS = 100
SIZE = 0.1, 0.3
"""Smallest and largest side of a box, as a share of the image's."""
SHOWN = """() => {
  const picture = [...document.querySelectorAll("img")].find((each) => each.src.startsWith("blob:"));
  const { left, top, width, height } = picture.getBoundingClientRect();
  return [left, top, width, height];
}"""
Share = tuple[float, float, float, float]
"""x, y, width and height of a box as shares of the image's."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executable", help="path of an installed label-studio")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--pace", type=float, default=0.5, help="seconds before each box")
    options = parser.parse_args()
    print(describe("streamlit", "playwright"))
    draws = random.Random(0)
    boxes = [_box(draws) for _ in range(options.images)]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, sync_playwright() as playwright:
        executable = options.executable or _install(Path(folder))
        photos = Path(folder) / "photos"
        write_turned_photos(photos, options.images + 5)
        browser = launch(playwright)
        with _label_studio(executable, Path(folder)) as client:
            waited, stored = _there(client, browser, sorted(photos.iterdir()), boxes, options.pace)
        _say("Label Studio", waited, stored, boxes)
        waited, stored = _here(browser, photos, boxes, options.pace)
        _say("Flywheel", waited, stored, boxes)
        browser.close()


def _box(draws: random.Random) -> Share:
    w, h = draws.uniform(*SIZE), draws.uniform(*SIZE)
    return draws.uniform(0.02, 0.98 - w), draws.uniform(0.02, 0.98 - h), w, h


def _say(name: str, waited: list[float], stored: list[Share], boxes: list[Share]) -> None:
    off = [max(abs(a - b) for a, b in zip(*both, strict=True)) for both in zip(stored, boxes, strict=False)]
    print(
        f"{name}: key to next image painted {p50_p95(waited)}; {len(stored)} of {len(boxes)} boxes stored, off by at "
        f"most {100 * max(off, default=float('nan')):.2f} % of the image (median {100 * float(np.median(off)):.2f} %)"
    )


def _there(
    client: httpx.Client, browser: Browser, photos: list[Path], boxes: list[Share], pace: float
) -> tuple[list[float], list[Share]]:
    made = client.post("/api/projects", json={"title": "boxes", "label_config": CONFIG}).raise_for_status().json()
    project = int(made["id"])
    for start in range(0, len(photos), AT_ONCE):
        some = photos[start : start + AT_ONCE]
        files = [(each.name, (each.name, each.read_bytes(), "image/jpeg")) for each in some]
        client.post(f"/api/projects/{project}/import", files=files).raise_for_status()
    waited = []
    with _page(client, browser) as page:
        page.goto(f"{client.base_url}/projects/{project}/data?labeling=1")
        page.wait_for_function(NEXT, arg="", timeout=60_000)
        page.evaluate("addEventListener('keydown', ({ timeStamp }) => (window.pressed = timeStamp), true)")
        for box in boxes:
            before = page.evaluate(NEXT, "")
            page.wait_for_timeout(1_000 * pace)
            page.keyboard.press("1")
            _drag(page, box)
            page.wait_for_timeout(BETWEEN_MS)
            page.keyboard.press("Control+Enter")
            page.wait_for_function(NEXT, arg=before)
            page.evaluate(PAINTED)
            waited.append(float(page.evaluate("performance.now() - pressed")))
    asked: dict[str, str | int] = {"project": project, "page_size": 1_000, "fields": "all"}
    tasks = client.get("/api/tasks", params=asked).raise_for_status().json()["tasks"]
    given = [
        (result["value"], annotation["id"])
        for task in tasks
        for annotation in task["annotations"]
        for result in annotation["result"]
    ]
    given.sort(key=lambda each: each[1])  # in the order in which they were submitted
    return waited, [(v["x"] / 100, v["y"] / 100, v["width"] / 100, v["height"] / 100) for v, _ in given]


@contextmanager
def _page(client: httpx.Client, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=VIEWPORT)
    url = str(client.base_url)
    context.add_cookies([{"name": each.name, "value": each.value or "", "url": url} for each in client.cookies.jar])
    try:
        yield context.new_page()
    finally:
        context.close()


def _drag(page: Page, box: Share) -> None:
    left, top, width, height = page.evaluate(SHOWN)
    x, y, w, h = box
    page.mouse.move(left + x * width, top + y * height)
    page.mouse.down()
    page.mouse.move(left + (x + w / 2) * width, top + (y + h / 2) * height)
    page.mouse.move(left + (x + w) * width, top + (y + h) * height)
    page.mouse.up()


def _here(browser: Browser, photos: Path, boxes: list[Share], pace: float) -> tuple[list[float], list[Share]]:
    settings = {"task": "detection", "images": photos, "test_set_frac": 0, "validation_set_frac": 0}
    with running_services(images=0, labeler=settings, start_trainer=False) as services:
        context = browser.new_context(viewport=VIEWPORT)
        card = Drawing(context.new_page(), services.labeler.url, "ann")
        card.open()
        for x, y, w, h in boxes:
            time.sleep(pace)
            card.draw(Place(x * WIDTH, y * HEIGHT, w * WIDTH, h * HEIGHT))
            card.key("Enter")
        card.wait_saved()
        waited = latencies(card.recorded)
        rows = [row for row in services.rows() if row["action"] == "label"]
        context.close()
    given = [box for row in rows for box in row["answer"]["boxes"]]
    return waited, [(b["x"] / WIDTH, b["y"] / HEIGHT, b["w"] / WIDTH, b["h"] / HEIGHT) for b in given]


if __name__ == "__main__":
    main()
