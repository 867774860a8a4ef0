"""Starts a service on a workspace: combines the project's stored settings with those of this start.

Settings that define the project (its photos, its backbone) come from the project. A start that gives another value is
refused unless it says `--change`. A setting changed on a page keeps that value, unless the start now gives another
value than it did then. Nothing is written here: `remember` does that once the service is open.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from shared.backbone import ResolvedBackbone
from shared.images.sources.addresses import name_of
from shared.settings.project_file import (
    DATABASE,
    Change,
    ProjectFile,
    absolute,
    default_workspace,
    edit,
    is_project,
    place_of,
    portable,
    tidy,
)
from shared.settings.services import LabelerSettings, ServiceSettings, SettingsError, TrainerSettings, first_sentence
from shared.settings.traits import IS_PATH, MAKES_PROJECT, settings_with
from shared.tasks.classification import CLASSIFICATION
from shared.wire.fields import Source
from shared.wire.project import ProjectIdentity

log = logging.getLogger(__name__)
Settings = TypeVar("Settings", bound=ServiceSettings)


@dataclass(frozen=True)
class Start(Generic[Settings]):
    """Settings, the source of each, and sentences about what this start does differently."""

    settings: Settings
    sources: dict[str, Source]
    notes: Sequence[str] = ()


def start(
    cls: type[Settings],
    *,
    file: Path | None = None,
    command_line: Mapping[str, Any] | None = None,
    change: bool = False,
) -> Start[Settings]:
    """Read the settings of a start on a workspace. `change` allows it to change settings that define the project.

    Raises SettingsError for what `ServiceSettings.load` refuses, for a change without `change`, and for photos in the
    demo.
    """
    settings, sources = cls.load(file=file, command_line=command_line)
    given = {name for name, source in sources.items() if source != "default" and getattr(settings, name)}
    if sources["workspace"] == "default":
        settings.workspace = default_workspace(photos="images" in given)
    workspace = settings.workspace
    project = ProjectFile.read(workspace)
    if isinstance(settings, LabelerSettings):
        _take_task(settings, sources, project)
    if project is None:
        _adopt(settings, given)
        return Start(settings, sources)
    if project.demo and isinstance(settings, LabelerSettings) and "images" in given:
        raise SettingsError(
            f"{workspace} holds the demo. Use another workspace for your photos: --workspace my-project."
        )
    if project.demo and isinstance(settings, LabelerSettings) and settings.more_images:
        raise SettingsError(f"{workspace} holds the demo: you cannot add folders to it.")
    differences = _take_over(settings, sources, project, given)
    if differences and not change:
        raise SettingsError(
            f"This start would change the project {project.name!r} in {workspace}: {'; '.join(differences)}. "
            f"Add --change to do so, or drop these options to continue as before.{_hint(differences)}"
        )
    notes = _take_changes(settings, sources, project)
    return Start(settings, sources, [*(f"Changed: {difference}." for difference in differences), *notes])


def check_photos(settings: LabelerSettings) -> None:
    """Refuse a new project whose photos are not there, before anything is written. Raises SettingsError.

    An existing project starts without them: their disk may be unplugged.
    """
    if is_project(settings.workspace):
        return
    from shared.images.sources.choosing import why_not  # late, because a --help opens no image

    for folder in [each for each in (settings.images, *settings.more_images) if each]:
        if (reason := why_not(place_of(folder))) is not None:
            raise SettingsError(f"The labeler setting 'images' cannot be {folder!r}: {reason}.")
        portable(folder, settings.workspace)


def identity(settings: LabelerSettings) -> ProjectIdentity:
    """The project that a labeler with these settings serves."""
    project = ProjectFile.read(settings.workspace)
    if project is None or not project.labeler:
        project = ProjectFile(name=_name(settings), task=task_of(settings, project), demo=_is_demo(settings))
    folder = str(tidy(settings.workspace))
    return ProjectIdentity(name=project.name, task=project.task, workspace=folder, demo=project.demo)


def task_of(settings: LabelerSettings, project: ProjectFile | None) -> str:
    """The task of a project that begins with these settings, or the one that it has."""
    if project is not None and (project.labeler or project.task != CLASSIFICATION.name):
        return project.task
    has_labels = (settings.workspace / DATABASE).is_file()
    return CLASSIFICATION.name if has_labels else settings.task


def remember_task(settings: LabelerSettings) -> None:
    """Write the task before the first answer can be stored, so that a kill cannot leave it open. No task written
    means classification."""
    task = task_of(settings, ProjectFile.read(settings.workspace))
    if task != CLASSIFICATION.name:
        with edit(settings.workspace) as project:
            project.task = task


def remember(settings: ServiceSettings) -> None:
    """Write the settings that define the project. Called once the service was opened with them."""
    kept = {name: _stored(settings, name) for name in settings_with(MAKES_PROJECT, type(settings))}
    with edit(settings.workspace) as project:
        if isinstance(settings, LabelerSettings):
            if not project.labeler:
                project.demo, project.task = _is_demo(settings), task_of(settings, project)
            project.name = project.name or _name(settings)
            project.labeler = kept
            for folder in settings.more_images:
                project.join(folder, settings.workspace)
        else:
            project.trainer = kept


def remember_changes(settings: ServiceSettings, before: Mapping[str, Any]) -> None:
    """Store the settings that a page changed, with their values in `settings`; `before` has the replaced values.

    Raises SettingsError if they cannot be written.
    """
    if not before:
        return
    service, values = settings.service(), settings.model_dump(mode="json")
    with edit(settings.workspace) as project:
        changed = project.changed.setdefault(service, {})
        for name, replaced in before.items():
            instead_of = changed[name].instead_of if name in changed else replaced
            changed[name] = Change(value=values[name], instead_of=instead_of)
            if values[name] == instead_of:
                del changed[name]
        if not changed:
            del project.changed[service]


def remember_backbone(settings: TrainerSettings, resolved: ResolvedBackbone) -> None:
    """Store which network computes the embeddings, and the source of its weights."""
    try:
        with edit(settings.workspace) as project:
            project.backbone = resolved.as_dict()
    except SettingsError as error:  # the embeddings exist anyway
        log.warning("%s", error)


def remembered_backbone(settings: TrainerSettings) -> ResolvedBackbone | None:
    """What `auto` resolved to at an earlier start; None if unknown or not a network: it is then chosen again."""
    project = ProjectFile.read(settings.workspace)
    if project is None or settings.backbone != "auto" or project.trainer.get("backbone", "auto") != "auto":
        return None
    try:
        resolved = ResolvedBackbone.read(project.backbone)
    except ValueError:
        return None
    return resolved if resolved.weights in ("hub", "installed") else None


def _adopt(settings: ServiceSettings, given: set[str]) -> None:
    """Accept a workspace without a project file: new, or of an older version. Raises SettingsError if its photos are
    unknown."""
    workspace = settings.workspace
    if not isinstance(settings, LabelerSettings) or "images" in given or not (workspace / DATABASE).is_file():
        return
    if not (workspace / "demo" / "images").is_dir():
        raise SettingsError(
            f"The workspace {workspace} does not say where its photos are: its first start was broken off, or an older "
            f"version made it. "
            f"Name the folder once: flywheel up PHOTOS --workspace {workspace}"
        )


def _take_task(settings: LabelerSettings, sources: dict[str, Source], project: ProjectFile | None) -> None:
    """Apply the project's task. Raises SettingsError if this start gives another one."""
    task = task_of(settings, project)
    if settings.task == task:
        return
    if sources["task"] != "default":
        raise SettingsError(
            f"The task of the project in {settings.workspace} is {task}, which was chosen when it began and cannot "
            f"change. For {settings.task}, start another project: add --workspace NEW-FOLDER."
        )
    settings.task, sources["task"] = task, "project"


