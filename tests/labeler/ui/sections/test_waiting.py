"""Why a page has no new figures, on each page that says so, and how soon it shows another state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.labeler.followers import following
from tests.labeler.projects import labeler, photos
from tests.services import wait_for


def script(name: str) -> None:
    from importlib import import_module

    import_module(f"labeler.ui.{name}").page()


@pytest.mark.parametrize("name", ["progress", "data", "finish"])
def test_a_page_says_another_state_of_the_trainer_at_once_as_the_bar_does(tmp_path: Path, name: str) -> None:
    photos(tmp_path / "photos", 1)
    with following() as (follower, url), labeler(tmp_path, trainer_url=url) as service:
        follower.state = "paused"
        wait_for(lambda: (status := service.trainer.status()) and status.state == "paused", "the trainer")
        page = AppTest.from_function(script, default_timeout=60, args=(name,)).run()
        assert not page.exception
        assert ["Paused" in each.value for each in page.info].count(True) == 1
        watches = [json.loads(each.proto.json) for each in page.get("bidi_component") if "watch" in (each.key or "")]
        assert any("trainer" in each["marks"] and each["soonest"] == 0 for each in watches)


def test_while_the_first_detector_learns_the_page_says_so(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with following() as (follower, url), labeler(tmp_path, trainer_url=url, task="detection") as service:
        follower.state = "training"
        wait_for(lambda: (status := service.trainer.status()) and status.state == "training", "the trainer")
        page = AppTest.from_function(script, default_timeout=60, args=("progress",)).run()
        assert not page.exception
        assert any("The first detector is learning" in each.value for each in page.info)


def test_a_folder_of_which_no_file_can_be_used_is_not_called_empty(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(2):
        (tmp_path / "photos" / f"{number}.png").write_bytes(b"no picture")
    with labeler(tmp_path) as service:
        wait_for(lambda: service.project().rejected == 2, "the scan")
        page = AppTest.from_function(script, default_timeout=60, args=("progress",)).run()
        assert not page.exception
        assert ["2 files of the image folder cannot be used" in each.value for each in page.warning].count(True) == 1
        assert not any("No images yet" in each.value for each in page.info)
