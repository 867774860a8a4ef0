"""Doubtful yes and no answers, judged in a real browser: a verdict is about one class, and the others stay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.labeler import class_ids, post, rows_of
from tests.browser.test_review import Review, doubts
from tests.services import Services, running_services, wait_for

pytestmark = pytest.mark.browser
IMAGES, WRONG = 90, 6
CLASSES = ("red", "green", "blue")


@pytest.fixture
def services() -> Iterator[Services]:
    """Both services over images with a yes or no for each class. The first images have one wrong yes."""
    settings = {"task": "multilabel", "test_set_frac": 0, "validation_set_frac": 0}
    with running_services(images=IMAGES, labeler=settings) as services:
        wait_for(lambda: services.status()["embedding"]["done"] == IMAGES)
        rows = []
        for number, (uri, truth) in enumerate(sorted(services.truth.items())):
            also = [CLASSES[CLASSES.index(truth) - 1]] if number < WRONG else []
            yes = [truth, *also]
            answer = {"yes": yes, "no": [each for each in CLASSES if each not in yes]}
            rows.append({"line": number, "uri": uri, "answer": answer})
        assert not post(services, "/api/import", {"rows": rows})["rejected"]
        wait_for(lambda: doubts(services)["labels"] == IMAGES)
        yield services


def test_a_verdict_is_about_one_class_and_the_others_stay(services: Services, page: Page, annotator: str) -> None:
    names = {class_id: name for name, class_id in class_ids(services).items()}
    review = Review(page, services, annotator).open()
    first: dict[str, Any] = doubts(services)["items"][0]
    about = names[first["label"]]
    expect(review.part("keep")).to_contain_text(about)
    expect(review.part("accept")).to_contain_text(about)
    expect(review.part("remove")).to_be_hidden()  # a class is right or wrong: there is nothing to remove
    fixed = review.key("Enter")
    kept = review.key("k")
    review.wait_saved()
    taken, left = (
        next(row for row in rows_of(services, annotator) if row["image_id"] == each) for each in (fixed, kept)
    )
    assert (taken["reason"], left["reason"]) == ("fix", "keep")
    assert fixed == first["image_id"]
    says = {names[each]: side for side in ("yes", "no") for each in taken["answer"][side]}
    assert says == {each: "yes" if each == services.truth[services.names()[fixed]] else "no" for each in CLASSES}
    review.page.reload()
    review.wait_for_image()
    assert (fixed, first["label"]) not in {(each["image_id"], each["label"]) for each in doubts(services)["items"]}
