"""Which ports `flywheel up` takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.up import _Start
from shared.settings.project_file import edit
from shared.settings.starting import remember
from tests.labeler.projects import photos, settings


def ports(workspace: Path, *given: int | None) -> tuple[int, int]:
    start = _Start({}, {}, {"workspace": workspace}, (given[0], given[1]), (), (None, None), change=False)
    return start.ours.settings.port, start.theirs.settings.port


def test_a_start_without_ports_takes_those_of_the_last_start_that_named_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path / "photos", 1)
    remember(settings(tmp_path))
    workspace = tmp_path / "workspace"
    assert ports(workspace, None, None) == (3334, 3333)
    with edit(workspace) as project:
        project.ports = {"labeler": 4001}
    assert ports(workspace, None, None) == (4001, 3333)
    assert ports(workspace, 0, 4003) == (0, 4003)
    monkeypatch.setenv("FLYWHEEL_LABELER__PORT", "4005")
    assert ports(workspace, None, None) == (4005, 3333)
