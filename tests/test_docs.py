from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import flywheel
from scripts import docs

HOME = Path(__file__).resolve().parent.parent


def test_every_setting_and_route_has_its_line():
    for name, parts in docs.tables().items():
        text = (HOME / "docs" / name).read_text(encoding="utf-8")
        assert docs.filled(text, parts) == text, f"docs/{name} is out of date: run `make docs`"


COMMANDS = sorted(typer.main.get_command(flywheel.app).commands)  # type: ignore[attr-defined]  # it is a group


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_documentation(command):
    assert f"flywheel {command}" in (HOME / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")


def test_the_command_line_explains_itself():
    shown = CliRunner().invoke(flywheel.app, ["--help"]).output
    assert [command for command in COMMANDS if command not in shown] == []
