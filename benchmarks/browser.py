"""Key to next image painted, in a real Chromium while the trainer trains: `python -m benchmarks.browser`.

Both real services run over the handwritten digits of the demo. A script presses keys in the page at a person's pace and
reads from the page itself when each key came and when the next image was painted; then it types 25 keys a second and
compares what the log holds with what was on screen at each key. Beside it, how long the page takes to open.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from benchmarks.machine import describe, p50_p95
from tests.browser.card import Card, launch
from tests.browser.labeler import class_ids, rows_of
from tests.services import Services, running_services

DIGITS = {"images": "", "classes": ""}  # with these the labeler makes its demo


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=200)
    parser.add_argument("--pace", type=float, default=0.25, help="seconds between keys of the first part")
    options = parser.parse_args()
    print(describe("streamlit", "playwright", "fastapi"))
    with (
        running_services(images=0, labeler=DIGITS, trainer={"images": ""}) as services,
        sync_playwright() as playwright,
    ):
        browser = launch(playwright)
        print(f"Chromium {browser.version}")
        _measure(services, browser, options.keys, options.pace)
        browser.close()


def _measure(services: Services, browser: Browser, keys: int, pace: float) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    for visit in ("first", "second"):
        card = Card(context.new_page(), services.labeler.url, f"{visit} visit")
        started = time.monotonic()
        card.open()
        print(f"page usable after {time.monotonic() - started:.1f} s ({visit} visit)")
    print("digits typed  keys  key to next image painted p50 / p95  not counted  lost  doubled  misplaced  rounds")
    for name, count, seconds in (("steadily", keys, pace), ("25 a second", keys, 0.04)):
        before = services.status()["round"]
        card = Card(context.new_page(), services.labeler.url, name).open()
        card.type_quickly([str(number % 9 + 1) for number in range(count)], seconds)
        card.wait_saved()
        recorded = card.recorded
        card.page.close()
        print(
            f"{name:12}  {len(recorded['keys']):4}  {p50_p95(_latencies(recorded), digits=1):>36}  "
            f"{len(recorded['refused']):11}  {_faults(services, name, recorded)}  "
            f"{services.status()['round'] - before:6}"
        )


def _latencies(recorded: dict[str, Any]) -> list[float]:
    """Milliseconds from each key that counted to the paint of the image after it."""
    painted = [each["at"] for each in recorded["painted"]]
    after = ((answer["at"], [at for at in painted if at > answer["at"]]) for answer in recorded["answers"])
    return [min(later) - at for at, later in after if later]


def _faults(services: Services, annotator: str, recorded: dict[str, Any]) -> str:
    """Labels lost, doubled and put on an image that was not on screen at their key."""
    ids = list(class_ids(services).values())
    shown = {(key["shown"], ids[int(key["key"]) - 1]) for key in recorded["keys"]}
    log = [(row["image_id"], row["label"]) for row in rows_of(services, annotator)]
    lost = len(recorded["answers"]) - len({row["id"] for row in rows_of(services, annotator)})
    doubled = len(log) - len({image for image, _ in log})
    misplaced = sum(each not in shown for each in log)
    return f"{lost:4}  {doubled:7}  {misplaced:9}"


if __name__ == "__main__":
    main()