def _take_over(
    settings: ServiceSettings, sources: dict[str, Source], project: ProjectFile, given: set[str]
) -> list[str]:
    """Apply the project's stored settings. Returns sentences about settings that this start gives differently."""
    remembered = project.labeler if isinstance(settings, LabelerSettings) else project.trainer
    differences = []
    for name in settings_with(MAKES_PROJECT, type(settings)):
        if name not in remembered:
            continue
        kept = before = remembered[name]
        if kept and name in settings_with(IS_PATH, type(settings)):
            kept = str(absolute(kept, settings.workspace))
            before = portable(kept, settings.workspace)
        now = _stored(settings, name)
        if name not in given:
            if name == "database_url":
                if kept:
                    differences.append(f"its labels are in {kept}, and this start names no database_url")
                continue
            _assign(settings, name, kept)
            sources[name] = "project"
        elif not _same(name, before, now):
            differences.append(f"{name} {_text(kept)} → {_text(getattr(settings, name))}")
    return differences


def _take_changes(settings: ServiceSettings, sources: dict[str, Source], project: ProjectFile) -> list[str]:
    """Apply settings changed on a page; returns in words where this start gives a new value instead."""
    notes = []
    for name, change in project.changed.get(settings.service(), {}).items():
        if name not in type(settings).model_fields:
            continue
        started = settings.model_dump(mode="json")[name]
        source = sources.get(name, "default")
        if source != "default" and started != change.instead_of:
            notes.append(f"{name} is {_text(started)} (from the {source}), not {_text(change.value)} as set on a page.")
            continue
        _assign(settings, name, change.value)
        sources[name] = "changed while running"
    return notes


def _hint(differences: Sequence[str]) -> str:
    photos = any(difference.startswith("images ") for difference in differences)
    return " To add more photos, use `flywheel add FOLDER`." if photos else ""


def _stored(settings: ServiceSettings, name: str) -> Any:
    value = settings.model_dump(mode="json")[name]
    if value and name in settings_with(IS_PATH, type(settings)):
        return portable(value, settings.workspace)
    if name != "database_url" or not value:
        return value
    from shared.storage.database import masked  # SQLAlchemy is slow to import, and most projects name no database

    return masked(value)


def _same(name: str, kept: Any, now: Any) -> bool:
    return set(now) <= set(kept) if name == "classes" else bool(kept == now)


def _assign(settings: ServiceSettings, name: str, value: Any) -> None:
    try:
        setattr(settings, name, value)
    except ValidationError as error:
        raise SettingsError(f"{settings.workspace}/project.toml: {first_sentence(error, settings.service())}") from None


def _name(settings: LabelerSettings) -> str:
    if _is_demo(settings):
        return "Demo: handwritten digits"
    return name_of(place_of(settings.images)) or settings.workspace.absolute().name


def _is_demo(settings: ServiceSettings) -> bool:
    return isinstance(settings, LabelerSettings) and not settings.images


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={each}" for name, each in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value) if value != "" else "none"
