"""What a backup brings back."""

from __future__ import annotations

from pathlib import Path

from commands.upkeep.backup import backup, restore
from tests.labeler.projects import labeler, photos
from trainer.loop.desired_state import DesiredState


def test_a_restored_project_stays_stopped_with_its_network(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path):
        pass
    trainer = tmp_path / "workspace" / "trainer"
    trainer.mkdir(exist_ok=True)
    DesiredState(wish="stop", reason="asked to stop", finished=True).save(trainer / "intent.json")
    (trainer / "serving.json").write_text("{}")
    restore(backup(tmp_path / "workspace", tmp_path / "copy"), tmp_path / "again")
    said = DesiredState.load(tmp_path / "again" / "trainer" / "intent.json")
    assert (said.wish, said.reason, said.finished) == ("stop", "asked to stop", True)
    assert (tmp_path / "again" / "trainer" / "serving.json").is_file()
