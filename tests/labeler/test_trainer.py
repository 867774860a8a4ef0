from pathlib import Path

import pytest

from labeler.problems import Unreachable
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


def test_nobody_there(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        with pytest.raises(Unreachable, match="cannot be reached"):
            service.trainer.pause()
        assert service.trainer.status() is None
