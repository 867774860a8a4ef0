"""The card of a detection project: photos with known boxes, and a mouse that takes pixels of the original."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageDraw
from playwright.sync_api import CDPSession, ViewportSize, expect

from tests.browser.card import Card
from tests.browser.labeler import class_ids, post, pushed, rows_of
from tests.services import COLOURS, Services

WIDTH, HEIGHT = 2400, 1800
"""Of the upright original: larger than the copy on the page."""
TURNED = 6
"""EXIF: the file holds the image turned by 90°."""


class Place(NamedTuple):
    """A box, in pixels of the upright original."""

    x: float
    y: float
    w: float
    h: float


SQUARE = Place(600, 400, 300, 200)
"""Where each photo has a red rectangle."""


def write_turned_photos(folder: Path, count: int) -> None:
    """Grey photos with a red rectangle, turned as a phone writes them."""
    folder.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = TURNED
    for number in range(count):
        upright = Image.new("RGB", (WIDTH, HEIGHT), (150, 150, 150))
        x, y, w, h = SQUARE
        ImageDraw.Draw(upright).rectangle((x, y, x + w, y + h), fill=COLOURS["red"])
        ImageDraw.Draw(upright).text((10, 10), str(number), "black", font_size=90)  # no two are equal
        upright.transpose(Image.Transpose.ROTATE_90).save(folder / f"{number:03}.jpg", quality=60, exif=exif)


def suggest(services: Services, found: dict[int, list[tuple[str, float, Place]]], reason: str) -> None:
    """Push a list of questions, as the trainer does, with suggested boxes: image id → class, confidence, place."""
    ids, push = class_ids(services), pushed(services, list(found), {}, reason)
    for query in push["queries"]:
        query["boxes"] = [
            {"label": ids[name], "confidence": confidence, **place._asdict()}
            for name, confidence, place in found[query["image_id"]]
        ]
    post(services, "/api/queries", push)


class Drawing(Card):
    """The card, with a mouse whose positions are pixels of the original image."""

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The position on the page of a pixel of the image, which is centred in its frame."""
        frame = self.page.locator(".picture").bounding_box()
        assert frame is not None
        scale = min(frame["width"] / WIDTH, frame["height"] / HEIGHT)
        left = frame["x"] + (frame["width"] - WIDTH * scale) / 2
        top = frame["y"] + (frame["height"] - HEIGHT * scale) / 2
        return left + x * scale, top + y * scale

    def drag(self, x: float, y: float, to_x: float, to_y: float) -> None:
        """Press at one place, release at another."""
        self.page.mouse.move(*self.at(x, y))
        self.page.mouse.down()
        self.page.mouse.move(*self.at((x + to_x) / 2, (y + to_y) / 2))
        self.page.mouse.move(*self.at(to_x, to_y))
        self.page.mouse.up()

    def draw(self, place: Place) -> None:
        """Drag from the upper left to the lower right corner."""
        self.drag(place.x, place.y, place.x + place.w, place.y + place.h)

    def click(self, x: float, y: float) -> None:
        """Click on a pixel of the image."""
        self.page.mouse.click(*self.at(x, y))

    def touched(self) -> CDPSession:
        """Turn the page into a phone's, and return a function that touches it."""
        self.page.set_viewport_size(ViewportSize(width=390, height=844))
        devtools = self.page.context.new_cdp_session(self.page)
        devtools.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
        return devtools

    def touch(self, devtools: CDPSession, *path: tuple[float, float]) -> None:
        """Move a finger along this path over the image; a path of one point is a tap."""
        points = [dict(zip("xy", self.at(*place), strict=True)) for place in path]
        devtools.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points[:1]})
        for point in points[1:]:
            devtools.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
        devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def colour(self, x: float, y: float) -> tuple[int, ...]:
        """The colour on the page at a pixel of the image, without the boxes."""
        left, top = self.at(x, y)
        self.page.mouse.move(0, 0)
        shot = self.page.screenshot(clip={"x": round(left), "y": round(top), "width": 1, "height": 1})
        found = Image.open(io.BytesIO(shot)).convert("RGB").getpixel((0, 0))
        assert isinstance(found, tuple)
        return tuple(round(each) for each in found)

    def says(self, words: str) -> None:
        """The line about the boxes contains these words."""
        expect(self.part("chosen")).to_contain_text(words)


def boxes_of(services: Services, annotator: str) -> list[list[tuple[str, str, Place]] | None]:
    """The annotator's rows in the log: class, origin and place of each box; None for a row without an answer."""
    names = {class_id: name for name, class_id in class_ids(services).items()}

    def read(box: dict[str, Any]) -> tuple[str, str, Place]:
        return names[box["label"]], box["origin"], Place(box["x"], box["y"], box["w"], box["h"])

    return [row["answer"] and list(map(read, row["answer"]["boxes"])) for row in rows_of(services, annotator)]


def near(place: Place, wanted: Place, pixels: float) -> bool:
    """Whether each edge is at most this many pixels away."""
    edges = [(each.x, each.y, each.x + each.w, each.y + each.h) for each in (place, wanted)]
    return all(abs(one - other) <= pixels for one, other in zip(*edges, strict=True))
