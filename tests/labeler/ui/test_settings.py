"""The Settings page as Streamlit runs it, over a real labeler and a trainer that answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from streamlit.testing.v1 import AppTest

import flywheel
from labeler.app import _visitor
from labeler.service import Service
from shared.web import audit
from tests.labeler.followers import Follower, following
from tests.labeler.projects import NOBODY, labeler, photos
from tests.services import wait_for


def script() -> None:
    from labeler.ui import settings

    settings.page()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Service, Follower]]:
    photos(tmp_path / "photos", 1)
    with following() as (follower, url), labeler(tmp_path, trainer_url=url, trainer_poll_seconds=3_600) as service:
        # Its status alone is too early: a first message that meets no trainer takes the status back.
        wait_for(lambda: follower.batches and service.trainer.status(), "the trainer")
        yield service, follower


def opened() -> AppTest:
    page = AppTest.from_function(script).run()
    assert not page.exception
    return page


def test_a_setting_of_the_labeler_changes_and_says_so(pair: tuple[Service, Follower]) -> None:
    service, _ = pair
    page = opened()
    page.number_input("labeler.buffer_size").set_value(25).run()
    assert service.settings.buffer_size == 25
    assert page.number_input("labeler.buffer_size").value == 25
    assert any("changed while running" in each.value for each in page.markdown)
    assert "kept with the project" in page.markdown[0].value


def test_a_setting_that_is_on_or_off_is_a_switch(pair: tuple[Service, Follower]) -> None:
    service, _ = pair
    opened().toggle("labeler.blind_mode").set_value(True).run()
    assert service.settings.blind_mode is True


def test_a_refused_value_stays_with_the_reason_until_it_is_corrected(pair: tuple[Service, Follower]) -> None:
    service, _ = pair
    before = service.settings.overlap
    page = opened()
    page.number_input("labeler.overlap").set_value(0).run()
    assert [r"The labeler setting 'overlap' cannot be 0" in each.value for each in page.error] == [True]
    assert (page.number_input("labeler.overlap").value, service.settings.overlap) == (0, before)
    page.number_input("labeler.overlap").set_value(2).run()
    assert not page.error
    assert service.settings.overlap == 2


def test_the_trainers_settings_go_to_the_trainer(pair: tuple[Service, Follower]) -> None:
    _, follower = pair
    page = opened()
    page.selectbox("trainer.query_strategy").set_value("random").run()
    page.text_input("trainer.early_stopping_metrics_thresholds").set_value("accuracy=0.95").run()
    page.number_input("trainer.label_budget").set_value(500).run()
    page.text_input("trainer.exploration").set_value("7").run()  # a share, or a schedule in words
    assert follower.settings["query_strategy"] == "random"
    assert follower.settings["early_stopping_metrics_thresholds"] == "accuracy=0.95"
    assert follower.settings["label_budget"] == 500
    assert follower.settings["exploration"] == 0.0
    assert ["'exploration' cannot be that" in each.value for each in page.error] == [True]
    tables = [table.value for table in page.table]
    assert any("As a baseline" in str(table) for table in tables)
    assert any("seed" in str(table) for table in tables)


def test_a_trainer_that_does_not_answer_is_said_with_a_way_to_try_again(pair: tuple[Service, Follower]) -> None:
    service, _ = pair
    service.client.url = NOBODY
    page = opened()
    assert ["cannot be reached" in each.value for each in page.error] == [True]
    assert [button.label for button in page.button] == ["Try again"]
    assert page.number_input("labeler.buffer_size").value == 10


def test_an_absent_trainer_is_said_and_the_labelers_settings_stay(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path):
        page = opened()
        assert ["Trainer not reachable" in each.value for each in page.warning] == [True]
        assert page.number_input("labeler.buffer_size").value == 10


def test_a_page_drawn_without_a_browser_has_no_address_and_still_asks_the_trainer(
    pair: tuple[Service, Follower], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_page", [_visitor])  # as in a process whose labeler serves pages
    assert opened().number_input("labeler.buffer_size").value == 10


def test_the_page_names_the_options_of_the_command_that_starts_it(pair: tuple[Service, Follower]) -> None:
    options = {option for each in typer.main.get_command(flywheel.app).commands["up"].params for option in each.opts}  # type: ignore[attr-defined]
    said = set(re.findall(r"--[a-z-]+", opened().markdown[0].value))
    assert said
    assert said <= options
