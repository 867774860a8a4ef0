"""The image folders of a project: the first one, and others added while the labeler runs.

`project.toml` lists them. A folder is added on a page, or by `flywheel add` on this machine, which only edits that
file; `refresh` reads it again. HTTP requests cannot add a folder: whoever may only talk to the labeler must not make it
read other folders of the machine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from labeler.errors import Invalid
from labeler.images.catalog import Catalog
from labeler.images.file_index import FURTHER, Files
from labeler.images.file_registry import Root
from labeler.images.scanner import Scanner
from shared.settings.project_file import ProjectFile, add_folder
from shared.settings.services import LabelerSettings, SettingsError


@dataclass(frozen=True, slots=True)
class FolderView:
    """One image folder. `files` is the number of image files seen in it so far."""

    root: Root
    path: Path
    files: int
    missing: bool


class Folders:
    """The image folders of one workspace; a new one is scanned at once."""

    def __init__(
        self, settings: LabelerSettings, files: Files, catalog: Catalog, scanner: Scanner, changed: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._files = files
        self._catalog = catalog
        self._scanner = scanner
        self._changed = changed
        self._adding = threading.Lock()  # a page and the watcher may both see the same new folder

    @property
    def watched(self) -> dict[Root, Path]:
        """The folders in which new files may appear, by root."""
        return self._files.image_roots

    def add(self, folder: str) -> None:
        """Add a folder of this machine. Raises Invalid with a sentence."""
        if not folder.strip():
            raise Invalid("Name a folder.")
        try:
            name = add_folder(self._settings.workspace, Path(folder.strip()))
        except SettingsError as error:
            raise Invalid(str(error)) from None
        if name is None:
            raise Invalid(f"{folder} is already a folder of this project.")
        self.refresh()

    def refresh(self) -> None:
        """Add folders that are new in `project.toml`. Raises SettingsError."""
        project = ProjectFile.read(self._settings.workspace)
        for name, path in (project.further(self._settings.workspace) if project is not None else {}).items():
            root = FURTHER + name
            with self._adding:
                new = root not in self._files.roots
                if new:
                    self._files.roots = {**self._files.roots, root: path}
            if new:
                self.scan(root)
                self._changed()

    def scan(self, root: Root, uris: list[str] | None = None) -> None:
        """Scan a folder for new files, or only `uris`, after the current scan."""
        self._scanner.ask(lambda: self._scanner.scan(root, uris))

    def view(self) -> list[FolderView]:
        """Every folder, with the number of image files seen in it."""
        counts = self._catalog.files.by_root()
        return [FolderView(root, path, counts.get(root, 0), not path.is_dir()) for root, path in self.watched.items()]


def roots_of(settings: LabelerSettings, test_set: Path | None, catalog: Catalog) -> dict[Root, Path]:
    """Every root at the start; creates the upload folder. Raises SettingsError if a new folder does not exist."""
    uploads = settings.workspace / "uploads"
    uploads.mkdir(exist_ok=True)
    folder = Path(settings.images).expanduser() if settings.images else settings.workspace / "demo" / "images"
    if settings.images and not folder.is_dir() and not catalog.files.has("images"):
        raise SettingsError(f"The labeler setting 'images' cannot be {settings.images!r}: there is no such folder.")
    test = {"test": test_set} if test_set is not None else {}
    return {"uploads": uploads, "images": folder, **_further_roots(settings), **test}


def _further_roots(settings: LabelerSettings) -> dict[Root, Path]:
    """The added folders at the start: those of the project, then those of the settings."""
    project = ProjectFile.read(settings.workspace) or ProjectFile(labeler={"images": settings.images})
    for folder in settings.more_images:
        project.join(Path(folder), settings.workspace)
    return {FURTHER + name: path for name, path in project.further(settings.workspace).items()}
