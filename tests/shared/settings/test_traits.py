import pytest
from pydantic import BaseModel

from shared.settings.services import LabelerSettings, TrainerSettings
from shared.settings.traits import CHANGEABLE, IS_PATH, MAKES_PROJECT, RECORDED, Trait, settings_with


@pytest.mark.parametrize(
    ("settings", "trait", "names"),
    [
        (LabelerSettings, MAKES_PROJECT, {"images", "classes", "test_set", "database_url"}),
        (LabelerSettings, IS_PATH, {"workspace", "images", "test_set"}),
        (TrainerSettings, IS_PATH, {"workspace", "images", "backbone_weights", "weights_folder", "embeddings"}),
        (
            TrainerSettings,
            RECORDED,
            {"backbone", "backbone_weights", "input_size", "model_fn", "embeddings", "text_network"}
            | {"query_strategy", "seed"},
        ),
        (
            TrainerSettings,
            MAKES_PROJECT,
            {"backbone", "auto_backbone", "backbone_weights", "backbone_mean", "backbone_std", "input_size"}
            | {"model_fn", "embeddings", "reload_model"},
        ),
        (
            TrainerSettings,
            CHANGEABLE,
            {"query_strategy", "exploration", "query_length", "eval_and_query_every", "label_budget"}
            | {"early_stopping_metrics_thresholds", "challenger", "challenger_flip", "text_prompts", "iou_threshold"}
            | {"second_look"},
        ),
    ],
)
def test_settings_have_the_traits_that_files_and_versions_on_disk_rely_on(
    settings: type[BaseModel], trait: Trait, names: set[str]
) -> None:
    assert set(settings_with(trait, settings)) == names


def test_settings_that_define_a_project_cannot_change_while_it_runs() -> None:
    for settings in (LabelerSettings, TrainerSettings):
        assert not {*settings_with(MAKES_PROJECT, settings)} & {*settings_with(CHANGEABLE, settings)}
