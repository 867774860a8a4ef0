"""Commands that change much ask first, with numbers, unless there is no terminal or `--yes` is given."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from commands.running.consent import consent
from commands.upkeep.backup import backup
from flywheel import app
from tests.labeler.projects import answer, labeler, photos


@pytest.mark.parametrize(("watched", "yes", "asked"), [(True, False, True), (True, True, False), (False, False, False)])
def test_only_a_person_at_a_terminal_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], watched: bool, yes: bool, asked: bool
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: watched, raising=False)
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: (_ for _ in ()).throw(typer.Abort()))
    if asked:
        with pytest.raises(typer.Abort):
            consent("412 labels go.", yes=yes)
    else:
        consent("412 labels go.", yes=yes)
    assert capsys.readouterr().out == "412 labels go.\n"


def test_a_restore_says_which_project_replaces_which(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path) as service:
        service.annotate([answer(1)])
        backup(tmp_path / "workspace", tmp_path / "backup")
        service.annotate([answer(2), answer(3)])
    result = CliRunner().invoke(app, ["restore", str(tmp_path / "backup"), "--workspace", str(tmp_path / "workspace")])
    said = " ".join(result.stdout.split())
    assert result.exit_code == 0
    assert "(3 answers, the last on " in said
    assert "(1 answer, the last on " in said
