import re
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
    assert f"flywheel {command}" in (HOME / "docs" / "commands.md").read_text(encoding="utf-8")


def test_the_command_line_explains_itself():
    shown = CliRunner().invoke(flywheel.app, ["--help"]).output
    assert [command for command in COMMANDS if command not in shown] == []


@pytest.mark.parametrize("path", [HOME / "README.md", *sorted((HOME / "docs").glob("*.md"))], ids=lambda p: p.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
