"""Photos and label files on the page Data: uploaded, checked, imported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.labeler.projects import photo
from tests.services import Services, running_services, wait_for

pytestmark = pytest.mark.browser


@pytest.fixture
def services() -> Iterator[Services]:
    with running_services(images=1, labeler={"classes": "cat", "test_set_frac": 0}, start_trainer=False) as services:
        yield services


def test_photos_and_labels_are_given_on_a_page(services: Services, page: Page, tmp_path: Path) -> None:
    trip = tmp_path / "trip"
    for shade, name in enumerate(["cat/1.png", "cat/2.png", "dog/3.png"], 900):
        photo(trip / name, shade)
    (trip / "dog" / "broken.png").write_bytes(b"no image")
    (trip / "cat" / "copy.png").write_bytes((trip / "cat" / "1.png").read_bytes())
    photo(tmp_path / "4.png", 950)
    (trip / "cat" / "IMG_4").write_bytes((tmp_path / "4.png").read_bytes())  # its content says what it is
    (trip / "notes.doc").write_bytes(b"hello")
    page.goto(f"{services.labeler.url}/data")
    add = page.get_by_test_id("add")

    add.get_by_test_id("folder").set_input_files(trip)
    expect(add.get_by_role("status").first).to_have_text("4 photos added, 1 already here, 2 not added.")
    assert sorted(add.get_by_test_id("rejected").locator("li").all_inner_texts()) == [
        "trip/dog/broken.png is not an image (JPEG, PNG, WebP, AVIF, HEIC, JPEG 2000, TIFF, GIF, BMP, PPM or QOI)",
        "trip/notes.doc is neither a photo nor a label file",
    ]
    expect(add.get_by_test_id("duplicates").locator("li")).to_have_count(1)

    add.get_by_role("button", name="Use the 2 folder names in trip as labels").click()
    file = add.get_by_test_id("label-file")
    expect(file).to_contain_text("4labels to import")
    expect(file).to_contain_text("New classes: dog (1).")
    expect(file.get_by_label("Add the new classes")).to_be_checked()
    assert services.get("/api/project")["images"]["labeled"] == 0
    file.get_by_role("button", name="Discard").click()
    expect(file).to_have_count(0)

    table = FilePayload(
        name="mine.csv", mimeType="text/csv", buffer=b"filename,label\n1.png,cat\n3.png,dog\nno.png,cat\n"
    )
    add.get_by_test_id("files").set_input_files(table)
    expect(file).to_contain_text("Nothing is written yet.")
    file.get_by_role("button", name="Import 2 labels").click()
    expect(file).to_contain_text("2labels imported")
    file.get_by_text("1 row with a problem").click()
    expect(file.locator("li")).to_have_text("line 4: no.png does not exist")
    wait_for(lambda: services.get("/api/project")["images"]["labeled"] == 2)
    expect(page.get_by_text("2 of them labeled")).to_be_visible()

    typing = FilePayload(name="typo.csv", mimeType="text/csv", buffer=b"filename,label\n2.png,catt\n")
    add.get_by_test_id("files").set_input_files(typing)
    misspelled = file.filter(has_text="typo.csv")
    expect(misspelled).to_contain_text("“catt” may mean cat.")
    expect(misspelled.get_by_label("Add the new classes")).not_to_be_checked()
    misspelled.get_by_role("button", name="Discard").click()
    expect(misspelled).to_have_count(0)

    odd = FilePayload(name="odd.csv", mimeType="text/csv", buffer=b"foto;art;ort\n1.PNG;cat;x\n3.png;dog;y\n")
    add.get_by_test_id("files").set_input_files(odd)
    named = file.filter(has_text="odd.csv")
    expect(named).to_contain_text("does not say which columns are image and label")
    named.get_by_label("Columns").fill("image=foto,label=art")
    named.get_by_role("button", name="Check again").click()
    expect(named).to_contain_text("Read with separator semicolon, encoding utf-8, image from 'foto', label from 'art'.")
    expect(named).to_contain_text("1 name matched by ignoring leading folders: 1.PNG is trip/cat/1.png.")
    expect(named).to_contain_text("2imported before")
    named.get_by_role("button", name="Discard").click()

    more = [photo(tmp_path / f"more-{shade}.png", shade) for shade in range(1_000, 1_060)]
    add.get_by_test_id("files").set_input_files(more)
    page.get_by_role("link", name="Grid").click()  # the upload goes on
    wait_for(lambda: services.get("/api/project")["images"]["total"] == 65)
    page.get_by_role("link", name="Data").click()
    expect(page.get_by_test_id("added")).to_contain_text("60 photos added.")
