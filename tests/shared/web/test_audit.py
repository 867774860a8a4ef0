"""The audit trail, as it is on disk after requests to both services."""

import json

import pytest
from starlette.testclient import TestClient

from labeler.web.api import create_api
from shared.web import audit
from shared.web.auth import Guard
from tests.labeler.projects import labeler, photos
from tests.trainer.learning import settings_for
from trainer.live_settings import RunningSettings


@pytest.fixture
def trail(tmp_path):
    """The lines written so far."""
    audit.keep_in(tmp_path, "labeler")
    yield lambda: [json.loads(line) for line in (tmp_path / "logs" / "labeler-audit.jsonl").read_text().splitlines()]
    for handler in audit._logger.handlers:
        handler.close()
    audit._logger.handlers = []


def test_settings_classes_and_splits_tell_who_and_from_where(tmp_path, trail):
    photos(tmp_path / "photos", 6)
    with labeler(tmp_path) as service:
        app = Guard(create_api(service), host="127.0.0.1", port=None, token=None)
        client = TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.9", 5))
        begun = len(trail())
        client.patch("/settings", json={"buffer_size": 33})
        client.patch("/settings", json={"buffer_size": 33})  # changes nothing
        client.patch("/settings", json={"port": 1})  # refused
        made = client.post("/classes", json={"name": "a\nb", "annotator": "ann"}).json()
        client.patch(f"/classes/{made['id']}", json={"name": "ab", "colour": "#112233", "annotator": "ann"})
        client.delete(f"/classes/{made['id']}", params={"annotator": "bob"})
        client.post("/splits", json={"test": 0.5, "validation": 0, "annotator": "ann"})
    settings, added, changed, deleted, drawn = trail()[begun:]
    assert settings["what"] == "labeler settings changed"
    assert settings["changes"] == {"buffer_size": [10, 33]}
    assert (added["what"], added["name"], added["by"]) == ("class added", "a\nb", "ann")
    assert changed["changes"] == {"name": "ab", "colour": "#112233"}
    assert (changed["name"], deleted["name"], deleted["by"]) == ("a\nb", "ab", "bob")
    assert drawn["what"] == "splits drawn"
    assert {line["from"] for line in (settings, added, changed, deleted, drawn)} == {"127.0.0.9"}


def test_the_trainer_tells_for_whom_the_labeler_asked(tmp_path, trail):
    (tmp_path / "photos").mkdir()
    held, sources = settings_for(tmp_path, tmp_path / "photos")
    running = RunningSettings(held, sources, lambda _: None)
    audit.begin("127.0.0.1", "192.168.1.7")
    running.change({"label_budget": 40})
    audit.begin("127.0.0.1", "=HYPERLINK(1)\n{}")  # not an address
    running.change({"label_budget": 50})
    first, second = trail()
    assert (first["from"], first["for"]) == ("127.0.0.1", "192.168.1.7")
    assert first["changes"] == {"label_budget": [0, 40]}
    assert "for" not in second


def test_what_a_page_asks_for_comes_from_whoever_has_it(trail):
    audit.begin("")
    audit.pages_come_from(lambda: "10.0.0.3")
    audit.note("something")
    audit.pages_come_from(lambda: None)
    audit.note("something else")
    first, second = trail()
    assert first["from"] == "10.0.0.3"
    assert "from" not in second
