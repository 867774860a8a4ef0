from pathlib import Path

import pytest

from labeler.errors import Invalid, Unreachable
from tests.labeler.followers import following
from tests.labeler.projects import answer, labeler, photos


def test_orders(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with following() as (_, url), labeler(tmp_path, trainer_url=url) as service:
        assert service.trainer.pause().state == "paused"
        assert service.trainer.resume().state == "training"


def test_a_stop_first_sends_what_waits(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with following() as (follower, url), labeler(tmp_path, trainer_url=url, buffer_seconds=3_600.0) as service:
        service.annotate([answer(1)])
        assert service.trainer.stop().state == "stopped"
        assert len(follower.rows) == service.log.last_seq


def test_settings_are_asked_and_changed_or_refused_in_the_trainers_words(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with following() as (follower, url), labeler(tmp_path, trainer_url=url) as service:
        assert service.trainer.settings()["exploration"].value == 0
        assert service.trainer.change_settings({"exploration": 0.2})["exploration"].value == 0.2
        with pytest.raises(Invalid, match=r"^The trainer setting 'exploration' cannot be that\.$"):
            service.trainer.change_settings({"exploration": 7})
        assert follower.settings["exploration"] == 0.2
        assert [each.name for each in service.trainer.strategies()] == ["margin", "random"]


def test_nobody_there(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        with pytest.raises(Unreachable, match="cannot be reached"):
            service.trainer.pause()
        with pytest.raises(Unreachable, match="cannot be reached"):
            service.trainer.settings()
        assert service.trainer.status() is None
