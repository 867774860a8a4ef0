"""Checks of the files of a workspace: embeddings, saved versions, photos, thumbnails, leftovers, addresses."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Sized
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from sqlalchemy import text

from commands.running.stored_labels import labels_of
from commands.upkeep.findings import Finding, Workspace
from shared.figures import many, megabytes
from shared.images.sources.choosing import why_not
from shared.processes import is_alive
from shared.settings.project_file import announce
from shared.settings.services import LabelerSettings, ServiceSettings, SettingsError, TrainerSettings
from shared.settings.starting import start
from shared.storage.whole_files import write_whole
from shared.wire.jobs import Job
from trainer.columns.hash_index import HASH_BYTES
from trainer.embeddings.backbones.safe_weights import ModelFileError, shapes_in
from trainer.embeddings.store import HASHES, ROWS, SHAPE
from trainer.loop.desired_state import DesiredState
from trainer.versions.active_backbone import BACKBONES, EMBEDDINGS
from trainer.versions.registry import RefusedVersion, Registry

LEAST_BYTES = 200_000_000
"""With fewer free bytes, a project soon stops."""
SHOWN = 5
ROWS_AT_ONCE = 16_384
_PARTIAL = re.compile(r"\.(?:disk-|images\.)?(\d+)[-.].*part(?:ial)?")
"""Matches the name of an unfinished file, which contains the id of the process that writes it."""


def project(place: Workspace) -> Iterator[Finding]:
    """Checks `project.toml`, the settings of the next start, and the image folders."""
    if place.unreadable is not None:
        yield Finding("project.toml", place.unreadable, "Correct the file, or restore it from a backup.")
        return
    if place.project is None:
        yield Finding("project.toml", "There is no project.toml: the next start writes one.", wrong=False)
        return
    settings: tuple[type[ServiceSettings], ...] = (LabelerSettings, TrainerSettings)
    for each in settings:
        given: dict[str, Any] = {"workspace": place.folder}
        try:
            if each is LabelerSettings and place.database is None:
                given["database_url"] = labels_of(place.folder)
            start(each, command_line=given)
        except SettingsError as error:
            yield Finding(
                "settings", str(error), "Correct it in project.toml, or give another value at the next start."
            )
    for folder in place.project.images(place.folder):
        if isinstance(folder, Path) and why_not(folder) is not None:
            advice = "Connect its disk, or put the folder back. Its images stay in the catalogue."
            yield Finding("photos", f"The image folder {folder} does not exist.", advice)


def addresses(place: Workspace) -> Iterator[Finding]:
    """Addresses in project.toml of services that no longer run here."""
    for service, address in sorted((place.project.services if place.project is not None else {}).items()):
        if service not in place.running:
            yield Finding(
                "addresses",
                f"project.toml says that the {service} listens at {address}, but no {service} is running here.",
                mend=f"Remove the {service}'s address from project.toml.",
                act=partial(announce, place.folder, service, None),
            )


def disk(place: Workspace) -> Iterator[Finding]:
    """Checks that there is free space, and that files can be written."""
    free = shutil.disk_usage(place.folder).free
    if free < LEAST_BYTES:
        yield Finding("disk", f"The disk of {place.folder} has only {megabytes(free)} left.", "Free some space.")
    if not os.access(place.folder, os.W_OK):
        yield Finding("disk", f"{place.folder} cannot be written to.", "Check its permissions and how it is mounted.")


def photos(place: Workspace) -> Iterator[Finding]:
    """Images of the catalogue whose files are missing or changed."""
    base, roots, fold = place.database, place.roots(), place.fold
    if base is not None and not base.is_file():
        return
    if fold is None:
        yield Finding("photos", "Photos are checked when the log is complete.", wrong=False)
        return
    removed, missing, changed = fold.removed, {}, 0
    query = "SELECT image_id, root, uri, size, mtime_ns FROM file WHERE image_id IS NOT NULL ORDER BY image_id"
    here: set[int] = set()
    with place.reading() as engine, engine.connect() as database:
        for image_id, root, uri, size, mtime_ns in database.execution_options(yield_per=2_000).execute(text(query)):
            if image_id in removed or root not in roots or not roots[root].is_dir():
                continue
            path = roots[root] / str(uri).removeprefix(f"{root.removeprefix('images/')}/" if "/" in root else "")
            try:
                status = path.stat()
            except (OSError, ValueError):
                missing[image_id] = str(uri)
                continue
            here.add(image_id)
            changed += (status.st_size, status.st_mtime_ns) != (size, mtime_ns)
    gone = {image_id: uri for image_id, uri in missing.items() if image_id not in here}
    answered = sum(bool(fold.standing(image_id)) for image_id in gone)
    if gone:
        shown = ", ".join(list(gone.values())[:SHOWN])
        yield Finding(
            "photos",
            f"{'The file' if len(gone) == 1 else 'The files'} of {many(len(gone), 'image')} {_are(gone)} missing "
            f"({shown}), {answered:,} with an answer.",
            "Put them back, anywhere in the image folder: Flywheel knows them by their content. Labels are kept.",
        )
    if changed:
        yield Finding("photos", f"{many(changed, 'file')} changed: the next start reads them again.", wrong=False)


def embeddings(place: Workspace) -> Iterator[Finding]:
    """Checks that the vectors on disk are complete, finite, and belong to images of the catalogue."""
    for folder in sorted(path.parent for path in (place.trainer / EMBEDDINGS).glob(f"*/{HASHES}")):
        rows, hashes = folder / ROWS, folder / HASHES
        known, size = hashes.stat().st_size // HASH_BYTES, rows.stat().st_size if rows.is_file() else 0
        dim = _dim(folder, known, size)
        if dim is None:
            yield _forget(folder, f"The embeddings in {folder} are truncated, and the length of a row is unknown.")
            continue
        whole = min(known, size // (2 * dim))
        if size != 2 * dim * known or hashes.stat().st_size != HASH_BYTES * known:
            yield Finding(
                "embeddings",
                f"The embeddings in {folder} are truncated: {whole:,} of {known:,} are complete.",
                mend=f"Cut both files to {many(whole, 'complete row')}; the trainer embeds the other images again.",
                act=partial(_cut, rows, hashes, dim, whole),
            )
            continue
        bad = _not_finite(rows, whole, dim)
        if bad:
            yield Finding(
                "embeddings",
                f"In {folder}, {many(len(bad), 'vector')} {_are(bad)} not finite.",
                mend=f"Remove {many(len(bad), 'vector')} from {folder.name}; the trainer embeds these images again.",
                act=partial(_take_out, rows, hashes, dim, bad),
            )
        unknown = _unknown(place, hashes)
        if unknown:
            what = f"{folder} has {many(unknown, 'vector')} of images that are not in the catalogue."
            yield Finding("embeddings", what, wrong=False)


def versions(place: Workspace) -> Iterator[Finding]:
    """Checks that saved model versions have a description and unchanged files."""
    folder = place.trainer / "models"
    if not folder.is_dir():
        return
    registry = Registry(folder, look_only=True)
    advice = "Put its folder back from a backup, or delete the version with `flywheel models delete {}`."
    found, refused = registry.list()
    for each in refused:
        yield Finding("versions", each.reason, advice.format(each.version))
    for version in found:
        try:
            version.tensors()
            version.dataset()
        except RefusedVersion as error:
            yield Finding("versions", str(error), advice.format(version.name))
            continue
        said = version.description
        if said.embeddings and said.input is not None:
            network = place.trainer / BACKBONES / f"{said.embeddings}.safetensors"
            try:
                shapes_in(network)
            except ModelFileError as error:
                yield Finding(
                    "versions",
                    f"The network of version {version.name!r}, {network}, {error}.",
                    advice.format(version.name),
                )
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith(".") and not (path / "model.json").is_file():
            yield Finding("versions", f"Version {path.name!r} has no model.json.", advice.format(path.name))
    try:
        promoted = registry.promoted
    except RefusedVersion as error:
        yield Finding("versions", str(error), "Delete it, and promote a version again.")
    else:
        if promoted is not None and promoted not in {version.name for version in found}:
            what = f"Version {promoted!r} is promoted, but does not exist."
            yield Finding("versions", what, "Go back with `flywheel models rollback`, or promote another one.")


def small_files(place: Workspace) -> Iterator[Finding]:
    """Checks the small files in which the trainer stores its state and its jobs."""
    wish = place.trainer / "intent.json"
    if wish.is_file():
        try:
            DesiredState.model_validate_json(wish.read_bytes())
        except (OSError, ValidationError):
            aside = place.kept(wish)
            order = f"Rename it to {aside.name}; the trainer then runs as after its first start."
            what = f"{wish} cannot be read, so a pause or stop is lost."
            yield Finding("trainer", what, mend=order, act=partial(os.replace, wish, aside))
    for path in sorted([*place.trainer.glob("jobs/*/job.json"), *place.trainer.glob("challenger/*/job.json")]):
        try:
            Job.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            advice = f"Delete {path.parent}; the job cannot continue."
            yield Finding("jobs", f"The job in {path.parent} cannot be read.", advice)


def thumbnails(place: Workspace) -> Iterator[Finding]:
    """Incomplete thumbnails. The labeler makes them again when a page asks for them."""
    bad = [path for path in (place.folder / "thumbnails").glob("*/*") if not _is_whole_picture(path)]
    if bad:
        yield Finding(
            "thumbnails",
            f"{many(len(bad), 'thumbnail')} {_are(bad)} not complete ({', '.join(path.name for path in bad[:SHOWN])}).",
            mend=f"Delete {many(len(bad), 'thumbnail')}; the labeler makes them again.",
            act=partial(_remove_all, bad),
        )


def leftovers(place: Workspace) -> Iterator[Finding]:
    """Unfinished files of killed processes."""
    left = []
    for path in place.folder.rglob(".*"):
        owner = _PARTIAL.fullmatch(path.name)
        if owner is not None and not is_alive(int(owner[1])):
            left.append(path)
    if left:
        size = sum(each.stat().st_size for path in left for each in (path.rglob("*") if path.is_dir() else [path]))
        yield Finding(
            "leftovers",
            f"{many(len(left), 'unfinished file')} of processes that ended {_are(left)} left ({megabytes(size)}).",
            mend=f"Delete {many(len(left), 'unfinished file')}.",
            act=partial(_remove_all, left),
        )


# ---------------------------------------------------------------- inside


def _are(things: Sized) -> str:
    return "is" if len(things) == 1 else "are"


def _dim(folder: Path, known: int, size: int) -> int | None:
    """How many numbers a row of the store has; None if that is unknown."""
    try:
        return int(json.loads((folder / SHAPE).read_bytes())["dim"])
    except (OSError, ValueError, KeyError, TypeError):
        return size // (2 * known) if known and size and size % (2 * known) == 0 else None


def _forget(folder: Path, what: str) -> Finding:
    order = f"Delete {folder}; the trainer embeds all images again."
    return Finding("embeddings", what, mend=order, act=partial(shutil.rmtree, folder))


def _cut(rows: Path, hashes: Path, dim: int, whole: int) -> None:
    for path, size in ((hashes, HASH_BYTES * whole), (rows, 2 * dim * whole)):
        with path.open("r+b") as stream:
            stream.truncate(size)
            os.fsync(stream.fileno())


def _not_finite(rows: Path, count: int, dim: int) -> list[int]:
    if not count:
        return []
    vectors = np.memmap(rows, dtype="<f2", mode="r", shape=(count, dim))
    found: list[int] = []
    for at in range(0, count, ROWS_AT_ONCE):
        found += (np.flatnonzero(~np.isfinite(vectors[at : at + ROWS_AT_ONCE]).all(axis=1)) + at).tolist()
    return found


def _take_out(rows: Path, hashes: Path, dim: int, bad: list[int]) -> None:
    """Removes rows. The hashes are emptied first, because a row counts only if it has a hash."""
    kept_hashes = np.delete(np.fromfile(hashes, np.uint8).reshape(-1, HASH_BYTES), bad, axis=0)
    kept = np.delete(np.fromfile(rows, "<f2").reshape(-1, dim), bad, axis=0)
    write_whole(hashes, b"")
    write_whole(rows, kept.tobytes())
    write_whole(hashes, kept_hashes.tobytes())


def _unknown(place: Workspace, hashes: Path) -> int:
    if place.fold is None:
        return 0
    with place.reading() as engine, engine.connect() as database:
        images = database.execution_options(yield_per=2_000).execute(text("SELECT sha256 FROM image"))
        known = {bytes.fromhex(row[0]) for row in images}
    data = hashes.read_bytes()
    return sum(data[at : at + HASH_BYTES] not in known for at in range(0, len(data) - HASH_BYTES + 1, HASH_BYTES))


def _is_whole_picture(path: Path) -> bool:
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(12)
            stream.seek(max(0, size - 2))
            tail = stream.read(2)
    except OSError:
        return False
    if path.suffix == ".webp":
        length = int.from_bytes(head[4:8], "little") + 8
        return head[:4] == b"RIFF" and head[8:] == b"WEBP" and length <= size <= length + 1
    return path.suffix != ".jpg" or (head[:2] == b"\xff\xd8" and tail == b"\xff\xd9")


def _remove_all(paths: list[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
