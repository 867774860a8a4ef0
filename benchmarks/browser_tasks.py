"""Time from key to next painted image, with one class an image and with several: `python -m benchmarks.browser_tasks`.

Both services of two projects run on the same generated photos, one project for each task. A script types in the page of
one project, then in that of the other, in turn, so that a busy machine affects both. With one class, each key answers.
With several, a key switches a class on and `Enter` answers; the time counts from `Enter`. The services of the project
that is not typed in have nothing to do meanwhile.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks.browser import VIEWPORT, latencies
from benchmarks.machine import describe, p50_p95
from tests.browser.card import Card, launch
from tests.browser.labeler import class_ids, rows_of
from tests.services import Services, running_services

TASKS = ("classification", "multilabel")
PACES = (("steadily", 0.25), ("25 a second", 0.04))


@dataclass
class Typed:
    """What one task and one pace gave, over all turns."""

    answers: int = 0
    refused: int = 0
    lost: int = 0
    doubled: int = 0
    misplaced: int = 0
    milliseconds: list[float] = field(default_factory=list)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=50, help="answers of each turn")
    parser.add_argument("--turns", type=int, default=4, help="turns of each task at each pace")
    options = parser.parse_args()
    print(describe("streamlit", "playwright", "fastapi"))
    needed = options.answers * options.turns * len(PACES)
    numbers = count(1)
    found = {(task, name): Typed() for name, _ in PACES for task in TASKS}
    with sync_playwright() as playwright, ExitStack() as stack:
        browser = launch(playwright)
        stack.callback(browser.close)
        running = {
            task: stack.enter_context(running_services(images=2 * needed, labeler={"task": task})) for task in TASKS
        }
        print(f"Chromium {browser.version}, {2 * needed:,} images in each project")
        context = browser.new_context(viewport=VIEWPORT)
        for name, pace in PACES:
            for turn in range(options.turns):
                for task in TASKS if turn % 2 == 0 else TASKS[::-1]:
                    card = Card(context.new_page(), running[task].labeler.url, f"{name} {next(numbers)}").open()
                    _type(running[task], card, task, options.answers, pace, found[task, name])
                    card.page.close()
    print("task            keys typed   answers  key to next image p50 / p95  not counted  lost  doubled  misplaced")
    for (task, name), typed in found.items():
        times = p50_p95(typed.milliseconds, digits=1)
        print(
            f"{task:14}  {name:11}  {typed.answers:7}  {times:>27}  {typed.refused:11}  "
            f"{typed.lost:4}  {typed.doubled:7}  {typed.misplaced:9}"
        )


def _type(services: Services, card: Card, task: str, answers: int, pace: float, typed: Typed) -> None:
    """Give this many answers, and compare the log with what was on screen at each key."""
    keys = [str(number % 3 + 1) for number in range(answers)]
    if task == "multilabel":
        keys = [each for key in keys for each in (key, "Enter")]
    card.type_quickly(keys, pace)
    card.wait_saved()
    recorded, rows = card.recorded, rows_of(services, card.annotator)
    typed.answers += len(recorded["answers"])
    typed.refused += len(recorded["refused"])
    typed.milliseconds += latencies(recorded)
    typed.lost += len({each["id"] for each in recorded["answers"]} - {row["id"] for row in rows})
    typed.doubled += len(rows) - len({row["image_id"] for row in rows})
    shown = _shown(recorded["keys"], list(class_ids(services).values()), task)
    typed.misplaced += sum((row["image_id"], _said(row)) not in shown for row in rows)


def _shown(keys: list[dict[str, Any]], ids: list[int], task: str) -> set[tuple[int, tuple[int, ...]]]:
    """The images that were on screen when they were answered, and the classes pressed for them."""
    found, on = set[tuple[int, tuple[int, ...]]](), dict[int, set[int]]()
    for each in keys:
        image, key = each["shown"], each["key"]
        if key != "Enter":
            on.setdefault(image, set()).symmetric_difference_update({ids[int(key) - 1]})
        if task == "classification":
            found.add((image, (ids[int(key) - 1],)))
        elif key == "Enter":
            found.add((image, tuple(sorted(on.get(image, set())))))
    return found


def _said(row: dict[str, Any]) -> tuple[int, ...]:
    return tuple(row["answer"]["yes"]) if row.get("answer") else (row["label"],)


if __name__ == "__main__":
    main()
