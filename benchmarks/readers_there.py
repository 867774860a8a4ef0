"""The side of `benchmarks.other_readers` that runs where the other tools are installed, and nothing of ours is.

It prints one JSON object per line: the reader, and for each image what it found, or why it could not read.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Found = dict[str, list[Any]]
"""Image → its classes, or its boxes as (class, left, top, right, bottom)."""


def number(name: str) -> str:
    """The image in a name such as `photos/2-2.png`, `1.png`, or `/data/local-files/?d=1.png`."""
    return Path(name).stem.rpartition("=")[2].rpartition("-")[2]


def supervision(folder: Path, kind: str) -> Found:
    """A detection dataset as supervision loads it."""
    dataset = importlib.import_module("supervision").DetectionDataset
    train = folder / "yolo"
    loaded = {
        "coco": lambda: dataset.from_coco(str(folder / "photos"), str(folder / "coco.json")),
        "yolo": lambda: dataset.from_yolo(
            str(train / "images" / "train"), str(train / "labels" / "train"), str(train / "data.yaml")
        ),
        "voc": lambda: dataset.from_pascal_voc(*_voc(folder / "voc")),
    }[kind]()
    return {
        number(path): [
            [loaded.classes[label], *place]
            for label, place in zip(found.class_id.tolist(), found.xyxy.tolist(), strict=True)
        ]
        for path, _, found in loaded
    }


def _voc(folder: Path) -> tuple[str, str]:
    """The folder of the images, which the export does not hold, and that of their files."""
    return str(folder.parent / "photos"), str(next(folder.rglob("*.xml")).parent)


def datumaro(folder: Path, kind: str) -> Found:
    """A dataset as datumaro imports it, in the layout that it asks for."""
    module = importlib.import_module("datumaro")
    there = folder / f"datumaro-{kind}"
    if kind == "coco":
        _laid(there / "annotations" / "instances_train.json", folder / "coco.json")
        shutil.copytree(folder / "photos", there / "images" / "train", dirs_exist_ok=True)
        path, name = there, "coco_instances"
    elif kind == "cvat":
        _laid(there / "annotations.xml", folder / "cvat.xml")
        shutil.copytree(folder / "photos", there / "images", dirs_exist_ok=True)
        path, name = there, "cvat"
    else:
        path, name = folder / "yolo", "yolo"
    dataset = module.Dataset.import_from(str(path), name)
    names = [each.name for each in dataset.categories()[module.AnnotationType.label]]
    found: Found = {}
    for item in dataset:
        for each in item.annotations:
            if each.type == module.AnnotationType.bbox:
                found.setdefault(number(item.id), []).append([names[each.label], *each.points])
            elif each.type == module.AnnotationType.label:
                found.setdefault(number(item.id), []).append(names[each.label])
    return found


def label_studio(folder: Path, kind: str) -> Found:
    """What Label Studio's converter makes of our export: COCO's JSON of boxes, its short JSON of several classes."""
    converter = importlib.import_module("label_studio_sdk.converter").Converter
    source, target = folder / "label_studio.json", folder / "converted"
    tasks = json.loads(source.read_text(encoding="utf-8"))
    results = [each for task in tasks for given in task["annotations"] for each in given["result"]]
    control, tag = ("RectangleLabels", "Label") if kind == "boxes" else ("Choices", "Choice")
    names = dict.fromkeys(name for each in results for name in each["value"][control.lower()])
    said = "".join(f'<{tag} value="{name}"/>' for name in names)
    several = "" if kind == "boxes" else ' choice="multiple"'
    key = next(iter(tasks[0]["data"]))
    names_of = f'name="{results[0]["from_name"]}" toName="{results[0]["to_name"]}"'
    choices = f"<{control} {names_of}{several}>{said}</{control}>"
    config = f'<View><Image name="image" value="${key}"/>{choices}</View>'
    reader = converter(config, project_dir=str(folder), download_resources=False)
    if kind == "boxes":
        reader.convert_to_coco(str(source), str(target), output_image_dir=str(target / "images"), is_dir=False)
        made = json.loads((target / "result.json").read_text(encoding="utf-8"))
        files = {each["id"]: number(each["file_name"]) for each in made["images"]}
        called = {each["id"]: each["name"] for each in made["categories"]}
        found: Found = {}
        for each in made["annotations"]:
            x, y, w, h = each["bbox"]
            found.setdefault(files[each["image_id"]], []).append([called[each["category_id"]], x, y, x + w, y + h])
        return found
    reader.convert_to_json_min(str(source), str(target), is_dir=False)
    rows = json.loads((target / "result.json").read_text(encoding="utf-8"))
    field = results[0]["from_name"]
    return {number(row[key]): _choices(row.get(field)) for row in rows}


def _choices(said: Any) -> list[str]:
    if isinstance(said, dict):
        return [str(each) for each in said["choices"]]
    return [] if not said else [said] if isinstance(said, str) else [str(each) for each in said]


def _laid(path: Path, source: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, path)


def main(folder: Path) -> None:
    """Let each tool read what it can."""
    where = folder / "boxes"
    readers: list[tuple[str, str, Callable[[], Found]]] = [
        *(
            (f"supervision, {kind}", "boxes", lambda kind=kind: supervision(where, kind))
            for kind in ("coco", "yolo", "voc")
        ),
        *((f"datumaro, {kind}", "boxes", lambda kind=kind: datumaro(where, kind)) for kind in ("coco", "yolo", "cvat")),
        ("datumaro, cvat", "classes", lambda: datumaro(folder / "classes", "cvat")),
        ("Label Studio's converter", "boxes", lambda: label_studio(where, "boxes")),
        ("Label Studio's converter", "classes", lambda: label_studio(folder / "classes", "classes")),
    ]
    for reader, kind, read in readers:
        said: dict[str, Any] = {"reader": reader, "kind": kind}
        try:
            said["found"] = read()
        except Exception as error:  # whatever a tool does with a file that it cannot read
            why = " / ".join(filter(None, (str(error), str(error.__cause__ or ""))))
            said["error"] = f"{type(error).__name__}: {why}"[:600]
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
