"""Time from key to next painted image, in a real Chromium during training: `python -m benchmarks.browser`.

Both real services run on the handwritten digits of the demo, with eight tabs open. A script presses keys in one of them
at human pace, and reads from the page when each key arrived and when the next image was painted. Then it types 25 keys
a second and compares the log with what was on screen at each key. Before that, it measures how long the page takes
until its image is painted, next to a Streamlit page of one line in the same browser: the difference is ours. With
`--images 100000` the pages open on that many generated images, and nothing is typed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, ViewportSize, sync_playwright

from benchmarks.machine import describe, p50_p95
from tests.browser.card import Card, arrive, launch
from tests.browser.labeler import class_ids, rows_of
from tests.services import Services, free_port, running_services, wait_for

DIGITS = {"images": "", "classes": ""}  # empty values make the labeler create its demo
VIEWPORT = ViewportSize(width=1280, height=800)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=200)
    parser.add_argument("--pace", type=float, default=0.25, help="seconds between keys of the first part")
    parser.add_argument(
        "--tabs", type=int, default=8, help="open tabs; one of them is the label page that gets the keys"
    )
    parser.add_argument("--images", type=int, default=0, help="only open the page, with this many images")
    options = parser.parse_args()
    print(describe("streamlit", "playwright", "fastapi"))
    demo = not options.images
    with (
        running_services(
            images=options.images,
            labeler=DIGITS if demo else None,
            trainer={"images": ""} if demo else None,
            start_trainer=demo,
        ) as services,
        sync_playwright() as playwright,
    ):
        browser = launch(playwright)
        print(f"Chromium {browser.version}, {services.get('/api/project')['images']['total']:,} images")
        _open(services, browser)
        if demo:
            _type(services, browser, options.keys, options.pace, options.tabs)
        browser.close()


def _open(services: Services, browser: Browser) -> None:
    """Time each visit in turn, so that a busy machine affects both."""
    with _bare_page() as bare:
        contexts = [browser.new_context(viewport=VIEWPORT) for _ in range(2)]
        for visit in ("first", "second", "third"):
            page = contexts[0].new_page()
            started = time.monotonic()
            page.goto(bare)
            page.get_by_text("ready", exact=True).wait_for()
            lines = [f"a bare Streamlit page opens in {time.monotonic() - started:.1f} s"]
            page.close()
            card = Card(contexts[1].new_page(), services.labeler.url, f"{visit} visit")
            arrive(card.page, card.url, card.annotator)
            started = time.monotonic()
            card.open()
            lines.append(f"the label page, image painted, in {time.monotonic() - started:.1f} s")
            card.page.close()
            print(f"{visit} visit: {', '.join(lines)}")


@contextmanager
def _bare_page() -> Iterator[str]:
    """The address of a Streamlit page that shows one word."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "bare.py"
        script.write_text('import streamlit as st\n\nst.markdown("ready")\n', encoding="utf-8")
        options = {"port": port, "headless": "true", "fileWatcherType": "none"}
        flags = [f"--server.{name}={value}" for name, value in options.items()]
        command = [sys.executable, "-m", "streamlit", "run", str(script), *flags, "--browser.gatherUsageStats=false"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{port}"
        try:
            wait_for(lambda: httpx.get(f"{url}/_stcore/health").is_success, "the bare page")
            yield url
        finally:
            process.terminate()
            process.wait()


def _type(services: Services, browser: Browser, keys: int, pace: float, tabs: int) -> None:
    context = browser.new_context(viewport=VIEWPORT)
    for number in range(1, tabs):  # each receives every label and list
        Card(context.new_page(), services.labeler.url, f"tab {number}").open()
    print("digits typed  keys  key to next image painted p50 / p95  not counted  lost  doubled  misplaced  rounds")
    for name, count, seconds in (("steadily", keys, pace), ("25 a second", keys, 0.04)):
        before = services.status()["round"]
        card = Card(context.new_page(), services.labeler.url, name).open()
        card.type_quickly([str(number % 9 + 1) for number in range(count)], seconds)
        card.wait_saved()
        recorded = card.recorded
        card.page.close()
        print(
            f"{name:12}  {len(recorded['keys']):4}  {p50_p95(latencies(recorded), digits=1):>36}  "
            f"{len(recorded['refused']):11}  {_faults(services, name, recorded)}  "
            f"{services.status()['round'] - before:6}"
        )


def latencies(recorded: dict[str, Any]) -> list[float]:
    """Milliseconds from each accepted key to the paint of the next image."""
    painted = [each["at"] for each in recorded["painted"]]
    after = ((answer["at"], [at for at in painted if at > answer["at"]]) for answer in recorded["answers"])
    return [min(later) - at for at, later in after if later]


def _faults(services: Services, annotator: str, recorded: dict[str, Any]) -> str:
    """Count labels that were lost, doubled, or put on an image that was not on screen when the key was pressed."""
    ids = class_ids(services)  # each class of the demo is a digit with its own key
    shown = {(key["shown"], ids[key["key"]]) for key in recorded["keys"]}
    log = [(row["image_id"], row["label"]) for row in rows_of(services, annotator)]
    lost = len(recorded["answers"]) - len({row["id"] for row in rows_of(services, annotator)})
    doubled = len(log) - len({image for image, _ in log})
    misplaced = sum(each not in shown for each in log)
    return f"{lost:4}  {doubled:7}  {misplaced:9}"


if __name__ == "__main__":
    main()
