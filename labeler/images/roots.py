"""The places with a project's images: the first one, and others added while the labeler runs.

Most are folders; `shared.images.sources` supports other kinds. `project.toml` lists them. A page adds a place, or
`flywheel add` on this machine does: it only edits that file, and `refresh` reads it again. HTTP requests cannot add a
place: a client must not make the labeler read other folders of the machine, or other addresses.
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
from shared.images.sources.addresses import Place
from shared.images.sources.choosing import why_not
from shared.settings.project_file import ProjectFile, add_folder, place_of
from shared.settings.services import LabelerSettings, SettingsError


@dataclass(frozen=True, slots=True)
class FolderView:
    """One image folder, or another place with images. `files` is the number of image files seen in it so far."""

    root: Root
    path: Place
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
        """Root → place on this machine in which new files may appear."""
        return {root: place for root, place in self._files.image_roots.items() if isinstance(place, Path)}

    def add(self, folder: str) -> None:
        """Add a place on this machine, or an allowed address. Raises Invalid with a sentence."""
        if not folder.strip():
            raise Invalid("Name a folder.")
        try:
            new = place_of(folder.strip())
            if isinstance(new, str) and not self._files.allows(new):
                raise Invalid(
                    "The setting image_addresses does not allow this address: add it on the labeler's machine with "
                    f"`flywheel add ADDRESS --workspace {self._settings.workspace}`."
                )
            name = add_folder(self._settings.workspace, new)
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
        """After the current scan, scan a folder for new files, or only `uris`."""
        self._scanner.ask(lambda: self._scanner.scan(root, uris))

    def view(self) -> list[FolderView]:
        """Every folder, with the number of image files seen in it."""
        counts = self._catalog.files.by_root()
        return [
            FolderView(root, place, counts.get(root, 0), isinstance(place, Path) and why_not(place) is not None)
            for root, place in self._files.image_roots.items()
        ]


def roots_of(settings: LabelerSettings, test_set: Path | None, catalog: Catalog) -> dict[Root, Place]:
    """Root → place at the start; creates the upload folder. Raises SettingsError if a new folder does not exist."""
    uploads = settings.workspace / "uploads"
    uploads.mkdir(exist_ok=True)
    first = place_of(settings.images) if settings.images else settings.workspace / "demo" / "images"
    if settings.images and not catalog.files.has("images") and (reason := why_not(first)) is not None:
        raise SettingsError(f"The labeler setting 'images' cannot be {settings.images!r}: {reason}.")
    test = {"test": test_set} if test_set is not None else {}
    return {"uploads": uploads, "images": first, **_further_roots(settings), **test}


def _further_roots(settings: LabelerSettings) -> dict[Root, Place]:
    """The added places when the labeler starts: those of the project, then those of the settings."""
    project = ProjectFile.read(settings.workspace) or ProjectFile(labeler={"images": settings.images})
    for given in settings.more_images:
        project.join(given, settings.workspace)
    return {FURTHER + name: place for name, place in project.further(settings.workspace).items()}
