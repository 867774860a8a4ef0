"""The labeler's memory over ten thousand labels: `python -m benchmarks.memory`.

Both real services run. A client asks, looks and answers over HTTP like the card, with an open page that receives news,
while the trainer learns and pushes lists. It prints the resident memory of the labeler at every thousandth label. The
labeler keeps the log's state in memory, so a label costs a few hundred bytes; more growth is a leak.
"""

from __future__ import annotations

import argparse
import threading
from contextlib import suppress

import httpx
import psutil
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin

from benchmarks.machine import describe
from tests.browser.labeler import CLASSES
from tests.services import Services, running_services

EVERY = 1_000
READ_AHEAD = 17
MIB = 2**20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, default=10_000)
    options = parser.parse_args()
    print(describe("streamlit", "fastapi", "sqlalchemy"))
    with running_services(images=options.labels + 500) as services:
        threading.Thread(target=_listen, args=(services.labeler.url,), daemon=True).start()
        resident = _label(services, options.labels)
        half = len(resident) // 2  # the first half also fills caches
        grown = (resident[-1] - resident[half]) / (len(resident) - 1 - half)
        print(f"from {half * EVERY:,} labels on: {grown / MIB:+.2f} MiB a thousand labels")
        print(f"lists pushed meanwhile: {services.get('/api/project')['query_version']:,}")


def _label(services: Services, labels: int) -> list[int]:
    """Resident bytes before the first label and after every thousandth."""
    assert services.labeler.process is not None
    process = psutil.Process(services.labeler.process.pid)
    resident = []
    with httpx.Client(base_url=services.labeler.url, timeout=60) as page:
        for number in range(labels + 1):
            if number % EVERY == 0:
                resident.append(process.memory_info().rss)
                print(f"{number:6,} labels: {resident[-1] / MIB:6.1f} MiB", flush=True)
            asked = f"/api/queue?annotator=ann&session=page&limit={READ_AHEAD}"
            item = page.get(asked).raise_for_status().json()["items"][0]
            page.get(item["url"]).raise_for_status()
            answer = services.answer(item["image_id"], CLASSES[item["image_id"] % len(CLASSES)])
            page.post("/api/annotations", json={"annotations": [{**answer, "session": "page"}]}).raise_for_status()
    return resident


def _listen(url: str) -> None:
    with suppress(ConnectionClosed), connect(f"{url.replace('http', 'ws')}/api/events", origin=Origin(url)) as news:
        for _ in news:
            pass


if __name__ == "__main__":
    main()
