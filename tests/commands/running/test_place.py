"""Every command finds the right project, names it, and writes into no other."""

from __future__ import annotations

import csv
import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

import flywheel
from commands.running.place import find
from commands.running.reach import LABELER, TRAINER
from flywheel import Flywheel, FlywheelError
from labeler.service import Service
from shared.settings.project_file import announce, edit
from shared.settings.services import SettingsError
from tests.commands.labels.test_folders import served
from tests.labeler.projects import answer, labeler, photos

FILES_ALONE = {
    "doctor",
    "up",
    "clean",
    "add",
    "projects",
    "labeler",
    "trainer",
    "fetch",
    "merge",
    "backup",
    "restore",
    "embed",
}


def run(*words: Any) -> Result:
    return CliRunner().invoke(flywheel.app, [*map(str, words)], env={"COLUMNS": "300"})


@contextmanager
def project(folder: Path, **settings: Any) -> Iterator[tuple[Service, Path, str]]:
    """A labeler with six photos, which wrote its address into its workspace; service, workspace and address."""
    photos(folder / "photos", 6)
    with labeler(folder, **settings) as service, served(service) as url:
        with edit(folder / "workspace") as file:
            file.name = folder.name
        announce(folder / "workspace", "labeler", url)
        yield service, folder / "workspace", url


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's folder and nobody's environment."""
    for name in ("FLYWHEEL_WORKSPACE", "FLYWHEEL_LABELER_URL", "FLYWHEEL_TRAINER_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def leaves(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


@pytest.mark.parametrize(("path", "command"), [*leaves(typer.main.get_command(flywheel.app))])
def test_every_command_that_asks_a_service_names_the_project_in_the_same_way(path: Any, command: Any) -> None:
    options = {option for each in command.params for option in each.opts if not each.hidden}
    if path[0] not in FILES_ALONE:
        assert {"--workspace", "--labeler-url", "--trainer-url"} <= options
        assert "--url" not in options


@pytest.mark.parametrize(
    ("task", "figure"), [("classification", "accuracy"), ("multilabel", "macro F1"), ("detection", "mAP at IoU 0.5")]
)
def test_the_status_has_the_figure_of_the_project_s_task(tmp_path: Path, task: str, figure: str) -> None:
    with project(tmp_path / "clothes", task=task) as (_, workspace, _url):
        said = run("status", "--workspace", workspace)
        assert said.exit_code == 0, said.exception
        assert f"│ {figure} (95 %)" in said.output


def test_the_workspace_leads_to_its_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with project(tmp_path / "clothes") as (_, workspace, url), project(tmp_path / "birds") as (_, other, elsewhere):
        said = run("status", "--workspace", workspace)
        assert said.exit_code == 0, said.exception
        assert said.output.splitlines()[0] == f"Project clothes ({workspace}) at {url}"
        monkeypatch.chdir(workspace.parent)  # ./workspace is the project when none is named
        assert run("status").output.splitlines()[0] == f"Project clothes (./workspace) at {url}"
        monkeypatch.setenv("FLYWHEEL_WORKSPACE", str(other))
        assert run("status").output.splitlines()[0] == f"Project birds ({other}) at {elsewhere}"
        monkeypatch.setenv("FLYWHEEL_LABELER_URL", url)
        assert run("status").output.splitlines()[0].endswith(f"at {url}")
        assert run("status", "--labeler-url", elsewhere).output.splitlines()[0].endswith(f"at {elsewhere}")
        monkeypatch.delenv("FLYWHEEL_LABELER_URL")
        with Flywheel() as client:
            assert (len(client.labels()), client.labeler) == (6, elsewhere)
        for words in (["status"], ["snapshot", "save", "here"], ["split", "--test", "0.5"]):
            mixed = run(*words, "--workspace", workspace, "--labeler-url", elsewhere)
            assert mixed.exit_code == 1
            assert f"The labeler at {elsewhere} belongs to another project" in str(mixed.exception)


def test_a_stopped_project_is_reported_with_the_command_that_starts_it(tmp_path: Path) -> None:
    with project(tmp_path / "clothes") as (_, workspace, url):
        pass
    announce(workspace, "labeler", url)  # as a kill leaves it
    said = run("status", "--workspace", workspace)
    assert f"Project clothes is not running: nothing answers at {url} (connection refused)" in str(said.exception)
    assert f"`flywheel up --workspace {workspace}`" in str(said.exception)
    announce(workspace, "labeler", None)
    assert "its labeler has not written its address" in str(run("status", "--workspace", workspace).exception)
    with pytest.raises(FlywheelError, match="clothes is not running"):
        Flywheel(workspace=workspace)
    assert run("export", "labels.csv", "--workspace", workspace).output.splitlines()[0].endswith("not running")
    assert len(Path("labels.csv").read_text().splitlines()) == 7
    nowhere = run("status", "--workspace", tmp_path)
    assert "is not a Flywheel workspace" in str(nowhere.exception)


def test_a_running_project_does_not_start_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with project(tmp_path / "clothes") as (_, workspace, url):
        again = run("up", "--workspace", workspace, "--port", 0, "--trainer-port", 0)
        assert str(again.exception).startswith(
            f"Project clothes in {workspace} is already running: open {url} in a browser."
        )
        monkeypatch.chdir(tmp_path / "here")
        said = run("status", "--workspace", "../clothes/workspace").output
        assert f"({tmp_path / 'clothes' / 'workspace'})" in said.splitlines()[0]
        assert "not sent yet" in said  # no trainer runs here


def test_a_copy_of_a_running_project_is_refused_only_its_port(tmp_path: Path) -> None:
    with project(tmp_path / "clothes") as (_, workspace, url):
        copy = shutil.copytree(workspace, tmp_path / "copy")
        refused = run("up", "--workspace", copy, "--port", url.rpartition(":")[2], "--trainer-port", 0)
        assert "already running" not in str(refused.exception)
        assert "--port" in str(refused.exception)


def test_without_a_workspace_the_usual_ports_are_asked() -> None:
    assert find().addresses == (LABELER, TRAINER)
    with pytest.raises(SettingsError, match="takes an address like"):
        find(None, "localhost:3334")


def test_another_program_on_the_port_is_not_taken_for_a_labeler() -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}" if "project" in self.path else b"<html>")

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert f"{url} is not a labeler of Flywheel" in str(run("status", "--labeler-url", url).exception)
        assert f"{url} is not Flywheel" in str(run("pause", "--trainer-url", url).exception)
        server.shutdown()


def test_a_simulated_person_refuses_a_project_without_true_labels(tmp_path: Path) -> None:
    def table(name: str, rows: dict[str, str]) -> Path:
        path = tmp_path / name
        path.write_text("filename,label\n" + "".join(f"{file},{label}\n" for file, label in rows.items()))
        return path

    with project(tmp_path / "pets") as (service, workspace, _):
        for words, named in [
            ([], "Without --labels, the simulated person knows only the digits of the demo"),
            (["--labels", table("others.csv", {"x.png": "cat"})], "names none of the project's 6 images"),
            (["--labels", table("hats.csv", {"0000.png": "hat"})], "There is no class 'hat'"),
        ]:
            refused = run("simulate", "--budget", 3, *words, "--workspace", workspace)
            assert named in str(refused.exception)
        assert [each.name for each in service.classes.entries()] == ["cat", "dog"]
        assert service.tally.counts().skipped == 0
        some = table("some.csv", {"0000.png": "cat", "0001.png": "bird"})
        said = run(
            "simulate", "--budget", 6, "--pace", 1_000, "--labels", some, "--add-classes", "--workspace", workspace
        )
        assert said.exit_code == 0, said.exception
        assert "names 2 of 6 images. The others are skipped" in said.output
        assert "bird" in {each.name for each in service.classes.entries()}


def test_import_says_by_its_exit_code_what_was_rejected(tmp_path: Path) -> None:
    with project(tmp_path / "pets") as (service, workspace, _):
        folder = workspace.parent / "photos"
        (folder / "labels.csv").write_text("uri,label\n0000.png,cat\n=gone.png,dog\nlost.png,dog\n")
        words = ("--workspace", workspace, "--report", "report.csv")
        said = run("import", folder / "labels.csv", *words)
        assert said.exit_code == 1, said.exception
        with Path("report.csv").open(newline="") as stream:
            assert [row["uri"] for row in csv.DictReader(stream)] == ["'=gone.png", "lost.png"]
        (folder / "labels.csv").write_text("uri,label\nlost.png,dog\n")
        refused = run("import", folder / "labels.csv", *words)
        assert "Every row was rejected" in str(refused.exception)
        assert service.tally.counts().labeled == 1
        unwritable = run("import", folder / "labels.csv", "--workspace", workspace, "--report", "nowhere/report.csv")
        assert "nowhere/report.csv cannot be written: create the folder nowhere first." in str(unwritable.exception)


def test_an_export_of_nothing_writes_nothing(tmp_path: Path) -> None:
    with project(tmp_path / "pets") as (service, workspace, url):
        service.annotate([answer(1, "cat")])
        drs = run("export", "labels.csv", "--workspace", workspace, "--where", "label=do")
        assert "There is no class 'do'" in str(drs.exception)
        none = run("export", "labels.csv", "--workspace", workspace, "--where", "label=dog")
        assert (none.exit_code, "No image matches" in none.output) == (1, True)
        assert not Path("labels.csv").exists()
        assert run("export", "labels.csv", "--workspace", workspace, "--where", "label=cat").exit_code == 0
        assert len(Path("labels.csv").read_text().splitlines()) == 2
        with Flywheel(url) as client:
            with pytest.raises(FlywheelError, match=rf"{url} says: There is no class 'do'"):
                client.labels(label="do")
            with pytest.raises(FlywheelError, match="not by 'lable'"):
                client.labels(lable="cat")
