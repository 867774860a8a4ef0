from pathlib import Path

import pytest

from shared.settings.services import SettingsError, TrainerSettings
from shared.settings.starting import start
from trainer.live_settings import RunningSettings


def test_what_was_changed_holds_at_the_next_start(tmp_path: Path) -> None:
    line = {"workspace": str(tmp_path / "w")}
    held = TrainerSettings.load(command_line=line)[0]
    applied: list[dict[str, object]] = []
    RunningSettings(held, {}, applied.append).change({"query_strategy": "margin", "label_budget": 500})
    assert applied == [{"query_strategy": "margin", "label_budget": 500}]
    begun = start(TrainerSettings, command_line=line)
    assert (begun.settings.query_strategy, begun.settings.label_budget) == ("margin", 500)
    assert begun.sources["label_budget"] == "changed while running"


def test_a_refused_change_is_not_kept(tmp_path: Path) -> None:
    line = {"workspace": str(tmp_path / "w")}
    held = TrainerSettings.load(command_line=line)[0]
    with pytest.raises(SettingsError, match="guess"):
        RunningSettings(held, {}, lambda _: None).change({"query_strategy": "guess"})
    assert start(TrainerSettings, command_line=line).settings.query_strategy == held.query_strategy
