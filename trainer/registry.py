"""Model versions on disk: one folder a version, written whole or not at all, readable without Flywheel.

A version is what was stopped at or named, not every fit of the head. Its folder holds `model.safetensors` (arrays
only), `model.json` (how it came about and how good it was) and `dataset.csv` (every label that it stands on). The
folder is written beside its place, synced, and renamed into it, so that a kill leaves either the whole version or
none. Nothing is ever overwritten.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

COLUMNS = ("image_id", "uri", "sha256", "split", "label", "class_id")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class UnknownVersion(KeyError):  # noqa: N818 - an answer, named as one
    """No version of that name is in the registry."""

    def __str__(self) -> str:
        return f"There is no model version {self.args[0]!r}."


@dataclass(frozen=True)
class Version:
    """A saved version: its arrays and its description."""

    name: str
    folder: Path
    description: dict[str, Any]

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays. Raises ValueError when the file is damaged."""
        try:
            return dict(load_file(self.folder / "model.safetensors"))
        except (SafetensorError, OSError) as error:
            raise ValueError(f"The model file of version {self.name!r} cannot be read: {error}.") from None


class Registry:
    """All versions under `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for torn in folder.glob(".*.partial"):
            shutil.rmtree(torn, ignore_errors=True)

    def save(
        self,
        name: str,
        tensors: Mapping[str, np.ndarray],
        description: Mapping[str, Any],
        dataset: Iterable[Mapping[str, Any]],
    ) -> Version:
        """Write a version. Raises ValueError for a bad name, FileExistsError for one that is taken."""
        if not _VERSION.fullmatch(name):
            raise ValueError(
                f"A version cannot be called {name!r}: letters, digits, dots, dashes and underscores only."
            )
        place = self.folder / name
        if place.exists():
            raise FileExistsError(f"There is a model version {name!r} already; versions are never overwritten.")
        partial = self.folder / f".{uuid4().hex}.partial"
        partial.mkdir()
        try:
            save_file(
                {key: np.ascontiguousarray(array) for key, array in tensors.items()}, partial / "model.safetensors"
            )
            described = {"version": name, "saved_at": datetime.now(UTC).isoformat(), **description}
            (partial / "model.json").write_text(json.dumps(described, indent=2, ensure_ascii=False), encoding="utf-8")
            with (partial / "dataset.csv").open("w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, COLUMNS)
                writer.writeheader()
                writer.writerows({key: _harmless(value) for key, value in row.items()} for row in dataset)
            for path in (*partial.iterdir(), partial):
                _sync(path)
            partial.rename(place)
            _sync(self.folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        return Version(name, place, described)

    def list(self) -> list[Version]:
        """All readable versions, oldest first."""
        found = []
        for path in self.folder.glob("*/model.json"):
            try:
                found.append(Version(path.parent.name, path.parent, json.loads(path.read_text(encoding="utf-8"))))
            except (OSError, ValueError):
                continue
        return sorted(found, key=lambda version: str(version.description.get("saved_at", "")))

    def get(self, name: str) -> Version:
        """One version. Raises UnknownVersion."""
        path = self.folder / name / "model.json"
        if not _VERSION.fullmatch(name) or not path.is_file():
            raise UnknownVersion(name)
        return Version(name, path.parent, json.loads(path.read_text(encoding="utf-8")))


def _harmless(value: Any) -> Any:
    """A cell that a spreadsheet will not run as a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
