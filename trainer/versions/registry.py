"""Model versions on disk: one folder per version, written atomically, readable without Flywheel.

Few fits of the head become versions: those saved by name, at a stop, by a job or by a swap. A version's folder
contains `model.safetensors` (arrays only), `model.json` (origin and metrics) and `dataset.csv` (every label used). The
folder is written under a temporary name, synced, and renamed, so that a kill leaves a whole version or none. Nothing is
ever overwritten. The promoted version is recorded in one small file that is replaced atomically. The registry knows no
networks; `trainer.versions.predictor` does.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import file_digest
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from pydantic import ValidationError
from safetensors.numpy import save_file

from shared.cells import harmless, meant
from shared.figures import choice
from shared.processes import is_alive
from shared.storage.file_errors import cause_of
from shared.storage.safe_names import escaped
from shared.storage.whole_files import write_whole
from shared.wire.models import FORMAT, Description, ModelVersion, Unreadable
from trainer.embeddings.backbones.safe_weights import ModelFileError, read_arrays, shapes_in

COLUMNS = ("image_id", "uri", "sha256", "split", "label", "class_id")
MAX_DESCRIPTION_BYTES = 64 * 2**20
NOW = "now"
"""The name that stands for the current model instead of a version."""
HISTORY = 100
"""Promotions remembered for rolling back."""
Promotions = list[str | None]  # oldest first; None is the current model
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PARTIAL = re.compile(r"\.(\d+)-[0-9a-f]+\.partial")


class UnknownVersion(KeyError):  # noqa: N818 - an answer to a request, not a failure
    """There is no version with that name. The second argument lists the existing names."""

    def __str__(self) -> str:
        return f"There is no model version {self.args[0]!r}. {choice(self.args[1])}"


class StillNeeded(Exception):  # noqa: N818
    """The version cannot be deleted; the message says what needs it."""


class RefusedVersion(ValueError):  # noqa: N818
    """The version exists and must not be used; the message says why."""


@dataclass(frozen=True)
class Version:
    """A saved version: its folder and its description."""

    name: str
    folder: Path
    description: ModelVersion

    @property
    def model_file(self) -> Path:
        """The file of its arrays."""
        return self.folder / "model.safetensors"

    def all_bytes(self, backbones: Path) -> int:
        """Bytes needed to predict: its own file, plus the network under a head."""
        said = self.description
        network = backbones / f"{said.embeddings}.safetensors" if said.embeddings else None
        return said.bytes + (network.stat().st_size if network is not None and network.is_file() else 0)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name → shape of its tensors, without reading them. Raises RefusedVersion."""
        try:
            return shapes_in(self.model_file)
        except ModelFileError as error:
            raise self.refused(error) from None

    def tensors(self, expected: Mapping[str, tuple[int | None, ...]] | None = None) -> dict[str, np.ndarray]:
        """The arrays, which must match `expected` (None: anything). Raises RefusedVersion."""
        try:
            arrays = read_arrays(self.model_file, expected)
        except ModelFileError as error:
            raise self.refused(error) from None
        with self.model_file.open("rb") as stream:
            if file_digest(stream, "sha256").hexdigest() != self.description.sha256:
                raise self.refused("has changed since it was saved: its checksum differs")
        return arrays

    def dataset(self) -> list[dict[str, str]]:
        """Every label used, as rows of dataset.csv. Raises RefusedVersion."""
        try:
            with (self.folder / "dataset.csv").open(newline="", encoding="utf-8") as stream:
                return [{key: meant(value) for key, value in row.items()} for row in csv.DictReader(stream)]
        except (OSError, UnicodeDecodeError, csv.Error, AttributeError) as error:
            raise RefusedVersion(f"The dataset of version {self.name!r} cannot be read: {cause_of(error)}.") from None

    def refused(self, why: object) -> RefusedVersion:
        """An error about the model file; `why` completes its sentence."""
        return RefusedVersion(f"The model file of version {self.name!r} {why}.")


