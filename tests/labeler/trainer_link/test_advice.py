"""What the pages advise while the trainer does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from labeler.trainer_link.advice import how_to_start, sentence
from shared.web.server import SUPERVISED


def test_a_labeler_alone_gives_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SUPERVISED, raising=False)
    assert how_to_start(tmp_path) == f"start it with: flywheel trainer --workspace {tmp_path}"
    assert sentence(tmp_path) == f"Start it with: flywheel trainer --workspace {tmp_path}"


def test_under_flywheel_up_nobody_starts_a_second_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SUPERVISED, "1")
    assert how_to_start(tmp_path) == "Flywheel starts it by itself"
    assert sentence(tmp_path) == "Flywheel starts it by itself."
