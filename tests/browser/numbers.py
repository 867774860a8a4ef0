"""One project with both services, and every page, route and command that shows its numbers: they are the same."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, expect
from typer.testing import CliRunner

import flywheel
from shared.figures import accuracy_in_words, interval_in_words, many, percent
from shared.wire.evaluation import Interval
from shared.wire.models import ModelList
from tests.browser.pages import follow
from tests.services import Services, wait_for

SIMULATED = 16  # images that the simulated person answers; it knows every other one


def compare_numbers(pair: Services, page: Page, folder: Path) -> None:
    """Add a correction, skips, a flag and a second and third person, then compare. Models is the last page."""
    correct_and_skip(pair)
    simulate(pair, folder)
    wait_for(pair.caught_up)
    labeled = pair.get("/api/project")["images"]["labeled"]
    wait_for(lambda: pair.get("/api/progress")["evaluations"][-1]["spent"] == labeled, "an evaluation of all labels")
    project = pair.get("/api/project")
    routes(pair, project)
    commands(pair, project)
    label_and_bar(pair, page, project)
    many_images(pair, page, project)
    figures(pair, page, project)


def correct_and_skip(pair: Services) -> None:
    given = next(row for row in pair.get("/api/annotations?limit=50")["annotations"] if row["action"] == "label")
    pair.annotate([pair.answer(given["image_id"], "blue")]).raise_for_status()
    pair.label(6, "bob")
    for action, item in zip(("skip", "flag"), pair.queue(limit=2), strict=True):
        answer = pair.answer(item["image_id"], "") | {"action": action, "label": None}
        pair.annotate([answer]).raise_for_status()


def simulate(pair: Services, folder: Path) -> None:
    """`flywheel simulate` counts labels like the pages: a skip is not a label."""
    before = pair.get("/api/project")["images"]
    table = folder / "truth.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("filename", "label"), *sorted(pair.truth.items())[::2]])
    given = ("--labels", table, "--budget", SIMULATED, "--annotator", "eve", "--pace", 50)  # 0 waits for each new queue
    said = command("simulate", *given, url=pair.labeler.url)
    after = pair.get("/api/project")["images"]
    labels, skips = (after[each] - before[each] for each in ("labeled", "skipped"))
    assert skips
    assert labels + skips == SIMULATED
    assert f"{many(labels, 'label')} and {many(skips, 'skip')} in" in said


def command(name: str, *arguments: object, url: str) -> str:
    """The output of a command, in one line."""
    words = [
        *name.split(),
        *map(str, arguments),
        "--trainer-url" if name.startswith("models") else "--labeler-url",
        url,
    ]
    done = CliRunner().invoke(flywheel.app, words, env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    return re.sub(r"[│\s]+", " ", done.output)


def routes(pair: Services, project: dict[str, Any]) -> None:
    status, train = pair.status(), project["splits"]["train"]["labeled"]
    latest = pair.get("/api/progress")["evaluations"][-1]
    assert project["accuracy"] == latest["accuracy"]
    assert status["labels"] == latest["labels"] == train
    assert latest["spent"] == project["images"]["labeled"]
    assert latest["accuracy"]["n"] == project["splits"]["test"]["labeled"]
    assert status["metrics"]["accuracy"] == latest["accuracy"]["value"]
    metrics = httpx.get(f"{pair.trainer.url}/metrics", timeout=20).text
    assert f"flywheel_trainer_labels {train:.1f}" in metrics
    assert f"flywheel_trainer_test_labels {latest['accuracy']['n']:.1f}" in metrics
    assert f"flywheel_trainer_accuracy {latest['accuracy']['value']}" in metrics


def commands(pair: Services, project: dict[str, Any]) -> None:
    images, accuracy = project["images"], Interval.model_validate(project["accuracy"])
    said = command("status", url=pair.labeler.url)
    parts = ", ".join(f"{images[each]:,} {each}" for each in ("labeled", "skipped", "flagged", "unlabeled"))
    assert f"{images['total']:,} ({parts})" in said
    assert accuracy_in_words(accuracy) in said


def label_and_bar(pair: Services, page: Page, project: dict[str, Any]) -> None:
    images = project["images"]
    page.goto(pair.labeler.url)
    expect(page.get_by_test_id("counts")).to_have_text(f"{images['labeled']} of {images['total']} images labeled")
    words = accuracy_in_words(Interval.model_validate(project["accuracy"]))
    expect(page.get_by_test_id("accuracy")).to_have_text(f"accuracy {words}")
    expect(page.get_by_test_id("class").locator(".labels")).to_have_text(
        [str(each["labels"]) for each in project["classes"]]
    )
    expect(page.get_by_test_id("lag")).to_have_text("The trainer is up to date")
    expect(page.get_by_test_id("pace").first).to_contain_text(f"all {len(project['people'])} people")
    assert page.get_by_test_id("card").get_by_test_id("pace").inner_text() == ""  # the bar has it, as there are several


def many_images(pair: Services, page: Page, project: dict[str, Any]) -> None:
    """Grid and Map leave out held-out images, and say how many."""
    train, held = (project["splits"][each] for each in ("train", "test"))
    note = f"{many(held['total'], 'held-out image')} are left out."
    page.goto(f"{pair.labeler.url}/grid?status=labeled")
    expect(page.get_by_test_id("chosen")).to_have_text(f"0 of {train['labeled']} chosen")
    expect(page.get_by_test_id("held-out")).to_have_text(note)
    page.goto(f"{pair.labeler.url}/grid?by=confidence")
    expect(page.get_by_test_id("tile").first.locator("b")).to_have_text(re.compile(r"^\d+%$"))  # which is never cut
    follow(page, "map")
    legend = page.get_by_test_id("colour-of").locator("span")
    expect(legend.first).to_be_visible()
    expect(page.get_by_test_id("held-out")).to_have_text(note)
    without, *classes = (int(text.replace(",", "")) for text in legend.all_inner_texts())
    assert (without, sum(classes)) == (train["total"] - train["labeled"], train["labeled"])


def figures(pair: Services, page: Page, project: dict[str, Any]) -> None:
    images, accuracy = project["images"], Interval.model_validate(project["accuracy"])
    value = percent(accuracy.value, 1)
    follow(page, "progress")
    for metric in (f"{images['labeled']} of {images['total']}", value):
        expect(page.get_by_test_id("stMetricValue").filter(has_text=metric)).to_be_visible()
    expect(page.get_by_text(f"After {images['labeled']} labels the model is right on {value}")).to_be_visible()
    rows = page.get_by_role("table").first.get_by_role("row")
    expect(rows).to_have_count(1 + len(project["classes"]))
    tested = {each["label"]: each["support"] for each in pair.get("/api/progress")["evaluations"][-1]["classes"]}
    assert sum(tested.values()) == accuracy.n
    for row, each in zip(rows.all()[1:], project["classes"], strict=True):
        said = [each["name"], f"{each['labels']:,}", f"{tested.get(each['id'], 0):,}"]
        for number, words in enumerate(said):
            expect(row.get_by_role("cell").nth(number)).to_have_text(words)

    follow(page, "finish")
    expect(page.get_by_text(f"{images['labeled']} labels, with the split of each image")).to_be_visible()
    table = page.get_by_role("table").first
    learned = project["splits"]["train"]["labeled"]
    for name, cell in {
        "Accuracy": f"{value} {interval_in_words(accuracy)}",
        "Test images": f"{accuracy.n}",
        "Labels the model learned from": f"{learned}",
        "Labels, including those of test images": f"{images['labeled']}",
    }.items():
        expect(table.get_by_role("row").filter(has_text=name).first).to_contain_text(
            re.compile(rf"{cell}".replace(" ", r"\s*"))
        )

    follow(page, "data")
    expect(page.get_by_text(f"{images['total']} photos, {images['labeled']} of them labeled.")).to_be_visible()

    versions = ModelList.model_validate(httpx.get(f"{pair.trainer.url}/models", timeout=20).json()).models
    listed = command("models list", url=pair.trainer.url)
    follow(page, "models")
    for each in versions:
        row = page.get_by_role("row").filter(has=page.get_by_text(each.version, exact=True))
        measured = each.metrics.accuracy if each.metrics is not None else None
        expect(row).to_contain_text(accuracy_in_words(measured))
        expect(row).to_contain_text(many(each.labels, "label"))
        assert f"{each.version} {each.labels} " in listed
        if measured is not None and measured.n >= 10:
            for part in (percent(measured.value, 1), interval_in_words(measured), many(measured.n, "test image")):
                assert part in listed
