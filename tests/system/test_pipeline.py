"""`flywheel pipeline` as a nightly job, through kills, with both real services: from splits to a promoted version."""

import json
import os
import signal
import subprocess
import sys
import tomllib

import httpx
import pytest

from tests import forks
from tests.services import HOME, running_services, wait_for

pytestmark = pytest.mark.system

EXAMPLE = HOME / "docs" / "files" / "pipeline.toml"


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    """90 images with imported labels, so that splits can be drawn again, and a model of them."""
    with running_services(images=90) as services:
        table = tmp_path_factory.mktemp("labels") / "labels.csv"
        rows = "".join(f"{services.photos / name},{label}\n" for name, label in services.truth.items())
        table.write_text(f"filename,label\n{rows}")
        flywheel(services, "import", table, "--labeler-url", services.labeler.url)
        wait_for(services.caught_up, "the trainer", 60)
        wait_for(lambda: services.status()["labels"] > 30, "a model", 60)
        yield services


def flywheel(services, *words, code=0):
    done = forks.flywheel(*words, cwd=HOME)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def example(services, path, **changes):
    """The documented file, for these services; `changes` replaces lines by their first word."""
    lines = EXAMPLE.read_text().splitlines()
    for key, value in changes.items():
        (number,) = [n for n, line in enumerate(lines) if line.startswith(f"{key} = ")]
        lines[number] = f"{key} = {value}"
    addresses = [f'labeler_url = "{services.labeler.url}"', f'trainer_url = "{services.trainer.url}"']
    path.write_text("\n".join([*addresses, *lines]))
    return path


def test_the_example_goes_from_splits_to_a_promoted_version(services, tmp_path):
    file = example(services, tmp_path / "nightly.toml")
    shown = flywheel(services, "pipeline", file)
    report = json.loads((tmp_path / "nightly.report.json").read_text())
    assert [(step["name"], step["state"]) for step in report["steps"]] == [
        (name, "done") for name in ("split", "clone", "train", "evaluate", "compare", "promote")
    ]
    split, clone, train, evaluate, compare, promote = [step["result"] for step in report["steps"]]
    assert sum(split["splits"].values()) == 90
    assert abs(split["splits"]["test"] - 18) <= 2
    assert clone["version"] == compare["base"]["version"] == f"{report['version']}-base"
    assert train["epochs"] == 3
    assert evaluate["accuracy"]["n"] == compare["images"] > 9
    assert promote["decision"] == report["decision"] == "promoted"
    assert report["exit_code"] == 0
    models = httpx.get(services.trainer.url + "/models").json()
    assert models["promoted"] == report["version"]
    assert f"{report['version']} is promoted." in shown
    # The next night: the version in use is cloned, and the required gain is too high for any version.
    stricter = example(
        services,
        file,
        min_delta="{ accuracy = 1.0 }",
        delete_discarded="true",
        epochs="1",
    )
    flywheel(services, "pipeline", stricter, "--skip", "split", code=1)
    second = json.loads((tmp_path / "nightly.report.json").read_text())
    assert second["steps"][0]["state"] == "skipped"
    assert (second["base"], second["decision"], second["exit_code"]) == (report["version"], "discarded", 1)
    models = httpx.get(services.trainer.url + "/models").json()
    assert models["promoted"] == report["version"]
    assert second["version"] not in {each["version"] for each in models["models"]}  # it was to be deleted


def test_it_continues_after_a_kill_of_the_command_and_of_the_trainer(services, tmp_path):
    file = example(services, tmp_path / "kill.toml", name='"kill"', epochs="4")
    command = [sys.executable, HOME / "flywheel.py", "pipeline", file, "--skip", "split"]
    report = tmp_path / "kill.report.json"

    def training():
        said = json.loads(report.read_text()) if report.exists() else {"steps": []}
        return any(step["name"] == "train" and "job" in step["result"] for step in said["steps"]) and said

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    first = wait_for(training, "a job", 120)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(20)
    assert json.loads(report.read_text())["exit_code"] is None
    services.trainer.kill()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    services.trainer.start()  # it was away when the run went on
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    assert "Continuing the run" in out
    said = json.loads(report.read_text())
    assert said["version"] == first["version"]
    jobs = [job for job in httpx.get(services.trainer.url + "/jobs").json()["jobs"] if job["kind"] == "train"]
    assert len([job for job in jobs if job["request"]["name"] == said["version"]]) == 1  # trained once
    assert said["decision"] == "promoted"


def test_a_failed_step_is_reported_and_run_again(services, tmp_path):
    file = example(services, tmp_path / "bad.toml", name='"bad"', architecture='"no_such_net"')
    flywheel(services, "pipeline", file, code=2)  # refused before a step changes anything
    assert not (tmp_path / "bad.report.json").exists()
    file = example(services, file, name='"bad"', architecture='"nor:that_net"')
    shown = flywheel(services, "pipeline", file, "--skip", "split", "--skip", "clone", code=3)
    assert "nor:that_net" in shown
    report = json.loads((tmp_path / "bad.report.json").read_text())
    assert [step["state"] for step in report["steps"]] == ["skipped", "skipped", "failed", *["waiting"] * 3]
    assert report["exit_code"] is None
    other = example(services, file, name='"bad"', architecture='"nor:this_net"')
    shown = flywheel(services, "pipeline", other, "--skip", "split", "--skip", "clone", code=3)
    assert "The file has changed" in shown
    assert "nor:this_net" in shown  # refused before there is a job
    assert "Continuing the run" in flywheel(services, "pipeline", other, "--skip", "split", "--skip", "clone", code=3)
    assert tomllib.loads(other.read_text())["train"]["architecture"] == "nor:this_net"


def test_a_version_below_the_required_figures_is_discarded_without_a_comparison(services, tmp_path):
    file = example(services, tmp_path / "low.toml", name='"low"', epochs="1", at_least="{ accuracy = 1.0 }")
    text = file.read_text().replace("learning_rate = 0.005", "learning_rate = 0.000001")
    file.write_text(text)
    flywheel(services, "pipeline", file, "--skip", "split", "--skip", "clone", code=1)
    report = json.loads((tmp_path / "low.report.json").read_text())
    assert "must be at least 1" in report["steps"][3]["result"]["below"]
    assert "not compared" in report["steps"][4]["result"]["reason"]
    assert report["decision"] == "discarded"
