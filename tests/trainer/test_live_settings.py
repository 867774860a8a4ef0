from pathlib import Path

import pytest

from shared.settings.services import SettingsError, TrainerSettings
from shared.settings.starting import start
from tests.trainer.learning import teach, wait_for
from trainer.live_settings import RunningSettings
from trainer.service import strategy_list
from trainer.tasks.registry import task_named


def test_a_changed_setting_holds_at_the_next_start(tmp_path: Path) -> None:
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


def test_a_project_of_boxes_refuses_what_needs_probabilities_of_classes(tmp_path: Path) -> None:
    held = TrainerSettings.load(command_line={"workspace": str(tmp_path / "w")})[0]
    running = RunningSettings(held, {}, lambda _: None, task=lambda: task_named("detection"))
    assert running.problem is None
    for change, words in (
        ({"query_strategy": "margin"}, "probabilities of classes"),
        ({"query_strategy": "0.5 random + 0.5 entropy"}, "probabilities of classes"),
        ({"early_stopping_metrics_thresholds": {"accuracy": 0.9}}, "choose from map_50, map_50_95"),
    ):
        with pytest.raises(SettingsError, match=words):
            running.change(change)
    running.change({"query_strategy": "coreset", "early_stopping_metrics_thresholds": {"map_50": 0.9}})
    offered = {each.name: each.when for each in strategy_list(task_named("detection")).strategies}
    assert "margin" not in offered
    assert "does not use the detector" in offered["uncertainty_herding"]


def test_settings_change_while_running_or_not_at_all(client):
    view = client.patch("/settings", json={"query_strategy": "margin", "exploration": 0.2}).json()
    assert view["query_strategy"] == {"value": "margin", "source": "changed while running", "changeable": True}
    assert view["port"]["changeable"] is False
    refused = [("query_strategy", "guess"), ("query_strategy", "os:system"), ("exploration", 2), ("port", 1), ("x", 1)]
    for bad in ({name: value} for name, value in refused):
        answer = client.patch("/settings", json={**bad, "query_length": 7})
        assert answer.status_code == 422
        assert next(iter(bad)).replace("_", " ") in answer.json()["detail"].replace("_", " ")
    assert client.get("/settings").json()["query_length"]["value"] != 7


def test_exploration_may_change_with_the_labels_spent(client, trainer):
    schedule = "0:0, 12:1"
    view = client.patch("/settings", json={"exploration": schedule}).json()
    assert view["exploration"]["value"] == schedule
    assert client.patch("/settings", json={"exploration": "12:1, 0:0"}).status_code == 422
    offered = []
    trainer.publisher.offer = offered.append
    teach(client, range(11))
    before = wait_for(lambda: next((push for push in offered if push.acked_seq == 13), None))
    assert "drawn at random" not in {query.reason for query in before.queries}
    teach(client, [11], after=13)
    # The first list after the label may come before its image is embedded; the next one counts it.
    wait_for(lambda: {query.reason for query in offered[-1].queries} == {"drawn at random"})
    assert offered[-1].acked_seq == 14
