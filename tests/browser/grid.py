"""The grid as a person sees and uses it."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser.card import arrive
from tests.services import Services


class Grid:
    """The grid on one page. Call `open` first."""

    def __init__(self, page: Page, services: Services, annotator: str) -> None:
        self.page = page
        self.services = services
        self.annotator = annotator

    def open(self, query: str = "", *, empty: bool = False) -> Grid:
        arrive(self.page, self.services.labeler.url, self.annotator)
        self.page.goto(f"{self.services.labeler.url}/grid{query}")
        if not empty:
            self.wait_for_tiles()
        return self

    def part(self, name: str) -> Locator:
        return self.page.get_by_test_id(name)

    def wait_for_tiles(self) -> None:
        expect(self.part("tile").first.locator("img")).to_be_visible()

    def tile(self, image_id: int) -> Locator:
        return self.page.locator(f"[data-testid=tile][data-image-id='{image_id}']")

    def class_button(self, name: str) -> Locator:
        return self.part("class").filter(has=self.page.get_by_text(name, exact=True))

    @property
    def ids(self) -> list[int]:
        """Image ids of the tiles that exist, in order."""
        tiles: list[Any] = self.part("tile").evaluate_all("all => all.map(({ dataset }) => dataset)")
        return [int(each["imageId"]) for each in sorted(tiles, key=lambda each: int(each["index"]))]

    @property
    def chosen(self) -> list[int]:
        """Image ids of the chosen tiles, sorted."""
        marked = self.page.locator("[data-testid=tile][aria-selected=true]")
        return sorted(marked.evaluate_all("all => all.map(({ dataset }) => Number(dataset.imageId))"))

    def total(self) -> int:
        """The number of listed images, once it is known."""
        said = self.part("chosen").filter(has_text=" of ").inner_text()
        return int(said.split(" of ")[1].split()[0].replace(",", ""))
