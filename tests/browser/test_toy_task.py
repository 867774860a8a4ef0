"""A new kind of label on the pages: they show what its task says, and no other code knows it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.card import Card
from tests.browser.grid import Grid
from tests.browser.labeler import rows_of
from tests.browser.pages import TITLES, follow
from tests.services import HOME, Services, running_services

pytestmark = [pytest.mark.browser, pytest.mark.provokes_errors]  # what only a trainer can say is refused with 503
BROWSERS_PART = HOME / "tests" / "ui_js" / "tasks" / "count.js"
PROGRAM = "tests.labeler_that_counts"
ONE_LINE = 'import { count } from "./count.js";\nregister(count);\n'


@pytest.fixture(scope="module")
def counting() -> Iterator[Services]:
    settings = {"task": "count", "classes": "", "test_set_frac": 0, "validation_set_frac": 0}
    with running_services(images=8, labeler=settings, start_trainer=False, labeler_program=PROGRAM) as services:
        yield services


@pytest.fixture
def counting_page(page: Page) -> Page:
    """A page that gets the browser's part of the task as if it stood in `labeler/ui/tasks/`."""

    def registry(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text() + ONE_LINE)

    page.route("**/tasks/registry.js", registry)
    page.route("**/tasks/count.js", lambda route: route.fulfill(path=BROWSERS_PART, content_type="text/javascript"))
    return page


def test_a_new_task_is_labeled_on_every_page_that_labels(
    counting: Services, counting_page: Page, annotator: str
) -> None:
    page, failures = counting_page, []
    page.on("pageerror", lambda error: failures.append(str(error)))
    card = Card(page, counting.labeler.url, annotator).open()
    expect(card.part("suggestion")).to_have_text("How many objects are there?")
    expect(card.part("task")).to_have_text("Objects per image")
    expect(card.part("add-class")).to_be_hidden()
    first = card.image_id
    card.part("count-3").click()
    expect(card.part("strip").locator("li")).to_have_count(1)
    expect(card.part("strip")).to_contain_text("3")
    card.wait_saved()
    card.key("z")
    assert card.image_id == first
    card.part("count-4").click()
    card.wait_saved()
    assert [row["answer"] for row in rows_of(counting, annotator) if row["action"] == "label"] == [3, 4]

    grid = Grid(page, counting, annotator).open()
    page.keyboard.press("a")
    page.keyboard.press("x")
    expect(grid.part("message")).to_have_text("7 images counted as 0.")
    assert {row["answer"] for row in rows_of(counting, annotator)[-7:]} == {0}

    for address in TITLES:
        follow(page, address)
        expect(page.get_by_test_id("stException"), address).to_have_count(0)
    assert failures == []
