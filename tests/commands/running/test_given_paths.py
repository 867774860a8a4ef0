"""Wrong paths and empty arguments, for all commands: each gives one sentence, before anything is done."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
from typer.main import get_command
from typer.models import ArgumentInfo, OptionInfo

from commands.running import given_paths
from commands.running.given_paths import MAY_BE_EMPTY
from flywheel import COMMANDS, app, main
from shared.settings.services import SettingsError

TREE = get_command(app)  # built once, because it takes a tenth of a second
PARSERS = {
    name: each
    for name, each in vars(given_paths).items()
    if inspect.isfunction(each) and each.__module__ == given_paths.__name__ and not name.startswith("_")
}
THERE = {"folder": "photos", "file": "labels.csv", "file_or_folder": "labels.csv", "images_at": "photos"}
"""What each kind of argument may be, else something new."""
LONG = "a" * 300
WRONG: dict[str, dict[str, str]] = {
    "path": {"loop": "loop cannot be read (Too many levels of symbolic links)", LONG: "(File name too long)"},
    "path_or_address": {"loop": "loop cannot be read", LONG: "(File name too long)"},
    "file": {
        "gone.csv": "There is no file gone.csv: check its name.",
        "photos": "photos is a folder: name a file.",
        "labels.csv/x": "There is no file labels.csv/x: check its name.",
        "loop": "loop cannot be read",
        "secret": "secret cannot be read: you have no permission to read it.",
    },
    "folder": {
        "gone": "There is no folder gone: check its name.",
        "labels.csv": "labels.csv is a file: name a folder.",
        "loop": "loop cannot be read",
        "secret": "secret is a file",
    },
    "file_or_folder": {
        "gone.csv": "There is no file or folder gone.csv: check its name.",
        "loop": "loop cannot be read",
        "secret": "secret cannot be read: you have no permission to read it.",
    },
    "new_file": {
        "photos": "photos is a folder: name a file to write.",
        "gone/new.csv": "gone/new.csv cannot be written: create the folder gone first.",
        "labels.csv/new.csv": "labels.csv/new.csv cannot be written: labels.csv is a file, so name another place.",
        "closed/new.csv": "closed/new.csv cannot be written: you may not write in ",
        LONG: "(File name too long)",
    },
    "new_file_or_folder": {
        "photos": "photos already exists as a folder: name a file or a new folder.",
        "gone/new.csv": "gone/new.csv cannot be written: create the folder gone first.",
    },
    "new_folder": {
        "photos": "photos already exists: name a new folder.",
        "labels.csv": "labels.csv already exists: name a new folder.",
        "labels.csv/new": "labels.csv is a file, so name another place.",
        "closed/new": "closed/new cannot be written: you may not write in ",
    },
    "images_at": {
        "gone.jpg": "There is no file or folder gone.jpg: check its name.",
        "photo.jpg": "photo.jpg cannot be read as a place with images: it is neither a folder nor a file that contains",
        LONG: "(File name too long)",
        "s3:///": "The address of these images",
    },
}


def every_command() -> Iterator[tuple[str, Any]]:
    for _, name, command in COMMANDS:
        yield name, command
    for group in app.registered_groups:
        for each in group.typer_instance.registered_commands:
            assert each.callback is not None
            yield f"{group.name} {each.name or each.callback.__name__}", each.callback


def given_to(command: Any) -> Iterator[tuple[str, Any, ArgumentInfo | OptionInfo, bool]]:
    """Name, type, and whether it must be given, of each argument and option."""
    for each in inspect.signature(command, eval_str=True).parameters.values():
        assert get_origin(each.annotation) is Annotated, each
        kind, *more = get_args(each.annotation)
        yield each.name, kind, more[0], each.default is inspect.Parameter.empty


def spelled(name: str, info: ArgumentInfo | OptionInfo) -> list[str]:
    if isinstance(info, ArgumentInfo):
        return []
    long = [each.partition("/")[0] for each in info.param_decls or () if each.startswith("--")]
    return [long[0] if long else f"--{name.replace('_', '-')}"]


def line(command: str, run: Any, wanted: str, value: str) -> list[str]:
    """A command line with `value` for the argument `wanted`, and something possible for all others."""
    words = command.split()
    for name, kind, info, needed in given_to(run):
        if name == wanted:
            words += [*spelled(name, info), value]
        elif needed or (isinstance(info, ArgumentInfo) and wanted in _after(run, name)):
            parser = getattr(info.parser, "__name__", "")
            usual = "0.5" if kind is float else THERE.get(parser, "new")
            words += [*spelled(name, info), usual]
    return words


def _after(run: Any, name: str) -> list[str]:
    """The arguments behind this one."""
    names = [each for each, _, info, _ in given_to(run) if isinstance(info, ArgumentInfo)]
    return names[names.index(name) + 1 :]


TEXTS = [
    (command, name)
    for command, run in every_command()
    for name, kind, info, _ in given_to(run)
    if kind is not bool and bool not in get_args(kind) and spelled(name, info) != ["--include"]
]
PATHS = [
    (command, name, info.parser.__name__)
    for command, run in every_command()
    for name, _, info, _ in given_to(run)
    if info.parser is not None
]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "closed"):
        (tmp_path / folder).mkdir()
    for file in ("labels.csv", "photo.jpg", "secret"):
        (tmp_path / file).write_bytes(b"image,label\n")
    (tmp_path / "loop").symlink_to("loop")
    may = os.access
    # whoever runs the tests may be root, who may read and write everything
    forbidden = {"secret": os.R_OK, "closed": os.W_OK}
    monkeypatch.setattr(
        os,
        "access",
        lambda path, mode: not mode & forbidden.get(Path(path).name, 0) and may(path, mode),
    )


def problem(words: list[str]) -> str:
    with pytest.raises(SettingsError) as problem:
        TREE.main(words, standalone_mode=False)
    return str(problem.value)


def test_every_path_of_every_command_says_what_must_be_there() -> None:
    for command, run in every_command():
        for name, kind, info, _ in given_to(run):
            if kind is Path or Path in get_args(kind):
                assert info.parser in PARSERS.values(), f"{command}: {name}"
    assert {parser for _, _, parser in PATHS} == WRONG.keys() == PARSERS.keys()


@pytest.mark.parametrize(("command", "name", "parser"), PATHS)
def test_a_path_of_the_wrong_kind_is_one_sentence(command: str, name: str, parser: str) -> None:
    run = dict(every_command())[command]
    for value, said in WRONG[parser].items():
        told = problem(line(command, run, name, value))
        assert said in told
        assert "[Errno" not in told


@pytest.mark.parametrize(("command", "name"), TEXTS)
def test_an_empty_argument_is_always_refused(command: str, name: str) -> None:
    run = dict(every_command())[command]
    words = line(command, run, name, " ")
    assert problem(words).endswith("is empty: give it a value, or leave it out.")
    option = words[words.index(" ") - 1]
    if option.startswith("--"):
        assert problem([*command.split(), f"{option}="]) == f"{option} is empty: give it a value, or leave it out."


def test_an_empty_argument_of_one_service_alone() -> None:
    for words in (["labeler", "--workspace", ""], ["trainer", "--workspace="], ["trainer", "--config", ""]):
        assert "is empty" in problem(words)


def test_the_command_line_prints_the_sentence_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["flywheel", "restore", "gone"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().err) == (2, "Flywheel: There is no folder gone: check its name.\n")
    assert MAY_BE_EMPTY == ("--include",)  # `export --include ""` adds nothing
