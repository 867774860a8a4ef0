"""Files and folders that a command writes completely or not at all, also if it is stopped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.settings.services import SettingsError
from shared.storage.safe_names import partial_of


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Where to write the file that then replaces `target`. Raises SettingsError if it cannot be written."""
    partial = partial_of(target)
    try:
        yield partial
        partial.replace(target)
    except OSError as error:
        raise SettingsError(f"{target} cannot be written: {error.strerror}.") from None
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """The empty folder that then becomes `target`. Raises SettingsError if that exists or cannot be written."""
    if os.path.lexists(target):
        raise SettingsError(f"{target} already exists: name a new folder.")
    partial = partial_of(target)
    try:
        shutil.rmtree(partial, ignore_errors=True)  # left by a killed process
        partial.mkdir(parents=True)
        yield partial
        partial.rename(target)
    except OSError as error:
        raise SettingsError(f"{target} cannot be written: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
