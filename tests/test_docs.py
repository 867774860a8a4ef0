import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import flywheel
from labeler.review.doubts import CONFIDENCES
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


GUIDES = sorted(each for folder in ("guides", "reference", "start") for each in (HOME / "docs" / folder).glob("*.md"))
ELSEWHERE = {"Dashboards, New, Import", "CPU"}  # Grafana's, PyTorch's
"""Words in italics that are on no page of ours."""


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_words_that_a_guide_quotes_stand_on_a_page(guide):
    """In italics, with a capital letter; … stands for what differs."""
    pages = (each for each in (HOME / "labeler" / "ui").rglob("*") if each.suffix in {".py", ".js", ".html"})
    shown = " ".join(" ".join(each.read_text(encoding="utf-8") for each in pages).split())
    text = re.sub(r"`[^`]*`", "", " ".join(guide.read_text(encoding="utf-8").split()))
    quoted = set(re.findall(r"(?<![*\w])\*([A-Z][^*]+)\*(?!\*)", text)) - ELSEWHERE
    assert [each for each in sorted(quoted) for part in each.split("…") if part.strip(" :") not in shown] == []


def test_the_guide_names_the_levels_at_which_many_proposals_are_accepted():
    *levels, last = (f"{100 * each:g}" for each in CONFIDENCES)
    text = (HOME / "docs" / "guides" / "clean.md").read_text(encoding="utf-8")
    assert f"The levels are {', '.join(levels)} and {last}%" in " ".join(text.split())


def test_every_document_runs_the_commands_of_an_activated_environment():
    """Said once, in install.md, which may also name the command's path."""
    pages = [HOME / "README.md", *(HOME / "docs").rglob("*.md")]
    found = {
        page.name: re.findall(r"\.venv/bin/(?!activate)\w+", page.read_text(encoding="utf-8")) for page in sorted(pages)
    }
    assert {name: paths for name, paths in found.items() if paths} == {"install.md": [".venv/bin/flywheel"]}
