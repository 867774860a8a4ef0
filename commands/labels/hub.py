"""`flywheel fetch` converts a dataset of the Hugging Face Hub, or a folder with the same layout, for `flywheel import`.

The library `datasets` finds and reads it. This module writes each picture unchanged into a folder per split, next to a
`metadata.jsonl` with its label. No code from the Hub is run.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image as Picture
from rich.console import Console
from rich.progress import Progress, TextColumn

from commands.running.given_paths import new_folder, path_or_address
from commands.running.whole_outputs import whole_folder
from shared.figures import many
from shared.settings.services import SettingsError

SCHEME = "hf://"
LONGEST = 400  # maximum characters of the library's message, which may list all configurations
console = Console()


def fetch(
    source: Annotated[
        str,
        typer.Argument(
            help="hf://OWNER/NAME or hf://OWNER/NAME@REVISION, or a folder with the same layout.",
            parser=path_or_address,
        ),
    ],
    folder: Annotated[
        Path, typer.Argument(help="New folder, for `flywheel clean` or `flywheel import`.", parser=new_folder)
    ],
    config: Annotated[str | None, typer.Option(help="Configuration, if the dataset has several.")] = None,
    split: Annotated[str | None, typer.Option(help="Fetch only this split.")] = None,
    image: Annotated[str | None, typer.Option(help="Column of the pictures, if there are several.")] = None,
    label: Annotated[str | None, typer.Option(help="Column of the labels, if it has an unusual name.")] = None,
) -> None:
    """Fetch a labeled dataset from the Hugging Face Hub into a folder."""
    with Progress(TextColumn("Writing"), TextColumn("{task.completed} images"), console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        splits = load(source, config, split)
        count = write(splits, folder, image, label, lambda done: bar.update(task, completed=done))
    console.print(
        f"Written: {folder}, {many(count, 'image')}. Next: {shlex.join(['flywheel', 'clean', str(folder)])}",
        markup=False,
    )


def load(source: str, config: str | None = None, split: str | None = None) -> dict[str, Any]:
    """Split → `datasets.Dataset`. Raises SettingsError if there is no such dataset, or the Hub cannot be reached."""
    try:
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError
    except ImportError:
        raise SettingsError("Datasets of the Hub need another package: pip install 'flywheel-labeling[hub]'.") from None
    name, _, revision = source.removeprefix(SCHEME).removeprefix("datasets/").partition("@")
    if not source.startswith(SCHEME):
        name, revision = source, ""
        if not Path(source).is_dir():
            raise SettingsError(f"{source} is not a folder. A dataset of the Hub is written as hf://OWNER/NAME.")
    try:
        found = load_dataset(name, config, revision=revision or None)
    except (DatasetsError, ValueError, OSError) as error:  # a lost connection is an OSError
        said = " ".join(str(error).split())[:LONGEST].rstrip(".") or type(error).__name__
        offline = " HF_HUB_OFFLINE is set: unset it, or name a folder." if os.environ.get("HF_HUB_OFFLINE") else ""
        raise SettingsError(f"{source} cannot be loaded: {said}.{offline}") from None
    if split is not None and split not in found:
        raise SettingsError(f"{source} has no split {split!r}; it has {', '.join(found)}.")
    return {name: rows for name, rows in found.items() if split in (None, name)}


def write(
    splits: Mapping[str, Any],
    folder: Path,
    image: str | None = None,
    label: str | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Write the pictures of `load` to `folder`, all or none; returns their number. Raises SettingsError."""
    count = 0
    with whole_folder(folder) as partial:
        for name, rows in splits.items():
            (partial / name).mkdir()
            with (partial / name / "metadata.jsonl").open("w", encoding="utf-8") as table:
                for number, (data, said) in enumerate(_pictures(rows, image, label)):
                    file = f"{number:07d}{_suffix(data)}"
                    (partial / name / file).write_bytes(data)
                    table.write(json.dumps({"file_name": file, "label": said}) + "\n")
                    count += 1
                    on_progress(count)
    return count


def _pictures(rows: Any, image: str | None, label: str | None) -> Iterator[tuple[bytes, str | list[str] | None]]:
    """The stored bytes of each picture, and its label."""
    from datasets import Image

    from labeler.transfer.rows.imported import COLUMNS

    features = rows.features
    image = _column(features, image, [name for name, kind in features.items() if isinstance(kind, Image)], "--image")
    known = [name for name, kind in features.items() if _holds_classes(kind)]
    label = _column(features, label, known or [name for name in COLUMNS["label"] if name in features], "--label")
    named = features[label]
    for row in rows.select_columns([image, label]).cast_column(image, Image(decode=False)):
        stored, said = row[image], row[label]
        if stored is None:
            continue
        yield stored["bytes"] or Path(stored["path"]).read_bytes(), _label(said, named)


def _label(said: Any, feature: Any) -> str | list[str] | None:
    """The class, or the classes, by name."""
    from datasets import ClassLabel

    if isinstance(said, list):
        inner = feature[0] if isinstance(feature, list) else getattr(feature, "feature", None)
        return [name for each in said if isinstance(name := _label(each, inner), str)]
    if said is None or (isinstance(feature, ClassLabel) and said < 0):  # −1 means no label on the Hub
        return None
    return feature.int2str(said) if isinstance(feature, ClassLabel) else str(said)


def _holds_classes(feature: Any) -> bool:
    """Whether it is a `ClassLabel`, or a list of them."""
    from datasets import ClassLabel

    inner = feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", None)
    return isinstance(feature, ClassLabel) or isinstance(inner, ClassLabel)


def _column(features: Mapping[str, Any], given: str | None, found: list[str], option: str) -> str:
    if given is not None and given in features:
        return given
    if given is None and len(found) == 1:
        return found[0]
    raise SettingsError(f"Name one of the columns with {option}: {', '.join(features)}.")


def _suffix(data: bytes) -> str:
    from labeler.images.file_index import SUFFIX_OF

    try:
        with Picture.open(BytesIO(data)) as picture:
            return SUFFIX_OF.get(picture.format or "", ".bin")
    except (OSError, Picture.DecompressionBombError):
        return ".png"  # the import reports the problem