class Registry:
    """All versions under `folder`. Any thread and process may save. Each process opens the registry once.

    With `look_only` the folder is neither created nor cleaned up.
    """

    def __init__(self, folder: Path, *, look_only: bool = False) -> None:
        self.folder = folder
        self._promoting = threading.Lock()
        if look_only:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for torn in folder.glob(".*.partial"):
            owner = _PARTIAL.fullmatch(torn.name)
            if owner is None or int(owner[1]) == os.getpid() or not is_alive(int(owner[1])):
                shutil.rmtree(torn, ignore_errors=True)

    def check_name(self, name: str) -> Path:
        """The folder of a future version. Raises ValueError for a bad name, FileExistsError for a taken one."""
        if not name:
            raise ValueError("The version needs a name: letters, digits, dots, dashes and underscores.")
        if not _VERSION.fullmatch(name) or name == NOW:
            raise ValueError(
                f"A version cannot be called {name!r}: use only letters, digits, dots, dashes and underscores; "
                f"{NOW!r} means the current model."
            )
        if escaped(name) != name:
            raise ValueError(f"A version cannot be called {name!r}: Windows allows no folder of that name.")
        place = self.folder / name
        taken = next((each.name for each in self.folder.iterdir() if each.name.lower() == name.lower()), None)
        if taken is not None:
            raise FileExistsError(f"Model version {taken!r} already exists, and versions are never overwritten.")
        return place

    def save(
        self,
        name: str,
        tensors: Mapping[str, np.ndarray],
        description: Description,
        dataset: Iterable[Mapping[str, Any]],
    ) -> Version:
        """Write a version. Raises ValueError for a bad name, FileExistsError for a taken one."""
        place = self.check_name(name)
        partial = self._partial()
        partial.mkdir()
        try:
            weights = partial / "model.safetensors"
            save_file({key: np.asarray(array, order="C") for key, array in tensors.items()}, weights)
            with weights.open("rb") as stream:
                digest = file_digest(stream, "sha256").hexdigest()
            described = ModelVersion(
                **description.model_dump(),
                version=name,
                saved_at=datetime.now(UTC),
                parameters=sum(array.size for array in tensors.values()),
                bytes=weights.stat().st_size,
                sha256=digest,
            )
            (partial / "model.json").write_text(
                described.model_dump_json(indent=2, exclude={"promoted", "all_bytes"}), "utf-8"
            )
            with (partial / "dataset.csv").open("w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, COLUMNS)
                writer.writeheader()
                writer.writerows({key: harmless(str(value)) for key, value in row.items()} for row in dataset)
            for path in (*partial.iterdir(), partial):
                _sync(path)
            partial.rename(place)
            _sync(self.folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        return Version(name, place, described)

    def list(self) -> tuple[list[Version], list[Unreadable]]:
        """All versions, oldest first, and those that are refused."""
        found, refused = [], []
        for path in sorted(self.folder.glob("*/model.json")):
            if _VERSION.fullmatch(path.parent.name):
                try:
                    found.append(self.get(path.parent.name))
                except RefusedVersion as error:
                    refused.append(Unreadable(version=path.parent.name, reason=str(error)))
        return sorted(found, key=lambda version: version.description.saved_at), refused

    @property
    def mark(self) -> str:
        """A marker that changes when any process saves, deletes or promotes a version. Quick to read."""
        return str(self.folder.stat().st_mtime_ns)

    def get(self, name: str) -> Version:
        """One version. Raises UnknownVersion, and RefusedVersion if its description cannot be read."""
        path = self.folder / name / "model.json"
        if not _VERSION.fullmatch(name) or not path.is_file():
            raise self._unknown(name)
        return Version(name, path.parent, _described(name, path))

    def _unknown(self, name: str) -> UnknownVersion:
        return UnknownVersion(name, [each.name for each in reversed(self.list()[0])])

    # ------------------------------------------------------------ which one is in use

    @property
    def promoted(self) -> str | None:
        """The version that answers predictions; None is the current model."""
        history = self._history()
        return history[-1] if history else None

    def promote(self, name: str | None) -> None:
        """Make `name` answer predictions, or the current model (None). Raises UnknownVersion, RefusedVersion."""
        if name is not None:
            self.get(name)
        with self._promoting:
            history = self._history()
            if not history or history[-1] != name:
                self._remember([*history, name])

    def roll_back(self) -> str | None:
        """Undo the last promotion and return the version in use before. Raises ValueError if there is none."""
        with self._promoting:
            history = self._history()
            if not history:
                raise ValueError("There is no earlier promotion to go back to.")
            earlier = history[:-1]
            if earlier and earlier[-1] is not None:
                self.get(earlier[-1])
            self._remember(earlier)
            return earlier[-1] if earlier else None

    def delete(self, name: str, *, also_needed: Mapping[str, str] | None = None) -> None:
        """Delete a version that nothing needs. Raises UnknownVersion, StillNeeded.

        `also_needed` says what else needs a version: name → sentence.
        """
        folder = self.folder / name
        if not _VERSION.fullmatch(name) or not folder.is_dir():
            raise self._unknown(name)
        needed = {**self.needed(), **(also_needed or {})}.get(name)
        if needed:
            raise StillNeeded(needed)
        going = self._partial()
        folder.rename(going)  # removed atomically; the next start deletes leftovers of a kill
        shutil.rmtree(going, ignore_errors=True)

    def needed(self, without: Collection[str] = ()) -> dict[str, str]:
        """Version → why it must stay: it is promoted, or the parent of a version that is not in `without`."""
        why = {
            each.description.parent: f"Version {each.description.parent!r} is the parent of {each.name!r}."
            for each in self.list()[0]
            if each.description.parent and each.name not in without
        }
        if self.promoted is not None:
            why[self.promoted] = f"Version {self.promoted!r} is promoted: promote another one first."
        return why

    def _history(self) -> Promotions:
        try:
            said = json.loads((self.folder / "promoted.json").read_text(encoding="utf-8"))["versions"]
            return [name if name is None else str(name) for name in said]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RefusedVersion(
                f"{self.folder / 'promoted.json'} cannot be read ({cause_of(error)}): delete it, and promote a version "
                "again."
            ) from None

    def _remember(self, history: Promotions) -> None:
        content = json.dumps({"versions": history[-HISTORY:], "at": datetime.now(UTC).isoformat()}, indent=2)
        write_whole(self.folder / "promoted.json", content.encode())

    def _partial(self) -> Path:
        return self.folder / f".{os.getpid()}-{uuid4().hex}.partial"


def _described(name: str, path: Path) -> ModelVersion:
    try:
        if path.stat().st_size > MAX_DESCRIPTION_BYTES:
            raise RefusedVersion(f"The description of version {name!r} is too large.")
        described = ModelVersion.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "it"
        raise RefusedVersion(
            f"The description of version {name!r} cannot be read: {place} is wrong ({first['msg']})."
        ) from None
    except OSError as error:
        raise RefusedVersion(f"The description of version {name!r} cannot be read: {error.strerror}.") from None
    if described.format > FORMAT:
        raise RefusedVersion(f"Version {name!r} was saved by a newer Flywheel: update this one.")
    return described


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
