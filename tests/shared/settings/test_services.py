import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import config
from shared.settings.command_line import meanings, parse_command_line
from shared.settings.services import (
    LabelerSettings,
    ServiceSettings,
    SettingsError,
    TrainerSettings,
    is_loopback,
)

BOTH = pytest.mark.parametrize("settings", [LabelerSettings, TrainerSettings])
SETTING = re.compile(r"^(?P<name>\w+) = (?P<value>.*)$")


def default_file(settings: type[ServiceSettings]) -> Path:
    return Path(config.__file__).parent / f"{settings.service()}.toml"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FLYWHEEL_")]:
        monkeypatch.delenv(name)


@BOTH
def test_every_setting_has_its_default_and_every_default_its_setting(settings: type[ServiceSettings]) -> None:
    assert set(tomllib.loads(default_file(settings).read_text())) == set(settings.model_fields)


@BOTH
def test_no_default_stands_in_code(settings: type[ServiceSettings]) -> None:
    assert [name for name, field in settings.model_fields.items() if not field.is_required()] == []


@BOTH
def test_every_setting_says_what_it_is(settings: type[ServiceSettings]) -> None:
    lines = [match for line in default_file(settings).read_text().splitlines() if (match := SETTING.match(line))]
    assert [match["name"] for match in lines if "# " not in match["value"]] == []


@BOTH
def test_the_defaults_are_possible(settings: type[ServiceSettings]) -> None:
    loaded, sources = settings.load()
    assert loaded.host == "127.0.0.1"
    assert set(sources.values()) == {"default"}


def test_file_then_environment_then_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("buffer_size = 20\nbuffer_seconds = 20.0\noverlap = 2\n")
    monkeypatch.setenv("FLYWHEEL_LABELER__BUFFER_SIZE", "30")
    monkeypatch.setenv("FLYWHEEL_LABELER__BUFFER_SECONDS", "30")
    loaded, sources = LabelerSettings.load(file=file, command_line={"buffer_size": 40, "overlap": None})
    assert (loaded.overlap, loaded.buffer_seconds, loaded.buffer_size) == (2, 30.0, 40)
    named = {name: sources[name] for name in ["port", "overlap", "buffer_seconds", "buffer_size"]}
    assert named == {
        "port": "default",
        "overlap": "file",
        "buffer_seconds": "environment",
        "buffer_size": "command line",
    }


def test_lists_and_pairs_may_be_given_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_LABELER__CLASSES", "shirt, shoes,hat")
    assert LabelerSettings.load()[0].classes == ["shirt", "shoes", "hat"]
    monkeypatch.setenv("FLYWHEEL_LABELER__CLASSES", '["shirt", "hat, straw"]')
    assert LabelerSettings.load()[0].classes == ["shirt", "hat, straw"]
    given = {"early_stopping_metrics_thresholds": "accuracy=0.95, macro_f1=0.9", "backbone_mean": "0.5,0.5,0.5"}
    trainer, _ = TrainerSettings.load(command_line=given)
    assert trainer.early_stopping_metrics_thresholds == {"accuracy": 0.95, "macro_f1": 0.9}
    assert trainer.backbone_mean == [0.5, 0.5, 0.5]


def test_a_text_is_no_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_LABELER__IMAGES", "[2026] photos")
    assert LabelerSettings.load()[0].images == "[2026] photos"
    monkeypatch.setenv("FLYWHEEL_LABELER__CLASSES", "[not json")
    assert_refused(LabelerSettings, "'classes'", "the environment", "[not json")


def test_the_other_service_and_other_variables_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_LABELER__BUFFER_SIZE", "30")
    monkeypatch.setenv("FLYWHEEL_TOKEN", "a-token-that-is-no-setting")
    monkeypatch.setenv("BUFFER_SIZE", "30")
    assert TrainerSettings.load()[1].keys() == TrainerSettings.model_fields.keys()


# ---------------------------------------------------------------- what stops the start


def test_an_unknown_setting_is_named_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("bufer_size = 20\n")
    assert_refused(LabelerSettings, "bufer_size", str(file), "Did you mean 'buffer_size'?", file=file)
    monkeypatch.setenv("FLYWHEEL_TRAINER__BATCHSIZE", "64")
    assert_refused(TrainerSettings, "batchsize", "the environment", "Did you mean 'batch_size'?")
    assert_refused(LabelerSettings, "zzz", "the command line", command_line={"zzz": 1})


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        (LabelerSettings, "port", 70_000),
        (LabelerSettings, "port", "http"),
        (LabelerSettings, "buffer_size", 0),
        (LabelerSettings, "buffer_size", "ten"),
        (LabelerSettings, "buffer_seconds", float("nan")),
        (LabelerSettings, "buffer_seconds", "-1"),
        (LabelerSettings, "test_set_frac", 1.0),
        (LabelerSettings, "test_first_share", 1),
        (LabelerSettings, "classes", "cat,dog,cat"),
        (LabelerSettings, "classes", ["cat", ""]),
        (LabelerSettings, "classes", ["cat", " "]),
        (LabelerSettings, "trainer_url", "127.0.0.1:3333"),
        (LabelerSettings, "log_level", "loud"),
        (LabelerSettings, "max_image_pixels", 0),
        (TrainerSettings, "labeler_url", "ftp://127.0.0.1"),
        (TrainerSettings, "batch_size", 0),
        (TrainerSettings, "device", "gpu"),
        (TrainerSettings, "backbone", ""),
        (TrainerSettings, "backbone_mean", [0.5]),
        (TrainerSettings, "backbone_std", "0.5,0.5,0"),
        (TrainerSettings, "exploration", 1.5),
        (TrainerSettings, "exploration", "inf"),
        (TrainerSettings, "exploration", "a tenth"),
        (TrainerSettings, "exploration", "0:0, 100:1.5"),
        (TrainerSettings, "exploration", "0:0, 100"),
        (TrainerSettings, "exploration", "100:0.1, 100:0.2"),
        (TrainerSettings, "exploration", "-1:0.1"),
        (TrainerSettings, "early_stopping_metrics_thresholds", {"accuracy": 95}),
        (TrainerSettings, "early_stopping_metrics_thresholds", {"recall": 0.9}),
        (TrainerSettings, "early_stopping_metrics_thresholds", "accuracy"),
        (TrainerSettings, "label_budget", -1),
        (TrainerSettings, "seed", 0.5),
    ],
)
def test_an_impossible_value_is_named(settings: type[ServiceSettings], name: str, value: object) -> None:
    assert_refused(settings, f"{name!r}", "the command line", command_line={name: value})


