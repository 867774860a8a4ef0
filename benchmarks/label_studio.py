"""The same labels in Label Studio and in Flywheel: `python -m benchmarks.label_studio`.

Label Studio is installed from PyPI into its own environment (`--executable` names an existing one). Both serve the same
handwritten digits on this machine, one after the other, to the same Chromium. A script answers like a person, and reads
from the page when the key arrived and when the next image was painted. Label Studio needs two keys per label, the class
and Ctrl+Enter; the time counts from the second. Then it measures what ten labels do to the order of questions: for
Flywheel the time until the new order, for Label Studio whether there is one. Label Studio has none without your own
model server.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
from playwright.sync_api import Browser, sync_playwright

from benchmarks.browser import DIGITS, VIEWPORT, latencies
from benchmarks.machine import describe, p50_p95
from labeler.images.demo import write_digits
from tests.browser.card import Card, launch
from tests.services import Services, free_port, running_services, wait_for

INSTALL_SECONDS, START_SECONDS = 900, 600
USER, PASSWORD = "someone@example.org", "flywheel-benchmark"
AT_ONCE = 40  # files per upload
BETWEEN_MS = 100  # from the class key to Ctrl+Enter
BATCH = 10  # labels after which the order should change
CHOICES = "".join(f'<Choice value="{digit}" hotkey="{digit}"/>' for digit in range(10))
CONFIG = f'<View><Image name="image" value="$image"/><Choices name="class" toName="image">{CHOICES}</Choices></View>'
NEXT = """(before) => {
  const picture = [...document.querySelectorAll("img")].find((each) => each.src.startsWith("blob:"));
  return picture?.complete && picture.naturalWidth && picture.src !== before ? picture.src : false;
}"""
PAINTED = "() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executable", help="path of an installed label-studio")
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--pace", type=float, default=0.25, help="seconds between labels")
    options = parser.parse_args()
    print(describe("streamlit", "playwright"))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, sync_playwright() as playwright:
        executable = options.executable or _install(Path(folder))
        browser = launch(playwright)
        photos = sorted(write_digits(Path(folder) / "digits").glob("*.png"))[: options.labels + 5 * BATCH]
        with _label_studio(executable, Path(folder)) as client:
            project = _project(client, photos)
            key = _type_there(client, browser, project, options.labels, options.pace)
            print(f"Label Studio: key to next image painted {p50_p95(key)}, {len(key)} of {options.labels} labels")
            order = "that of the import" if _keeps_its_order(client, project) else "another than that of the import"
            print(f"Label Studio: the order of what is open is {order}")
        _here(browser, options.labels, options.pace)
        browser.close()


def _install(folder: Path) -> str:
    """Install Label Studio in its own environment; returns its executable."""
    uv = shutil.which("uv")
    if uv is None:
        raise SystemExit("Install uv first, or name a label-studio with --executable.")
    environment = folder / "environment"
    for command in (
        [uv, "venv", "--quiet", str(environment)],
        [uv, "pip", "install", "--quiet", "--python", str(environment / "bin" / "python"), "label-studio"],
    ):
        subprocess.run(command, check=True, timeout=INSTALL_SECONDS)
    return str(environment / "bin" / "label-studio")


@contextmanager
def _label_studio(executable: str, folder: Path) -> Iterator[httpx.Client]:
    """Run Label Studio in an empty folder; yields a signed-in client."""
    port = free_port()
    url = f"http://localhost:{port}"
    command = [executable, "start", "--no-browser", f"--port={port}", f"--username={USER}", f"--password={PASSWORD}"]
    calm = {"LATEST_VERSION_CHECK": "false", "COLLECT_ANALYTICS": "false", "SENTRY_DSN": ""}
    process = subprocess.Popen(
        command,
        env={**os.environ, **calm, "LABEL_STUDIO_BASE_DATA_DIR": str(folder / "data")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=url, timeout=120, follow_redirects=True, headers={"Referer": url}) as client:
            page = wait_for(lambda: client.get("/user/login/").raise_for_status(), "Label Studio", START_SECONDS).text
            print(f"Label Studio {client.get('/api/version').json()['release']}")
            found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
            assert found is not None
            form = {"csrfmiddlewaretoken": found[1], "email": USER, "password": PASSWORD}
            client.post("/user/login/", data=form).raise_for_status()
            client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
            yield client
    finally:
        process.terminate()
        process.wait(30)


def _project(client: httpx.Client, photos: list[Path]) -> int:
    made = client.post("/api/projects", json={"title": "digits", "label_config": CONFIG}).raise_for_status().json()
    for start in range(0, len(photos), AT_ONCE):
        some = photos[start : start + AT_ONCE]
        files = [(each.name, (each.name, each.read_bytes(), "image/png")) for each in some]
        client.post(f"/api/projects/{made['id']}/import", files=files).raise_for_status()
    return int(made["id"])


def _type_there(client: httpx.Client, browser: Browser, project: int, labels: int, pace: float) -> list[float]:
    """Milliseconds from Ctrl+Enter to the paint of the next image, for each saved label."""
    context = browser.new_context(viewport=VIEWPORT)
    url = str(client.base_url)
    context.add_cookies([{"name": each.name, "value": each.value or "", "url": url} for each in client.cookies.jar])
    page = context.new_page()
    page.goto(f"{client.base_url}/projects/{project}/data?labeling=1")
    page.wait_for_function(NEXT, arg="", timeout=60_000)
    page.evaluate("addEventListener('keydown', ({ timeStamp }) => (window.pressed = timeStamp), true)")
    waited = []
    for number in range(labels):
        before = page.evaluate(NEXT, "")
        page.keyboard.press(str(number % 10))
        page.wait_for_timeout(BETWEEN_MS)
        page.keyboard.press("Control+Enter")
        page.wait_for_function(NEXT, arg=before)
        page.evaluate(PAINTED)
        waited.append(float(page.evaluate("performance.now() - pressed")))
        time.sleep(pace)
    context.close()
    saved = client.get(f"/api/projects/{project}/").json()["num_tasks_with_annotations"]
    return waited[:saved]


def _keeps_its_order(client: httpx.Client, project: int) -> bool:
    """Whether the next task is the first open one of the import, as if nothing had been labeled."""
    answer = client.get("/api/tasks", params={"project": project, "page_size": 1_000}).raise_for_status()
    still_open = [int(each["id"]) for each in answer.json()["tasks"] if not each["is_labeled"]]
    return int(client.get(f"/api/projects/{project}/next").raise_for_status().json()["id"]) == min(still_open)


def _here(browser: Browser, labels: int, pace: float) -> None:
    with running_services(images=0, labeler=DIGITS, trainer={"images": ""}) as services:
        wait_for(lambda: services.status()["embedding"]["done"] > 0, "the first images")
        context = browser.new_context(viewport=VIEWPORT)
        card = Card(context.new_page(), services.labeler.url, "ann").open()
        card.type_quickly([str(number % 10) for number in range(labels)], pace)
        card.wait_saved()
        key = latencies(card.recorded)
        print(f"Flywheel: key to next image painted {p50_p95(key)}, {len(key)} of {labels} labels")
        wait_for(services.caught_up, "the trainer")
        took = []
        for _ in range(10):
            time.sleep(2)  # changes by earlier labels have arrived
            before = services.get("/api/project")["query_version"]
            started = time.monotonic()
            services.annotate([services.answer(each["image_id"], "1") for each in services.queue("bob", BATCH)])
            wait_for(partial(_has_newer, services, before), "a new order")
            took.append(1_000 * (time.monotonic() - started))
        print(f"Flywheel: {BATCH} labels to a new order {p50_p95(took)}, over {len(services.names()):,} images")
        context.close()


def _has_newer(services: Services, version: int) -> bool:
    return bool(services.get("/api/project")["query_version"] > version)


if __name__ == "__main__":
    main()
