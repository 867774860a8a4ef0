"""Take the screenshots of README and documents: `make screenshots`.

Both services run with the handwritten digits of the demo in a workspace of their own. A simulated annotator gives
enough labels for the model to suggest classes. Then a browser opens the pages, and the screenshots go to docs/images.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

HOME = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HOME))

import httpx  # noqa: E402 - the checkout first
import numpy as np  # noqa: E402
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright  # noqa: E402 - the checkout first

from benchmarks.detection import scenes  # noqa: E402
from commands.labels.annotator import Label  # noqa: E402
from commands.labels.box_person import BoxAnnotator  # noqa: E402
from commands.labels.simulate import Annotator, demo_truth  # noqa: E402
from shared.wire.imports import NamedBox, NamedBoxes  # noqa: E402
from tests.browser.card import Card, launch  # noqa: E402
from tests.services import Services, running_services, wait_for  # noqa: E402

IMAGES = HOME / "docs" / "images"
LABELS = 150
SCENES, BOXED = 60, 35  # images with boxes, and how many are answered
WRONG = 0.05  # share of the reviewed labels
DEMO = {"images": "", "classes": ""}
LOOKS_AT_MOST = 40  # images skipped until one has a suggestion; test images have none
LAPTOP = ViewportSize(width=1280, height=800)
PHONE = ViewportSize(width=390, height=844)
DRAWN_MS = 1_500  # charts fade in


def main() -> None:
    """Take all screenshots."""
    IMAGES.mkdir(exist_ok=True)
    _while_labeling()
    _while_reviewing()
    _while_boxing()


def _while_labeling() -> None:
    with running_services(images=0, labeler=DEMO, trainer={"images": ""}) as services, sync_playwright() as playwright:
        url, browser = services.labeler.url, launch(playwright)
        with _page(browser, LAPTOP, "light") as page:
            card = Card(page, url, "ann").open()
            card.page.get_by_role("button", name="Close this note").click()
            _keep(page, "label-first")
        annotator = Annotator(url, demo_truth())
        annotator.run(LABELS)
        annotator.close()
        with _page(browser, LAPTOP, "light") as page:
            _with_suggestion(Card(page, url, "ann").open())
            _keep(page, "label")
        with _page(browser, PHONE, "dark") as page:
            _with_suggestion(Card(page, url, "bob").open())
            _keep(page, "label-dark-phone")
        with _page(browser, ViewportSize(width=1280, height=1100), "light") as page:
            page.goto(f"{url}/progress")
            expect(page.get_by_test_id("stVegaLiteChart").first).to_be_visible(timeout=30_000)
            _keep(page, "progress")
        with _page(browser, LAPTOP, "light") as page:
            page.goto(f"{url}/grid?by=confidence")
            expect(page.get_by_test_id("tile").first.locator("img")).to_be_visible(timeout=30_000)
            page.get_by_test_id("all").click()
            _keep(page, "grid")
            page.goto(f"{url}/map")
            page.get_by_test_id("colour").select_option("predicted", timeout=30_000)
            expect(page.get_by_role("button", name="Choose 0,")).to_be_visible(timeout=30_000)
            _keep(page, "map")
        with _page(browser, ViewportSize(width=1280, height=1700), "light") as page:
            page.goto(f"{url}/finish")
            page.get_by_test_id("stop").click()
            expect(page.get_by_test_id("trainer-state")).to_contain_text("safely shut down", timeout=60_000)
            expect(page.get_by_text("What was saved")).to_be_visible(timeout=30_000)
            _keep(page, "finish")
        browser.close()


def _while_reviewing() -> None:
    labeler = DEMO | {"test_set_frac": 0.0}
    with (
        running_services(images=0, labeler=labeler, trainer={"images": ""}) as services,
        sync_playwright() as playwright,
    ):
        _bring_labels(services)
        browser = launch(playwright)
        with _page(browser, LAPTOP, "light") as page:
            page.goto(f"{services.labeler.url}/review")
            page.get_by_role("button", name="Close this note").click()
            expect(page.get_by_test_id("evidence").locator("img").first).to_be_visible(timeout=30_000)
            _keep(page, "review")
        browser.close()


def _bring_labels(services: Services) -> None:
    """Import all labels of the demo, some of them wrong, and wait until they are judged."""
    truth, rng = demo_truth(), np.random.default_rng(0)
    classes = sorted(set(truth.values()))
    rows = [
        {"line": line, "uri": uri, "label": str(rng.choice(classes)) if rng.random() < WRONG else label}
        for line, (uri, label) in enumerate(truth.items())
    ]
    httpx.post(f"{services.labeler.url}/api/import", json={"rows": rows}, timeout=60).raise_for_status()
    wait_for(lambda: services.get("/api/review")["labels"] == len(truth), "the review", 400)


def _while_boxing() -> None:
    """A detector learns while a simulated person boxes the digits in generated scenes."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        photos, truth = Path(folder), dict[str, Label]()
        data = scenes(SCENES)
        for number, example in enumerate(data.examples):
            (photos / f"scene-{number:03}.jpg").write_bytes(data.read(example.sha256))
            boxes = [NamedBox(label="digit", x=x, y=y, w=w, h=h) for x, y, w, h in example.boxes.tolist()]
            truth[f"scene-{number:03}.jpg"] = NamedBoxes(boxes=tuple(boxes))
        labeler = {"task": "detection", "images": photos, "classes": "digit"}
        labeler |= {"test_set_frac": 0.3, "test_free_labels": 5, "test_first_share": 0.5}  # a curve needs ten of them
        trainer = {"images": photos, "backbone": "auto"}
        with running_services(images=0, labeler=labeler, trainer=trainer) as services:
            annotator = BoxAnnotator(services.labeler.url, truth)
            annotator.run(BOXED)
            annotator.close()
            wait_for(services.caught_up, "the trainer", 120)
            wait_for(lambda: sum(len(each["boxes"]) > 2 for each in services.queue("bob", 3)), "suggested boxes", 400)
            browser = launch(playwright)
            with _page(browser, LAPTOP, "light") as page:
                card = Card(page, services.labeler.url, "ann").open()
                for _ in range(LOOKS_AT_MOST):
                    if page.get_by_text(re.compile(r"suggests [3-9] boxes")).count():
                        break
                    card.key("s")
                page.keyboard.press("Tab")
                _keep(page, "boxes")
                page.goto(f"{services.labeler.url}/grid?status=labeled")
                expect(page.get_by_test_id("tile").first.locator("svg")).to_be_visible(timeout=30_000)
                _keep(page, "boxes-grid")
            with _page(browser, ViewportSize(width=1280, height=1100), "light") as page:
                page.goto(f"{services.labeler.url}/progress")
                expect(page.get_by_test_id("stVegaLiteChart").first).to_be_visible(timeout=60_000)
                _keep(page, "boxes-progress")
            browser.close()


@contextmanager
def _page(browser: Browser, size: ViewportSize, scheme: Literal["light", "dark"]) -> Iterator[Page]:
    context = browser.new_context(viewport=size, color_scheme=scheme, has_touch=size == PHONE)
    yield context.new_page()
    context.close()


def _with_suggestion(card: Card) -> None:
    """Skip images until the model suggests a class for the one on screen."""
    card.page.get_by_role("button", name="Close this note").click()
    for _ in range(LOOKS_AT_MOST):
        if card.part("suggestion").inner_text().startswith("Suggestion"):
            return
        card.key("s")
    raise SystemExit(f"None of {LOOKS_AT_MOST} images carries a suggestion.")


def _keep(page: Page, name: str) -> None:
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0, timeout=60_000)  # what Streamlit has not drawn yet
    page.wait_for_timeout(DRAWN_MS)
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path)
    print(f"{path.relative_to(HOME)}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