def test_parts_that_leave_nothing_to_train_on_are_named() -> None:
    given = {"test_set_frac": 0.6, "validation_set_frac": 0.4}
    assert_refused(LabelerSettings, "test_set_frac", "validation_set_frac", command_line=given)


def test_a_settings_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert_refused(LabelerSettings, "no.toml", file=tmp_path / "no.toml")
    assert_refused(LabelerSettings, str(tmp_path), file=tmp_path)
    broken = tmp_path / "broken.toml"
    broken.write_text("port = \n")
    assert_refused(LabelerSettings, "broken.toml", file=broken)
    broken.write_bytes(b"\xff\xfe")
    assert_refused(LabelerSettings, "broken.toml", file=broken)


VALUES = st.one_of(
    st.text(max_size=5), st.integers(), st.floats(), st.none(), st.lists(st.text(max_size=3), max_size=2)
)


@pytest.mark.parametrize("settings", [LabelerSettings, TrainerSettings])
@given(st.data())
def test_any_value_is_taken_or_refused_in_one_sentence(settings: type[ServiceSettings], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(settings.model_fields)))
    value = data.draw(VALUES)
    try:
        loaded, sources = settings.load(command_line={name: value})
    except SettingsError:
        assert_refused(settings, name, command_line={name: value})
    else:
        assert sources[name] == ("default" if value is None else "command line")
        assert settings.load(command_line={name: getattr(loaded, name)})[0] == loaded


def test_a_change_while_running_is_checked_too() -> None:
    loaded, _ = LabelerSettings.load()
    loaded.buffer_size = 25
    with pytest.raises(ValueError, match="buffer_size"):
        loaded.buffer_size = 0
    assert loaded.buffer_size == 25


@pytest.mark.parametrize(
    ("host", "ours_alone"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.7", False),
        ("127.0.0.1.example.org", False),
        ("labels.example.org", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_the_rest(host: str, ours_alone: bool) -> None:
    assert is_loopback(host) is ours_alone
    assert LabelerSettings.load(command_line={"host": host})[0].is_loopback is ours_alone


def assert_refused(
    settings: type[ServiceSettings],
    *words: str,
    file: Path | None = None,
    command_line: Mapping[str, object] | None = None,
) -> None:
    """The start stops with one sentence that names what is wrong."""
    with pytest.raises(SettingsError) as problem:
        settings.load(file=file, command_line=command_line)
    sentence = str(problem.value)
    assert [word for word in words if word not in sentence] == [], sentence
    assert sentence[-1] in ".?"
    assert "\n" not in sentence


def test_the_command_line_names_settings_and_a_file() -> None:
    line = ["--config", "my.toml", "--buffer-size", "3", "--classes=a,b", "--change"]
    file, given, change = parse_command_line(LabelerSettings, line)
    assert file == Path("my.toml")
    assert given == {"buffer_size": "3", "classes": "a,b"}
    assert change
    assert parse_command_line(TrainerSettings, []) == (None, {}, False)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--bufer-size", "3"], "no labeler setting 'bufer_size'.*Did you mean 'buffer_size'"),
        (["--buf=3"], "no labeler setting 'buf'"),
        (["stray"], "no labeler setting 'stray'"),
        (["--buffer-size"], "The command line cannot be read"),
    ],
)
def test_a_command_line_that_cannot_be_read(argv: list[str], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        parse_command_line(LabelerSettings, argv)


@BOTH
def test_every_setting_has_a_meaning(settings: type[ServiceSettings]) -> None:
    assert set(meanings(settings)) == set(settings.model_fields)
    assert all(meanings(settings).values())


@pytest.mark.parametrize("settings", [LabelerSettings, TrainerSettings])
def test_help_says_what_each_setting_means(
    settings: type[LabelerSettings] | type[TrainerSettings], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse_command_line(settings, ["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for name in settings.model_fields:
        assert f"--{name.replace('_', '-')} VALUE " in text
    assert text.count("(default: ") >= len(settings.model_fields) - 4  # a few names say it all
