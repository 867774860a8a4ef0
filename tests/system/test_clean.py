"""`flywheel clean` in a terminal, from a folder per class to the doubtful labels."""

import os
import signal
from contextlib import contextmanager

import httpx
import pytest

from tests import forks
from tests.services import COLOURS, free_port, running_services, wait_for, write_photos

pytestmark = pytest.mark.system

WRONG = 5


@pytest.fixture
def labeled(tmp_path):
    """90 photos in a folder per class, five of them in a wrong one; the names and true classes of these five."""
    swapped = dict(zip(COLOURS, [*list(COLOURS)[1:], next(iter(COLOURS))], strict=True))
    wrong = {}
    for number, (name, label) in enumerate(write_photos(tmp_path / "flat", 90).items()):
        if number < WRONG:
            wrong[f"{swapped[label]}/{name}"] = label
        folder = tmp_path / "photos" / (swapped[label] if number < WRONG else label)
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "flat" / name).rename(folder / name)
    return wrong


@contextmanager
def cleaning(folder):
    """Run `flywheel clean photos` in the folder; the address of the labeler, and the content of the file of opened
    pages.
    """
    browser = folder / "browser"
    browser.write_text('#!/bin/sh\necho "$1" >> opened\n')
    browser.chmod(0o755)
    environment = {**os.environ, "BROWSER": str(browser)}
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [
        "clean",
        "photos",
        "--workspace",
        "W",
        "--backbone",
        "pixels",
        "--port",
        str(port),
        "--trainer-port",
        "0",
    ]
    with (folder / "log").open("w") as log:
        process = forks.start("flywheel", command, environment, folder=folder, output=log)
        try:
            wait_for(lambda: f"Open {url}/review" in (folder / "log").read_text() or process.poll(), "the page", 120)
            assert process.poll() is None, (folder / "log").read_text()
            yield url
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                assert process.wait(30) == 0


def test_one_command_from_labels_to_the_wrong_ones(tmp_path, labeled):
    def waiting():
        return httpx.get(f"{url}/api/review?limit=100", timeout=20).raise_for_status().json()

    def found():
        uris = {each["id"]: each["uri"] for each in httpx.get(f"{url}/api/images?limit=1000").json()["images"]}
        return {uris[each["image_id"]]: each["proposed_name"] for each in waiting()["items"]}

    with cleaning(tmp_path) as url:
        assert httpx.get(f"{url}/api/project").json()["images"]["labeled"] == 90  # nothing is held out
        wait_for(lambda: waiting()["labels"] == 90, "judgements", 60)
        assert found() == labeled
        assert (tmp_path / "opened").read_text() == f"{url}/review\n"
        taken = httpx.post(f"{url}/api/review/accept", json={"annotator": "me", "confidence": 0.8}, timeout=20).json()
        assert taken["accepted"] >= 1
    with cleaning(tmp_path) as url:
        assert "imported before" in (tmp_path / "log").read_text()
        wait_for(lambda: waiting()["labels"] == 90, "judgements", 60)
        assert len(found()) == WRONG - taken["accepted"]  # what was fixed stays fixed
        assert waiting()["errors"] == taken["accepted"]
        state = httpx.get(f"{url}/api/project").json()["trainer"]["state"]
        assert state not in ("stopping", "stopped")  # nobody was asked, so an empty queue does not stop the trainer
        running = export(tmp_path, "labels.csv", "--labeler-url", url, "--where", "split=train label=red")
        in_use = export(tmp_path, "in_use.csv", "--workspace", "W", "--where", "split=train label=red")
    assert running.returncode == 0, running.stderr
    assert (in_use.returncode, f"(./W) at {url}" in in_use.stdout) == (0, True), in_use.stderr
    at_rest = export(tmp_path, "again.csv", "--workspace", "W", "--where", "split=train label=red")
    assert at_rest.returncode == 0, at_rest.stderr
    assert "(./W), not running" in at_rest.stdout
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "labels.csv").read_text()
    assert (tmp_path / "in_use.csv").read_text() == (tmp_path / "labels.csv").read_text()
    assert len((tmp_path / "again.csv").read_text().splitlines()) >= 30


def export(folder, *arguments):
    return flywheel(folder, "export", *arguments)


def flywheel(folder, *arguments):
    return forks.flywheel(*arguments, cwd=folder)


def test_versions_and_splits_of_a_running_labeler(tmp_path):
    with running_services(images=9, labeler={"test_set_frac": 0}, start_trainer=False) as services:

        def said(*arguments):
            done = flywheel(tmp_path, *arguments, "--labeler-url", services.labeler.url)
            assert done.returncode == 0, done.stderr
            return " ".join(done.stdout.split())

        said("snapshot", "save", "at first")
        services.label(2)
        assert "at first" in said("snapshot", "list")
        assert "2 labels and 0 splits differ" in said("snapshot", "diff", "at first")
        assert "2 answers undone" in said("snapshot", "restore", "at first")
        assert "0 labels and 0 splits differ" in said("snapshot", "diff", "at first")
        looked = said("split", "--test", "0.5", "--dry-run")
        assert "4 images would move: 5 train, 0 validation, 4 test; 2 answered here stay in their split." in looked
        said("split", "--test", "0.5")
        assert services.get("/api/project")["splits"]["test"]["total"] == 4
        said("export", "then.jsonl", "--snapshot", "at first")
        assert '"test"' not in (tmp_path / "then.jsonl").read_text()
        none = flywheel(tmp_path, "snapshot", "restore", "no such", "--labeler-url", services.labeler.url)
        assert (none.returncode, "no such" in none.stderr) == (2, True)


def test_an_unreadable_file_gives_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    done = flywheel(tmp_path, "clean", "empty")
    assert done.returncode == 2
    assert "empty contains no photos: put the photos into one folder per class" in done.stderr
