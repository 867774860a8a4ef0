"""COCO's JSON: `images`, `annotations` of images with a category each, `categories`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labeler.transfer.files.spooled import pieces, spool
from labeler.transfer.files.whole_files import content_of
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.left_out import LeftOut
from shared.settings.services import SettingsError

Given = Mapping[str, Any]
"""An object of the file."""


def write(
    rows: Iterator[ExportRow],
    extras: Extras,
    without: tuple[str, ...],
    annotations_of: Callable[[ExportRow], Iterable[tuple[str, Given]]],
    categories: dict[str, int],
) -> Iterator[bytes]:
    """Write one JSON object. `without` names columns that are not written, and `annotations_of` gives the class and
    the fields of each annotation. A class that is not among the `categories` comes after them."""
    count = 0
    with spool() as annotations:
        yield b'{"info": {"description": "Flywheel"}, "images": [\n'
        comma = b""
        for row in rows:
            known = {name: value for name, value in row.record(extras).items() if name not in without}
            image = {**known, "file_name": row.uri, "width": row.width, "height": row.height}
            yield comma + json.dumps(image).encode()
            comma = b",\n"
            for name, fields in annotations_of(row):
                count += 1
                category = categories.setdefault(name, len(categories) + 1)
                annotation = {"id": count, "image_id": row.id, "category_id": category, **fields}
                annotations.write((b",\n" if count > 1 else b"") + json.dumps(annotation).encode())
        yield b'\n], "annotations": [\n'
        yield from pieces(annotations)
        named = [{"id": number, "name": name} for name, number in categories.items()]
        yield b'\n], "categories": ' + json.dumps(named).encode() + b"}\n"


@dataclass(frozen=True)
class Content:
    """What a file says: the names of the categories, the images, and the annotations of each image."""

    names: Mapping[Any, Any]
    images: list[tuple[Any, str, Given]]  # id, file name and object
    lines: Mapping[Any, int]  # id → number of the image, from 1
    annotations: Mapping[Any, list[Given]]

    @classmethod
    def of(cls, path: Path, holds: str) -> Content:
        """Read a file as a whole. Raises SettingsError for another format, or a file that is too large."""
        try:
            content = json.loads(content_of(path))
            names = {each["id"]: each["name"] for each in content["categories"]}
            images = [(image["id"], image["file_name"], image) for image in content["images"]]
            lines = {image_id: number for number, (image_id, _, _) in enumerate(images, start=1)}
            annotations: dict[Any, list[Given]] = {}
            for each in content["annotations"]:
                annotations.setdefault(each["image_id"], []).append({**each, "category_id": each["category_id"]})
        except KeyError as error:
            raise SettingsError(f"{path} is not COCO's JSON with {holds}: {error} is missing.") from None
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise SettingsError(f"{path} is not COCO's JSON: {type(error).__name__} {error}.") from None
        return cls(names, images, lines, annotations)

    def name_of(self, annotation: Given) -> Any:
        """The class of an annotation; None if the file does not list its category."""
        category = annotation["category_id"]
        return self.names.get(category) if isinstance(category, str | int | float) else None

    def rows(self, left: LeftOut) -> Iterator[tuple[int, dict[str, Any], Given, list[Given]]]:
        """(number from 1, name and annotators, object, annotations) of each image; counts annotations of others."""
        for image_id, some in self.annotations.items():
            if image_id not in self.lines:
                left.add("annotation", "of an image that the file does not list", 0, count=len(some))
        for number, (image_id, uri, image) in enumerate(self.images, start=1):
            known = {"uri": uri, "annotator": image.get("annotators")}
            yield number, known, image, self.annotations.get(image_id, [])


def unlisted(category: Any) -> str:
    """What is wrong with an annotation of a category that the file does not list."""
    return f"has a category {repr(category)[:42]}, which the file does not list"
