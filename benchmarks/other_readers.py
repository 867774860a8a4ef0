"""Our exports of boxes, and of several classes, read by other tools: `python -m benchmarks.other_readers`.

The tools are installed from PyPI into an environment of their own (`--python` names an existing one), because the
project needs none of them: supervision, datumaro, and Label Studio's converter. Each reads the exports that it has a
reader for and says what it found, and this command compares it with what was labeled. What pycocotools, torchvision,
pandas and datasets read is tested in `tests/labeler/transfer/`.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from labeler.service import Service
from tests.labeler.projects import boxes, classes, labeler, photo

TOOLS = ("supervision", "datumaro", "label-studio-sdk", "pycocotools")
INSTALL_SECONDS, READ_SECONDS = 900, 300
THERE = Path(__file__).with_name("readers_there.py")
NAMES = ["cat", "dog", "Größe, big"]
SIZE = (64, 48)
NEAR = 0.01
"""Pixels that a box may be off."""
FROM_ONE = {"supervision, voc": (1, 1, 0, 0)}
"""What a reader takes from left, top, right and bottom. supervision assumes that Pascal VOC's files count pixels from
1, as those of the contest do; ours count from 0, as those of most tools do."""


def main() -> None:
    """Print a row for each reader."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="a Python that has the tools")
    asked = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        here = Path(folder)
        python = asked.python or _install(here)
        wanted = {"boxes": _boxes(here / "boxes"), "classes": _classes(here / "classes")}
        command = [python, "-P", str(THERE), str(here)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=READ_SECONDS)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"reader"')]
    wrong = sum([_compare(each, wanted[each["kind"]]) for each in lines])
    raise SystemExit(f"{wrong} of {len(lines)} readers found something else." if wrong else 0)


def _install(folder: Path) -> str:
    uv = shutil.which("uv")
    if uv is None:
        raise SystemExit("Install uv first, or name a Python with the tools by --python.")
    environment = folder / "environment"
    python = str(environment / "bin" / "python")
    for command in (
        [uv, "venv", "--quiet", str(environment)],
        [uv, "pip", "install", "-q", "--python", python, *TOOLS],
    ):
        subprocess.run(command, check=True, timeout=INSTALL_SECONDS)
    return python


def _boxes(folder: Path) -> dict[str, Any]:
    """A detection project in each format; returns image → its boxes as (class, left, top, right, bottom)."""
    given: dict[int, list[tuple[Any, ...]]] = {
        1: [("cat", 1, 2, 10, 20), ("dog", 0, 0, 64, 48), (NAMES[2], 3.25, 4.5, 5.01, 6.99)],
        2: [],
        3: [("dog", 30.5, 10.25, 8.125, 12)],
    }
    _photos(folder)
    with labeler(folder, task="detection", classes=NAMES) as service:
        service.annotate([boxes(image, *drawn) for image, drawn in given.items()])
        _write(service, folder, ("coco", "yolo", "voc", "cvat", "label_studio", "datasets"))
    corners = {image: [(name, x, y, x + w, y + h) for name, x, y, w, h in drawn] for image, drawn in given.items()}
    return {str(image): [[name, *map(float, place)] for name, *place in drawn] for image, drawn in corners.items()}


def _classes(folder: Path) -> dict[str, Any]:
    """A multi-label project in each format; returns image → the classes that it has."""
    given = {1: ["cat", "dog"], 2: [], 3: [NAMES[2]]}
    _photos(folder)
    with labeler(folder, task="multilabel", classes=NAMES) as service:
        service.annotate(
            [classes(image, yes, [each for each in NAMES if each not in yes]) for image, yes in given.items()]
        )
        _write(service, folder, ("coco", "cvat", "label_studio"))
    return {str(image): yes for image, yes in given.items()}


def _photos(folder: Path) -> None:
    for number in range(1, 4):
        photo(folder / "photos" / f"{number}.png", number, SIZE)


def _write(service: Service, folder: Path, formats: tuple[str, ...]) -> None:
    for name in formats:
        stream, found = service.exports.begin(name)
        data = b"".join(stream)
        if found.suffix == "zip":
            zipfile.ZipFile(io.BytesIO(data)).extractall(folder / name)
        else:
            (folder / f"{name}.{found.suffix}").write_bytes(data)


def _compare(line: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Print what a reader said; returns whether it differs."""
    found, error = line.get("found"), line.get("error")
    less = FROM_ONE.get(line["reader"], (0, 0, 0, 0))
    same = found is not None and all(_same(found.get(image, []), each, less) for image, each in wanted.items())
    print(f"{line['reader']:40} {line['kind']:8} {'the same' if same else error or found}")
    return not same


def _same(found: list[Any], wanted: list[Any], less: tuple[int, ...]) -> bool:
    if len(found) != len(wanted):
        return False
    if not wanted or isinstance(wanted[0], str):
        return sorted(found) == sorted(wanted)
    moved = [[name, *(x - y for x, y in zip(place, less, strict=True))] for name, *place in wanted]
    pairs = zip(sorted(found), sorted(moved), strict=True)
    return all(a[0] == b[0] and all(abs(x - y) <= NEAR for x, y in zip(a[1:], b[1:], strict=True)) for a, b in pairs)


if __name__ == "__main__":
    main()
