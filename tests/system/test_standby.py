"""Two labelers on one PostgreSQL database: one writes, and the other takes over when it is killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from tests.postgresql import server
from tests.services import Process, wait_for, write_photos


def labeler(tmp: Path, name: str, database: str) -> Process:
    settings: dict[str, Any] = {
        "workspace": tmp / name,
        "images": tmp / "photos",
        "classes": '["zero", "one"]',
        "test_set_frac": 0.0,
        "database_url": database,
        "trainer_url": "http://127.0.0.1:9",
        "lease_seconds": 600,
    }
    return Process("labeler", settings)


def queue(url: str, session: str, limit: int) -> list[int]:
    asked = {"annotator": session, "session": session, "limit": limit}
    return [each["image_id"] for each in httpx.get(f"{url}/api/queue", params=asked).raise_for_status().json()["items"]]


def test_a_labeler_stands_by_and_takes_over(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 12)
    database = server().new_database()
    first, second = labeler(tmp_path, "first", database), labeler(tmp_path, "second", database)
    first.start()
    try:
        wait_for(lambda: len(queue(first.url, "ann", 4)) == 4, "images")
        held = queue(first.url, "ann", 4)
        second.start(wait=False)
        wait_for(lambda: any("Labeler on standby at" in line for line in second.log), "a labeler that stands by")

        page = httpx.get(second.url)
        assert page.status_code == 503
        assert f"Label with the labeler at {first.url}" in page.text
        refused = httpx.post(f"{second.url}/api/annotations", json={"annotations": []})
        assert refused.status_code == 503
        assert refused.json()["writer"] == first.url
        assert httpx.get(f"{second.url}/api/health").status_code == 503

        ids = [f"00000000-0000-4000-8000-{number:012d}" for number in range(12)]
        answers = [
            {"id": ids[place], "image_id": image_id, "action": "label", "label": "zero", "annotator": "ann"}
            for place, image_id in enumerate(held[:2])
        ]
        httpx.post(f"{first.url}/api/annotations", json={"annotations": answers}).raise_for_status()
        still_held = queue(first.url, "ann", 4)
        first.kill()

        wait_for(lambda: any("Labeler ready at" in line for line in second.log), "the other labeler")
        again = httpx.post(f"{second.url}/api/annotations", json={"annotations": answers}).raise_for_status().json()
        assert (again["accepted"], again["duplicates"]) == (0, 2)
        assert not set(queue(second.url, "bob", 4)) & {*still_held, *held}  # what ann has on screen stays hers
        assert httpx.get(f"{second.url}/api/project").json()["images"]["labeled"] == 2

        first.start(wait=False)  # and now the first one stands by
        wait_for(lambda: any("Labeler on standby at" in line for line in first.log), "the first labeler")
    finally:
        for each in (first, second):
            if each.process is not None:
                each.kill()
