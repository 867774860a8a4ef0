"""The TOML of a pipeline: what it means, and the messages about invalid values."""

from pathlib import Path

import pytest

from commands.models.pipeline_file import STEPS, read_pipeline
from shared.settings.services import SettingsError

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "files" / "pipeline.toml"


def test_the_example_names_every_step():
    assert read_pipeline(EXAMPLE, []).steps == list(STEPS)


def test_a_step_is_left_out_with_its_table_or_by_name(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text('name = "p"\nskip = ["clone"]\n[clone]\n[evaluate]\n[compare]\n')
    assert read_pipeline(path, ["compare"]).steps == ["train", "evaluate"]


def test_another_configuration_has_another_fingerprint_and_skipping_changes_none(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text('name = "p"\n[train]\nepochs = 2\n')
    first = read_pipeline(path, []).fingerprint
    assert read_pipeline(path, ["promote"]).fingerprint == first
    path.write_text('name = "p"\n[train]\nepochs = 3\n')
    assert read_pipeline(path, []).fingerprint != first


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[train]\n", "lacks the key 'name'"),
        ('name = "a/b"\n', "'name' cannot be 'a/b'"),
        ('name = "p"\nhour = 2\n', "unknown key 'hour'. Did you mean 'hours'?"),
        ('name = "p"\n[trian]\n', "unknown key 'trian'. Did you mean 'train'?"),
        ('name = "p"\n[train]\nepoch = 2\n', "in [train] an unknown key 'epoch'. Did you mean 'epochs'?"),
        ('name = "p"\n[train]\nbase = "v"\n', "in [train] an unknown key 'base'"),  # that is what [clone] says
        (
            'name = "p"\n[train.test]\nanotator = "a"\n',
            "in [train.test] an unknown key 'anotator'. Did you mean 'annotator'?",
        ),
        ('name = "p"\n[train.train]\nsplit = "test"\n', "can only select train images"),
        ('name = "p"\n[train]\nepochs = 0\n', "in [train] 'epochs' cannot be 0"),
        ('name = "p"\n[compare]\nmin_delta = {acuracy = 0}\n', "in [compare] 'min_delta' cannot be 'acuracy'"),
        ('name = "p"\n[compare]\nrule = "most"\n', "in [compare] 'rule' cannot be 'most'"),
        ('name = "p"\n[compare]\nrecorded = true\nsignificant = true\n', "a paired test is not possible"),
        ('name = "p"\n[evaluate]\nat_least = {accuracy = 2}\n', "in [evaluate] 'at_least' cannot be 2"),
        ('name = "p"\n[split]\ntest = 0.6\nvalidation = 0.5\n', "leave nothing to learn from"),
        ('name = "p"\n[split]\n', "lacks in [split] the key 'test'"),
        ('name = "p"\nskip = ["train"]\n', "'version' must say which version"),
        ('name = "p"\nskip = ["trian"]\n', "'skip' cannot be 'trian'"),
        ("name = ", "cannot be read"),
    ],
)
def test_an_invalid_value_gives_one_sentence_that_names_it(tmp_path, text, said):
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as refused:
        read_pipeline(path, [])
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(SettingsError, match=r"The pipeline file .* does not exist"):
        read_pipeline(tmp_path / "p.toml", [])
