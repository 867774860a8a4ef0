"""The page Models with both real services: keep two versions, compare them, promote one."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.card import keep_picture
from tests.browser.numbers import compare_numbers
from tests.browser.test_pages import SCHEMES
from tests.services import Services, wait_for

pytestmark = pytest.mark.browser


def keep(page: Page, name: str) -> None:
    field = page.get_by_label("Name", exact=True)
    field.fill(name)
    field.press("Enter")
    page.get_by_role("button", name="Save current model").click()
    expect(page.get_by_role("table").first.get_by_text(name, exact=True)).to_be_visible(timeout=60_000)


def test_versions_are_kept_compared_and_promoted(pair: Services, page: Page, tmp_path: Path) -> None:
    page.goto(f"{pair.labeler.url}/models")
    expect(page.get_by_text("No version is saved yet")).to_be_visible()
    page.get_by_role("button", name="Save current model").click()
    expect(page.get_by_text("There is no model yet: label images of at least two classes first")).to_be_visible()
    pair.label_at_once(40)
    wait_for(lambda: pair.status()["metrics"].get("test_labels", 0) > 3, "test labels")
    body = {"name": "few-labels"}
    httpx.post(f"{pair.trainer.url}/models", json=body, timeout=60).raise_for_status()  # not by the page
    expect(page.get_by_role("table").first.get_by_text("few-labels", exact=True)).to_be_visible()
    pair.label_at_once(60)
    wait_for(lambda: pair.caught_up() and pair.status()["labels"] > 60, "more labels")
    keep(page, "more-labels")
    compare_numbers(pair, page, tmp_path)
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text(re.compile("Update to|Keep")).first).to_be_visible(timeout=90_000)
    expect(page.get_by_text("McNemar's exact test gives")).to_be_visible()
    expect(page.get_by_text("Where they differ")).to_be_visible()
    expect(page.get_by_text("Off: no network embeds the images")).to_be_visible()  # why there is no challenger
    expect(page.get_by_test_id("stVegaLiteChart")).to_have_count(2)
    keep_picture(page, "models.png", size={"width": 1280, "height": 2_200})
    page.get_by_role("button", name="Promote", exact=True).click()
    expect(page.get_by_text("answers predictions; questions always come")).to_contain_text("more-labels")
    page.get_by_text("Download more-labels").click()
    page.get_by_text("Train a new model").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Weights (safetensors)").click()
    assert download.value.suggested_filename == "more-labels-model.safetensors"
    stored = pair.workspace / "trainer" / "models" / "more-labels" / "model.safetensors"
    assert download.value.path().read_bytes() == stored.read_bytes()
    expect(page.get_by_test_id("downloads")).to_contain_text("more-labels-model.safetensors: written")
    train = page.get_by_role("button", name="Train", exact=True)
    expect(train).to_be_visible()
    page.get_by_role("button", name="Delete …").click()  # which moves what is below it
    expect(page.get_by_text("This deletes version more-labels")).to_contain_text("1 other version")
    page.get_by_role("button", name="Delete more-labels").click()
    expect(page.get_by_role("alert").filter(has_text="promoted")).to_be_visible()  # which is refused
    page.get_by_text("Try a model on an image").click()
    image = next(path for path in sorted(pair.photos.iterdir()) if pair.truth[path.name] == "green")
    chooser = page.locator("input[type=file]")
    expect(chooser).to_have_count(1)  # while the refusal moves what is below it, Streamlit keeps the old one as well
    chooser.set_input_files(str(image))
    expect(page.get_by_text(re.compile(r"% sure\. "))).to_contain_text("green")
    expect(train).to_be_visible()  # still open, though the page above it moved up and down
    train.click()
    expect(page.get_by_text("The version needs a name")).to_be_visible()
    expect(page.get_by_label("Name of the new version")).to_be_visible()  # a refusal closes nothing that is open
    expect(page.get_by_text(re.compile(r"% sure\. "))).to_be_visible()
    for width in (390, 1280):
        for scheme in SCHEMES:
            name, size = f"models-{width}-{scheme}.png", ViewportSize(width=width, height=2_600)
            keep_picture(page, name, size=size, scheme=scheme, after_ms=1_500)
