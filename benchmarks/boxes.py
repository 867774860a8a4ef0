"""Time from a box drawn to the box painted, with 1,000 boxes on the image: `python -m benchmarks.boxes`.

A labeler runs a detection project of generated photos. A script opens an image that has 900 boxes already, and draws
further ones with the mouse in a real Chromium. It reads from the page when the mouse button was lifted and when the new
box was painted. Then it does the same on an image without boxes, and answers images with one box each, from the key to
the next image painted.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from uuid import uuid4

from playwright.sync_api import Page, ViewportSize, sync_playwright

from benchmarks.browser import latencies
from benchmarks.machine import describe, p50_p95
from tests.browser.boxes import HEIGHT, WIDTH, Drawing, Place, write_turned_photos
from tests.browser.card import launch
from tests.browser.labeler import class_ids
from tests.services import Services, running_services

VIEWPORT = ViewportSize(width=1280, height=800)
SIDE = 60.0
"""Pixels of a box."""
WATCH = """
window.lifted = [];
window.boxed = [];
addEventListener("pointerup", (event) => lifted.push(event.timeStamp), true);
document.addEventListener("flywheel:boxed", (event) => boxed.push(event.detail));
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boxes", type=int, default=900, help="boxes that are on the image from the beginning")
    parser.add_argument("--drawn", type=int, default=100, help="boxes to draw")
    parser.add_argument("--images", type=int, default=40, help="images to answer with one box each")
    parser.add_argument("--pace", type=float, default=0.5, help="seconds before each of these answers")
    options = parser.parse_args()
    print(describe("streamlit", "playwright"))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        photos = Path(folder) / "photos"
        write_turned_photos(photos, options.images + 10)
        settings = {"task": "detection", "images": photos, "test_set_frac": 0, "validation_set_frac": 0}
        with running_services(images=0, labeler=settings, start_trainer=False) as services:
            browser = launch(playwright)
            print(f"Chromium {browser.version}, images of {WIDTH} × {HEIGHT} pixels")
            page = browser.new_page(viewport=VIEWPORT)
            page.add_init_script(WATCH)
            card = Drawing(page, services.labeler.url, "ann")
            card.open()
            crowded = card.image_id
            _answer(services, crowded, options.boxes)
            print("boxes before  drawn  box drawn to painted p50 / p95")
            page.goto(f"{card.url}/?image={crowded}")
            card.wait_for_image()
            print(f"{options.boxes:12}  {options.drawn:5}  {_draw(card, options.drawn):>30}")
            page.goto(card.url)
            card.wait_for_image()
            print(f"{0:12}  {options.drawn:5}  {_draw(card, options.drawn):>30}")
            for _ in range(options.images - 3):
                card.draw(Place(*_corner(), SIDE, SIDE))
                time.sleep(options.pace)
                card.key("Enter")
            waits = p50_p95(latencies(card.recorded), digits=1)
            print(f"{options.images - 3} images answered with Enter: key to next image painted p50 / p95 {waits}")
            browser.close()


def _answer(services: Services, image_id: int, count: int) -> None:
    """Answer with this many boxes, as an import would."""
    ids = list(class_ids(services).values())
    boxes = [
        {"label": random.choice(ids), "x": x, "y": y, "w": SIDE, "h": SIDE}
        for x, y in (_corner() for _ in range(count))
    ]
    answer = {
        "id": str(uuid4()),
        "image_id": image_id,
        "action": "label",
        "annotator": "ann",
        "answer": {"boxes": boxes},
    }
    services.annotate([answer]).raise_for_status()


def _corner() -> tuple[float, float]:
    return random.uniform(0, WIDTH - SIDE), random.uniform(0, HEIGHT - SIDE)


def _draw(card: Drawing, count: int) -> str:
    """Draw this many boxes. Returns the milliseconds from releasing the mouse button to the paint."""
    page: Page = card.page
    page.evaluate("lifted.length = boxed.length = 0")
    for _ in range(count):
        before = page.evaluate("boxed.length")
        card.draw(Place(*_corner(), SIDE, SIDE))
        page.wait_for_function("count => boxed.length > count", arg=before)
    lifted, boxed = page.evaluate("[lifted, boxed]")
    painted = [each["at"] for each in boxed]
    return p50_p95([min(at for at in painted if at > lift) - lift for lift in lifted], digits=1)


if __name__ == "__main__":
    main()
