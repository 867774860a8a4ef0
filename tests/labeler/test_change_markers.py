"""An open page is redrawn when something it shows has changed, and only then."""

from typing import Any

import pytest

from labeler.change_markers import change_markers
from shared.wire.images import ScanView
from shared.wire.trainer import ChallengerView, EmbeddingProgress, TrainerStatus

SCAN = ScanView(running=False, done=9, total=9, seconds_left=None)
STATUS = TrainerStatus(
    state="training",
    log_id=None,
    acked_seq=3,
    round=1,
    labels=3,
    model_version="head-1",
    strategy="margin",
    metrics={},
    last_error=None,
    embedding=EmbeddingProgress(done=9, total=9),
    timings={"fit": 3.0},
    marks={"versions": "1", "jobs": "a"},
)
TRAINS = ChallengerView(state="training", message="Round 1: epoch 2 of 9", round=1, done=2, total=9)


@pytest.mark.parametrize(
    ("news", "changed"),
    [
        ({"timings": {"fit": 4.0}}, set()),
        ({"state": "paused"}, {"trainer"}),
        ({"challenger": TRAINS}, {"challenger"}),
        ({"challenger": None, "marks": {"versions": "2", "jobs": "a"}}, {"versions"}),
        ({"marks": {"versions": "1", "jobs": "b"}}, {"jobs"}),
    ],
)
def test_only_what_is_another_has_another_mark(news: dict[str, Any], changed: set[str]) -> None:
    before = change_markers(3, 1, SCAN, None, STATUS)
    after = change_markers(3, 1, SCAN, None, STATUS.model_copy(update=news))
    assert {what for what in before if before[what] != after[what]} == changed


def test_the_speed_is_drawn_anew_once_nobody_labels() -> None:
    working, idle = change_markers(3, 1, SCAN, None, STATUS), change_markers(3, 1, SCAN, None, STATUS, idle=True)
    assert {what for what in working if working[what] != idle[what]} == {"labels"}


def test_a_trainer_that_is_away_is_seen() -> None:
    here, away = change_markers(3, 1, SCAN, None, STATUS), change_markers(3, 1, SCAN, None, None)
    assert here["trainer"] != away["trainer"]
    assert here["labels"] == away["labels"]
    assert change_markers(4, 1, SCAN, None, STATUS)["labels"] != here["labels"]
